"""The compose stack as its host sees it: up, down, examined, and a way in for everything else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from broker.keyring import Keyring
from deploy.status import ProgramStatus, StackStatus
from harness import leash, shown
from harness.compose import sentences
from harness.compose.delegate import EXCHANGE, INSIDE_HOME, Call
from harness.compose.program import Compose, Docker, Ran, complaint, find
from harness.compose.project import FILE, Seen, containers, project, root
from harness.errors import DockerError, HarnessError, RefusedError, StackDownError
from harness.rotation import SETTLE_S
from harness.site import Finding, KeyPlace, Progress, Signal, Site
from injector.collateral import Witness
from injector.hand import Hand
from injector.injector import Injector

DOOR = "injector"
"""The service with the operator's keys, in which commands are run."""
DASHBOARD, DASHBOARD_PORT = "dashboard", 17_480
"""The service that serves the page, and its port inside."""
BUILD_TIMEOUT_S = 1_800.0
UP_TIMEOUT_S = 300.0
DOWN_TIMEOUT_S = 180.0
ROTATE_TIMEOUT_S = 120.0
REFUSED = 4
"""Exit code of `setup` for what the keys do not allow."""
KILLED = 137
"""128 + SIGKILL."""


@dataclass(frozen=True, slots=True)
class Page:
    """The dashboard of a compose stack, as its host reaches it."""

    address: str
    token: str = field(repr=False)


