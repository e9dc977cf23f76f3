"""What a dead stack left behind is found and ended, whoever hides where he comes from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import daemon
from deploy.embedded.layout import Layout


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks as a child of the audit store's server does: named so, at work there, no environment."""
    name = tmp_path / "postgres"
    name.symlink_to(sys.executable)
    home = tmp_path / "home" / "audit-db"
    home.mkdir(parents=True)
    program = "import sys, time; print(flush=True); time.sleep(600)"
    found = subprocess.Popen([name, "-S", "-c", program], cwd=home, env={}, stdout=subprocess.PIPE)
    assert found.stdout is not None
    found.stdout.readline()
    yield found
    found.kill()
    found.wait()
    found.stdout.close()


def test_child_of_a_database_is_found_though_its_environment_says_nothing(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """It keeps the server's memory in use, and no new server starts until it has ended."""
    layout = Layout(tmp_path / "home")
    assert [process.pid for process in daemon.leftovers(layout)] == [child.pid]
    assert daemon.end_leftovers(layout) == 1
    assert child.wait(timeout=10.0) != 0
    assert daemon.leftovers(layout) == []


def test_database_of_another_home_is_nobody_of_ours(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert daemon.end_leftovers(Layout(tmp_path / "other")) == 0
    assert child.poll() is None
