"""The platform proxy's process where it cannot start: one sentence and the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.runtime.exits import Exit


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TRIAGE_", "DOCKER_"))}
    given = {"TRIAGE_STORE_DIR": str(folder / "store"), "TRIAGE_TOKENS_DIR": str(folder), **environment}
    command = [sys.executable, "-m", "services.platform.proxy"]
    return subprocess.run(command, env=inherited | given, capture_output=True, text=True, timeout=60)


def test_without_an_engine_it_says_so_and_ends_with_7(tmp_path: Path) -> None:
    done = run(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock", TRIAGE_COMPOSE_PROJECT="shop")
    assert done.returncode == Exit.DEPENDENCY_DOWN
    assert done.stderr.count("\n") == 1
    assert "the platform proxy cannot start: no Docker engine answers at unix://" in done.stderr


@pytest.mark.parametrize(("name", "value"), [("TRIAGE_PROXY_PORT", "70000"), ("TRIAGE_LOG_LEVEL", "loud")])
def test_a_bad_setting_is_named_and_ends_it_with_2(tmp_path: Path, name: str, value: str) -> None:
    done = run(tmp_path, **{name: value})
    assert done.returncode == Exit.USAGE
    assert f"bad setting {name.removeprefix('TRIAGE_').lower()}" in done.stderr
    assert done.stderr.count("\n") == 1