class ComposeHost:
    """The stack of the compose file beside this package (or in the current folder). `home` takes fetched recordings."""

    def __init__(self, home: Path, look: Callable[[], Docker] = find) -> None:
        self.home = home
        self._look = look
        self._found: Docker | None = None
        self._name: str | None = None

    @property
    def docker(self) -> Docker:
        """The docker program, looked for once.

        Raises:
            DockerError: there is none that can be used.
        """
        self._found = self._found or self._look()
        return self._found

    @property
    def project(self) -> str:
        """The project's name, asked for once (`compose.project.project`)."""
        self._name = self._name or project(self.docker)
        return self._name

    @property
    def _compose(self) -> Compose:
        return Compose(self.docker, root())

    # -- up and down

    async def up(self, *, progress: Progress, schedulers: int | None = None) -> None:
        """Build what changed, start everything; returns when all of it is healthy.

        What was started is stopped again if it fails, takes too long or is given up; a stack that was up stays up.

        Raises:
            DockerError: no engine, an image that does not build, a container that does not come up, or not in time.
            ConflictError: a port or the project's name is held by something else.
        """
        was_up = bool(self._own())
        built = await self._compose.run(
            "build", timeout_s=BUILD_TIMEOUT_S, line=lambda line: progress("images", line[:80])
        )
        if built.code != 0:
            raise sentences.build_failure(built.out, built.err)
        try:
            await self._start(progress, schedulers)
        except BaseException as error:  # also when the caller gives up: nothing half up is left behind
            if not was_up:
                await self._undo(error)
            raise

    async def _start(self, progress: Progress, schedulers: int | None) -> None:
        scale = () if schedulers is None else ("--scale", f"scheduler={schedulers}")
        started = await self._compose.run(
            *("up", "--detach", "--no-build", "--wait", *scale),
            timeout_s=UP_TIMEOUT_S,
            line=lambda line: progress("containers", line[:80]),
        )
        if started.code != 0:
            raise self._up_failure(started)

    async def _undo(self, error: BaseException) -> None:
        """Take down what was started. What keeps it from that is noted on the error and does not hide it."""
        try:
            ran = await self._take_down()
            left = complaint(ran) if ran.code != 0 else None
        except HarnessError as failed:
            left = str(failed)
        if left is not None:
            error.add_note(f"what was started could not be taken down: {left}")

    def _up_failure(self, started: Ran) -> HarnessError:
        sick = sentences.sick_container(started.err)
        log = self.docker.ask("logs", "--tail", str(sentences.TAIL_LINES), sick.name) if sick else None
        return sentences.up_failure(started.err, f"{log.out}{log.err}" if log else "")

    async def down(self, *, wipe: bool = False) -> None:
        """Stop and remove every container of the project, also of profiles; `wipe` its volumes too.

        Raises:
            StackDownError: there is nothing (and nothing to be wiped). ConflictError: it is another folder's.
        """
        if not self._own() and not wipe:
            raise self._not_up()
        ran = await self._take_down("--volumes") if wipe else await self._take_down()
        if ran.code != 0:
            raise DockerError(f"the stack could not be taken down: {complaint(ran)}")

    async def _take_down(self, *options: str) -> Ran:
        """Remove the containers of every profile; compose leaves those of profiles that it is not told of."""
        return await self._compose.run(
            *("--profile", "*", "down", "--remove-orphans", *options), timeout_s=DOWN_TIMEOUT_S
        )

    def is_up(self) -> bool:
        """Tell whether the container that commands are run in is there and runs."""
        return any(seen.service == DOOR and seen.state == "running" for seen in self._own())

    def _own(self) -> tuple[Seen, ...]:
        return containers(self.docker, self.project)

    # -- commands inside

    def perform(self, call: Call) -> int:
        """Run a command of the harness inside; return its exit code.

        Raises:
            StackDownError: the stack is not up. DockerError: a file could not be brought in or out. OSError: a file to
                be brought out could not be written here; nothing was done then.
        """
        self._require_up()
        with ExitStack() as drafts:
            landing = [(inside, drafts.enter_context(_draft_of(path)), path) for inside, path in call.fetched]
            if call.rotates:
                self.rotate(force=call.forced)
            for source, target in call.sent:
                self._send(source, target)
            code = self.enter("triage", *call.arguments, names=call.names)
            for inside, draft, path in landing:
                if self._fetch(inside, draft, missing_ok=code != 0):
                    draft.replace(path)
        return code

    def enter(self, *command: str, names: Mapping[str, str] | None = None) -> int:
        """Run a command in the operator's container with our own streams: a terminal if we have one.

        Args:
            names: what files that it names are called here (`harness.shown`).
        """
        sys.stdout.flush()
        given = ("-e", f"{shown.VARIABLE}={shown.encoded(names)}") if names else ()
        if sys.stdin.isatty() and sys.stdout.isatty():
            code = self._compose.call("exec", *given, DOOR, *command)
        elif "-" in command:  # it reads what we are given
            code = self._compose.call("exec", "-T", *given, DOOR, *command)
        else:
            code = self._compose.call_held("exec", "-T", "-e", f"{leash.VARIABLE}=1", *given, DOOR, *command)
        if code == KILLED:
            raise DockerError(
                f"{' '.join(command[:2])} was killed inside the {DOOR} container: out of memory, or by hand"
            )
        return code

    def _send(self, source: Path, target: PurePosixPath) -> None:
        with source.open("rb") as file:
            code = self._compose.call(*_shell('cat > "$0"', target), stdin=file.fileno())
        if code != 0:
            raise DockerError(f"{source} could not be brought into the {DOOR} container")

    def _fetch(self, inside: PurePosixPath, draft: Path, *, missing_ok: bool) -> bool:
        """Copy a file out of the operator's container and remove it there; tell whether it came.

        Raises:
            DockerError: it did not, and that is not allowed.
        """
        with draft.open("wb") as file:
            code = self._compose.call(
                *_shell('test -f "$0" && cat "$0" && rm "$0"', inside), stdin=subprocess.DEVNULL, stdout=file.fileno()
            )
        if code != 0 and not missing_ok:
            raise DockerError(f"{inside} could not be copied out of the {DOOR} container")
        return code == 0

    def demo(self, record: Path) -> int:
        """Run the demo inside and copy its recording to `record`; return its exit code.

        Raises:
            As `perform`.
        """
        inside = EXCHANGE / record.name
        return self.perform(Call(("demo", "--record", str(inside)), fetched=((inside, record),)))

    def dashboard(self) -> Page:
        """Return where the stack's dashboard is published, and what it wants to be shown.

        Raises:
            StackDownError: the stack, or its dashboard, is not up. DockerError: its token cannot be read.
        """
        self._require_up()
        published = self._compose.ask("port", DASHBOARD, str(DASHBOARD_PORT))
        if published.code != 0 or not published.out.strip():
            raise StackDownError(f"the {DASHBOARD} container does not run; see: docker compose ps {DASHBOARD}")
        token = self._compose.ask("exec", "-T", DOOR, "cat", str(INSIDE_HOME / "dashboard.token"))
        if token.code != 0 or not token.out.strip():
            raise DockerError(f"the dashboard's token cannot be read: {complaint(token)}")
        return Page(f"http://{published.out.strip()}/", token.out.strip())

    # -- what `triage` asks of any deployment

    async def status(self) -> StackStatus:
        self._require_up()
        ran = await self._compose.run("exec", "-T", DOOR, "triage", "status", "--json", timeout_s=60.0)
        try:
            return _status(json.loads(ran.out))
        except (ValueError, KeyError, TypeError) as error:
            raise DockerError(f"the stack does not say how it is: {complaint(ran)}") from error

    def rotate(self, *, force: bool = False) -> int:
        """Do both passes of a rotation; return the version. The last word to the roles is the caller's.

        Raises:
            RefusedError: the keys refuse it. DockerError: no new keys could be written.
        """
        self._require_up()
        self._set_up("begin-rotation", *(("--force",) if force else ()))
        self._compose.ask("exec", "-T", DOOR, "triage", "keys", "rotate", "--announce", timeout_s=ROTATE_TIMEOUT_S)
        time.sleep(SETTLE_S)
        return self._set_up("finish-rotation")

    def _set_up(self, *verb: str) -> int:
        ran = self._compose.ask("run", "--rm", "--no-deps", "-T", "setup", *verb, timeout_s=ROTATE_TIMEOUT_S)
        if ran.code == REFUSED:
            raise RefusedError(complaint(ran))
        version = ran.out.split()[-1:] if ran.code == 0 else []
        if not version or not version[0].isdigit():
            raise DockerError(f"no new keys could be written: {complaint(ran)}")
        return int(version[0])

    def changing_keys(self) -> AbstractContextManager[None]:
        self._only_inside()

    async def begin_rotation(self, *, force: bool = False) -> Keyring:
        self._only_inside()

    async def finish_rotation(self) -> Keyring:
        self._only_inside()

    def installed(self) -> list[Finding]:
        try:
            docker = self.docker
        except HarnessError as error:
            return [Finding("docker", False, str(error))]
        findings = [
            Finding("docker", True, f"engine {docker.engine}"),
            Finding("compose", True, f"{docker.compose_version}"),
        ]
        try:
            findings.append(Finding("compose file", True, str(root() / FILE)))
        except HarnessError as error:
            findings.append(Finding("compose file", False, str(error)))
        return findings

    async def running(self) -> list[Finding]:
        try:
            found = self._own()
        except HarnessError as error:
            return [Finding("stack", False, str(error))]
        if not found:
            return [Finding("stack", True, f"no container of {self.project} is there; it can be started")]
        sick = "; ".join(f"{seen.name} is {seen.status}" for seen in found if seen.sick)
        ok = not sick and self.is_up()
        return [Finding("stack", ok, sick or (f"{len(found)} containers" if ok else f"{DOOR} does not run"))]

    def _require_up(self) -> None:
        if not self.is_up():
            raise self._not_up()

    def _not_up(self) -> StackDownError:
        return StackDownError(
            f"no stack of the compose project {self.project} is up; start one with: triage --platform docker up"
        )

    def site(self) -> Site:
        self._only_inside()

    def keys(self) -> KeyPlace:
        return KeyPlace(self.home / "keys", self.home / "passphrase")

    async def kill(self, name: str, signal: Signal = "KILL") -> None:
        self._only_inside()

    def injector(self) -> Injector:
        self._only_inside()

    def witness(self) -> Witness:
        self._only_inside()

    def hand(self) -> Hand:
        self._only_inside()

    def ring(self) -> Keyring:
        self._only_inside()

    def _only_inside(self) -> NoReturn:
        """The doors of the stack lead into networks that the host is not in.

        Raises:
            StackDownError: always; the command line hands such commands on and never comes here.
        """
        raise StackDownError(f"this works inside the stack only: docker compose exec {DOOR} triage ...")


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Open a file's draft beside it, before what takes minutes and is for the file's sake; what is left of it goes.

    Raises:
        OSError: the file cannot be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    draft.touch()
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _shell(script: str, path: PurePosixPath) -> tuple[str, ...]:
    return ("exec", "-T", DOOR, "sh", "-c", script, str(path))


def _status(body: dict[str, object]) -> StackStatus:
    rows = body["programs"]
    if not isinstance(rows, list):
        raise TypeError("programs is no list")
    return StackStatus(Path(str(body["home"])), None, None, tuple(_program(row) for row in rows))


def _program(row: dict[str, Any]) -> ProgramStatus:
    since = None if row["since"] is None else datetime.fromisoformat(row["since"])
    return ProgramStatus(**{**row, "since": since})
