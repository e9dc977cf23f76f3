"""Prometheus' own judgement of its configuration: promtool, from the machine if it is there, else from the image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.containers import image_of

pytestmark = pytest.mark.docker

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "deploy" / "prometheus"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Everything promtool reads, in one place that a container's user may read."""
    made = tmp_path / "prometheus"
    shutil.copytree(FOLDER, made)
    shutil.copy(HERE / "rules_test.yml", made)
    made.chmod(0o755)
    tmp_path.chmod(0o755)
    return made


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if (found := shutil.which("promtool")) is not None:
        return _run([found, *arguments], folder)
    volume = f"{folder}:/config:ro"
    container = ["docker", "run", "--rm", "--network", "none", "--user", "0", "-v", volume, "-w", "/config"]
    return _run([*container, "--entrypoint", "promtool", image_of("prometheus"), *arguments], folder)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_configuration_and_the_rules_are_good(folder: Path) -> None:
    done = promtool(folder, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_say_what_they_should_of_given_series(folder: Path) -> None:
    done = promtool(folder, "test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_rule_would_be_seen(folder: Path) -> None:
    (folder / "rules.yml").write_text("groups: [{name: x, rules: [{alert: Y, expr: 'rate(z'}]}]\n")
    assert promtool(folder, "check", "config", "prometheus.yml").returncode != 0
