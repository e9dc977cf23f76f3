"""The whole compose stack for tests: a project of its own with ports of its own, so that one of yours is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.runtime.locks import try_lock
from harness.compose.program import Compose, find
from harness.compose.project import project, root
from tests.support.embedded_world import free_ports

PROJECT = "triage-test"
UP_TIMEOUT_S = 600.0
HEALTHY_TIMEOUT_S = 60.0
PUBLISHED = (
    "TRIAGE_DASHBOARD_PORT",
    "TRIAGE_PROMETHEUS_PORT",
    "TRIAGE_NATS_MONITORING_PORT",
    "TRIAGE_GRAFANA_PORT",
    "TRIAGE_NUI_PORT",
)


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote, as JSON."""
        return json.loads(self.out)


class ComposeStack:
    """A stack that is up, spoken to as a person on the host speaks to it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.docker = find()
        self.compose = Compose(self.docker, root())
        self.project = project(self.docker)

    def triage(self, *arguments: str, timeout_s: float = 120.0, stdin: bytes = b"") -> Ran:
        """Run `triage --platform docker ARGUMENTS`."""
        command = [
            sys.executable,
            "-m",
            "harness.cli.app",
            "--platform",
            "docker",
            "--home",
            str(self.home),
            *arguments,
        ]
        return _run(command, timeout_s, stdin)

    def ok(self, *arguments: str, timeout_s: float = 120.0) -> Ran:
        """Run a `triage` command that must succeed."""
        ran = self.triage(*arguments, timeout_s=timeout_s)
        assert ran.code == 0, (arguments, ran)
        return ran

    def exec(self, service: str, *command: str, timeout_s: float = 60.0, stdin: bytes = b"", index: int = 1) -> Ran:
        """Run a command inside a container of a service."""
        return _run([*self.docker.compose, "exec", "-T", "--index", str(index), service, *command], timeout_s, stdin)

    def run(self, *arguments: str, timeout_s: float = 180.0) -> Ran:
        """Run `docker compose ARGUMENTS`, which must succeed."""
        ran = _run([*self.docker.compose, *arguments], timeout_s)
        assert ran.code == 0, (arguments, ran)
        return ran

    def engine(self, *arguments: str, timeout_s: float = 60.0) -> Ran:
        """Run `docker ARGUMENTS`, which must succeed."""
        ran = _run([self.docker.program, *arguments], timeout_s)
        assert ran.code == 0, (arguments, ran)
        return ran

    def programs(self) -> dict[str, dict[str, Any]]:
        """Return every container of the stack by name, as `triage status` tells it."""
        return {row["name"]: row for row in self.ok("status", "--json").json["programs"]}

    def journal(self, incident: str | None = None, last: int = 5_000) -> list[dict[str, Any]]:
        """Return the journal's rows, of one incident or the newest."""
        which = ("--incident", incident) if incident else ("-n", str(last))
        return [json.loads(line) for line in self.ok("tail", "--json", *which).out.splitlines()]

    def leftovers(self) -> list[tuple[str, str]]:
        """Return whatever of the project is still known to the engine, as (kind, id): containers with their sidecars,
        then networks and volumes."""
        ours, tools = f"label=com.docker.compose.project={PROJECT}", f"label=triage.tool.project={PROJECT}"
        listings: dict[str, list[tuple[str, ...]]] = {
            "container": [("ps", "-aq", "--filter", which) for which in (tools, ours)],
            "network": [("network", "ls", "-q", "--filter", ours)],
            "volume": [("volume", "ls", "-q", "--filter", ours)],
        }
        return [
            (kind, name)
            for kind, commands in listings.items()
            for command in commands
            for name in self.engine(*command).out.splitlines()
        ]

    def sweep(self) -> None:
        """Remove what a killed test run left, of whichever checkout: `triage down` rightly refuses another's stack."""
        forced = {"container": ("rm", "-f", "-v"), "network": ("network", "rm"), "volume": ("volume", "rm", "-f")}
        for kind, name in self.leftovers():
            self.engine(*forced[kind], name)

    def until_healthy(self) -> None:
        """Wait until every container is healthy."""
        deadline = time.monotonic() + HEALTHY_TIMEOUT_S
        while sick := {name: row["detail"] for name, row in self.programs().items() if not row["healthy"]}:
            assert time.monotonic() < deadline, f"not healthy: {sick}"
            time.sleep(0.5)


def _run(command: list[str], timeout_s: float, stdin: bytes = b"") -> Ran:
    done = subprocess.run(command, cwd=root(), input=stdin, capture_output=True, timeout=timeout_s, check=False)
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@contextmanager
def running_stack(home: Path) -> Iterator[ComposeStack]:
    """Bring a stack up for the length of a block, planned for by the rulebook alone; nothing of it is left after.

    With TRIAGE_TESTS_STACK=PROJECT the stack of that project, which is up, is used and left as it is.
    """
    if given := os.environ.get("TRIAGE_TESTS_STACK"):
        os.environ["COMPOSE_PROJECT_NAME"] = given
        yield ComposeStack(home)
        return
    with _only_one():
        ports = free_ports(len(PUBLISHED))
        os.environ.update({name: str(port) for name, port in zip(PUBLISHED, ports, strict=True)})
        os.environ.update({"COMPOSE_PROJECT_NAME": PROJECT, "TRIAGE_PLANNER_MODE": "rulebook"})
        stack = ComposeStack(home)
        stack.sweep()
        try:
            stack.ok("up", timeout_s=UP_TIMEOUT_S)
            yield stack
        finally:
            stack.triage("down", "--wipe", timeout_s=UP_TIMEOUT_S)
            left = stack.leftovers()
            for name in (*PUBLISHED, "COMPOSE_PROJECT_NAME", "TRIAGE_PLANNER_MODE"):
                os.environ.pop(name, None)
        assert not left, f"`down --wipe` left behind: {left}"


@contextmanager
def _only_one() -> Iterator[None]:
    """Two test runs at once on one engine would take each other's stack down."""
    path = Path(tempfile.gettempdir()) / f"{PROJECT}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + 4 * UP_TIMEOUT_S
        while not try_lock(descriptor):
            assert time.monotonic() < deadline, f"another test run holds {path}"
            time.sleep(1.0)
        yield
    finally:
        os.close(descriptor)
