"""What a stage needs around it: a stack that is up, a page that shows it, or a recording where there is no stack.

Whatever was started here is ended here; what was up before stays.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from broker.tasks import end
from deploy.sockets import LOOPBACK, free_port
from harness.children import end_child_of_loop
from harness.errors import StackDownError
from harness.site import Progress, deployment

BUNDLED = Path(__file__).parent / "fallback.recording"
"""The first peak of this script as it went on a real stack: a drift, and an agent killed at work."""
READY_S = 60.0
STOP_S = 10.0
POLL_S = 0.1
TRIAGE = (sys.executable, "-m", "harness.cli.app")
CHUNK = 65_536
KEPT = 8_192
"""Bytes at the end of a command's standard error that are kept: its sentence is the last line."""


@asynccontextmanager
async def stack_up(home: Path, base: int, progress: Progress) -> AsyncIterator[None]:
    """Have the stack up for a block."""
    stack = deployment(home, base)
    started = not stack.is_up()
    if started:
        await stack.up(progress=progress)
    try:
        yield
    finally:
        if started:
            await stack.down()


@asynccontextmanager
async def page_up(home: Path, own: str | None = None) -> AsyncIterator[str]:
    """Give the address of a page that shows this home's journal: the stack's own, or one that is started for the block.

    Args:
        own: address of the stack's own page, which may still be starting (docs/adr/0024); None: it has none.

    Raises:
        StackDownError: it does not answer, or none could be started.
    """
    if own is not None:
        await _answers(own, None)
        yield own
        return
    port = free_port()
    address = f"http://{LOOPBACK}:{port}/"
    async with _triage("--home", str(home), "dashboard", "--port", str(port)) as command:
        await _answers(address, command.process)
        yield address


@asynccontextmanager
async def said_again(recording: Path) -> AsyncIterator[Path]:
    """Say a recording again through a broker of its own (`triage replay --live`); give the home of its journal.

    Raises:
        StackDownError: it could not be said; the sentence is that command's.
    """
    async with _triage("replay", str(recording), "--live", "--stay", "--json") as command:
        try:
            first = await asyncio.wait_for(command.first_line(), READY_S)
        except TimeoutError as error:
            raise StackDownError(f"the recording {recording} did not begin within {READY_S:g} s") from error
        if not first:
            why = (await command.complaint()).removeprefix("triage: ")
            raise StackDownError(f"the recording {recording} cannot be played: {why}")
        yield Path(json.loads(first)["home"])


class Command:
    """A command of ours at work. All that it writes is read as it comes: with a full pipe it would stand still."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101 - both are pipes
        assert process.stderr is not None  # noqa: S101
        self.process = process
        self._first = asyncio.create_task(process.stdout.readline())
        self._rest = asyncio.create_task(self._forget(process.stdout))
        self._errors = asyncio.create_task(_tail(process.stderr))

    async def first_line(self) -> bytes:
        """Return the first line of its standard output; empty if it ended without one."""
        return await asyncio.shield(self._first)

    async def complaint(self) -> str:
        """Return the last line of its standard error, when it has closed that."""
        return (await asyncio.shield(self._errors)).decode(errors="replace").strip().rpartition("\n")[2]

    async def end(self) -> None:
        """End it, and no longer listen to it."""
        await end_child_of_loop(self.process, STOP_S)
        await end(self._first, self._rest, self._errors)

    async def _forget(self, stream: asyncio.StreamReader) -> None:
        await self.first_line()
        await _tail(stream)


@asynccontextmanager
async def _triage(*words: str) -> AsyncIterator[Command]:
    """Have a command of ours at work for a block, apart from our terminal: its interrupt is for us."""
    process = await asyncio.create_subprocess_exec(
        *TRIAGE, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    command = Command(process)
    try:
        yield command
    finally:
        await command.end()


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end; return the last of it."""
    kept = b""
    while chunk := await stream.read(CHUNK):
        kept = (kept + chunk)[-KEPT:]
    return kept


async def _answers(address: str, process: Process | None) -> None:
    deadline = time.monotonic() + READY_S
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline and (process is None or process.returncode is None):
            try:
                if (await client.get(f"{address}api/health")).json()["connected"]:
                    return
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                pass
            await asyncio.sleep(POLL_S)
    raise StackDownError(f"no dashboard at {address} shows this stack; try: triage dashboard")
