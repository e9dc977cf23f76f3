"""The docker program and its compose plugin: found, examined, run. Nothing here knows what our stack is."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.compose.sentences import engine_failure, last_line
from harness.errors import DockerError

MIN_ENGINE = 25
"""First engine with `start_interval` of health checks, which the stack's start relies on."""
MIN_COMPOSE = (2, 20)
ASK_TIMEOUT_S = 20.0
Line = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one call."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Docker:
    """A docker program whose engine answers, and its compose."""

    program: str
    engine: str
    compose: tuple[str, ...]
    compose_version: str

    def ask(self, *arguments: str, timeout_s: float = ASK_TIMEOUT_S) -> Ran:
        """Run `docker ARGUMENTS` and return what it says.

        Raises:
            DockerError: it does not end in time.
        """
        return _run((self.program, *arguments), timeout_s=timeout_s)


def find() -> Docker:
    """Return what there is to work with.

    Raises:
        DockerError: no program, no engine that answers, no right to its socket, engine or compose too old, no compose.
    """
    program = shutil.which("docker")
    if program is None:
        raise DockerError("there is no docker program on PATH; install Docker, or leave out --platform docker")
    asked = _run((program, "version", "--format", "{{.Server.Version}}"))
    version = asked.out.strip()
    if asked.code != 0 or not version or version == "<no value>":
        raise engine_failure(asked.err or asked.out)
    if (numbers := numbers_of(version)) and numbers[0] < MIN_ENGINE:
        raise DockerError(f"the Docker engine is {version}; {MIN_ENGINE} or newer is needed")
    compose, said = _compose(program)
    return Docker(program, version, compose, said)


def _compose(program: str) -> tuple[tuple[str, ...], str]:
    """Return compose v2: the plugin, else the program of its own."""
    alone = shutil.which("docker-compose")
    for command in ((program, "compose"), *(((alone,),) if alone else ())):
        asked = _run((*command, "version", "--short"))
        version = asked.out.strip().removeprefix("v")
        if asked.code != 0 or not version:
            continue
        if numbers_of(version) < MIN_COMPOSE:
            needed = ".".join(map(str, MIN_COMPOSE))
            raise DockerError(f"docker compose is {version}; {needed} or newer is needed")
        return command, version
    raise DockerError("docker has no compose; install its plugin (often: docker-compose-plugin or docker-compose, v2)")


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: `26.1.5+dfsg1` gives (26, 1, 5)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _run(command: Sequence[str], timeout_s: float = ASK_TIMEOUT_S, folder: Path | None = None) -> Ran:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DockerError(f"`{' '.join(command[:3])}` did not end within {timeout_s:g} s") from error
    except OSError as error:
        raise DockerError(f"{command[0]} cannot be run: {error.strerror}") from error
    return Ran(done.returncode, done.stdout, done.stderr)


class Compose:
    """Compose in one project's folder: it finds the file, its overrides and `.env` there by itself."""

    def __init__(self, docker: Docker, root: Path) -> None:
        self._docker = docker
        self._root = root

    def call_held(self, *arguments: str) -> int:
        """Run with our own output, and a standard input that says nothing and ends when we do; return the exit code."""
        with subprocess.Popen((*self._docker.compose, *arguments), cwd=self._root, stdin=subprocess.PIPE) as process:
            return process.wait()

    def call(self, *arguments: str, stdin: int | None = None, stdout: int | None = None) -> int:
        """Run with this process's own streams (unless others are given) and return the exit code."""
        return subprocess.run(
            (*self._docker.compose, *arguments), cwd=self._root, stdin=stdin, stdout=stdout, check=False
        ).returncode

    def ask(self, *arguments: str, timeout_s: float = ASK_TIMEOUT_S) -> Ran:
        """Run to its end and return what it says.

        Raises:
            DockerError: it does not end in time.
        """
        return _run((*self._docker.compose, *arguments), timeout_s=timeout_s, folder=self._root)

    async def start(
        self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL, stderr: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        """Start and return the process; what it writes to standard output can be read."""
        return await asyncio.create_subprocess_exec(
            *self._docker.compose,
            *arguments,
            cwd=self._root,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=1 << 24,
        )

    async def run(self, *arguments: str, timeout_s: float, line: Line = lambda _line: None) -> Ran:
        """Run to its end, showing every line to `line` as it comes.

        Raises:
            DockerError: it does not end in time; it is ended.
        """
        process = await self.start(*arguments, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await asyncio.gather(_lines(process.stdout, line), _lines(process.stderr, line))
                code = await process.wait()
        except TimeoutError as error:
            raise DockerError(f"docker compose {arguments[0]} did not end within {timeout_s:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Ran(code, out, err)


async def _lines(stream: asyncio.StreamReader | None, line: Line) -> str:
    found: list[str] = []
    while stream is not None and (raw := await stream.readline()):
        found.append(raw.decode(errors="replace"))
        line(found[-1].strip())
    return "".join(found)


def complaint(ran: Ran) -> str:
    """Return the last thing a failed call said."""
    return last_line(ran.err or ran.out)
