"""What a stage needs around it: a stack that is up, a page that shows it, or a recording where there is no stack.

Whatever was started here is ended here; what was up before stays.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from deploy.sockets import LOOPBACK
from harness.errors import StackDownError
from harness.site import Progress, deployment

BUNDLED = Path(__file__).parent / "fallback.recording"
"""The first peak of this script as it went on a real stack: a drift, and an agent killed at work."""
READY_S = 60.0
STOP_S = 10.0
POLL_S = 0.1


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
    process = await _triage("--home", str(home), "dashboard", "--port", str(port))
    try:
        await _answers(address, process)
        yield address
    finally:
        await _end(process)


@asynccontextmanager
async def said_again(recording: Path) -> AsyncIterator[Path]:
    """Say a recording again through a broker of its own (`triage replay --live`); give the home of its journal.

    Raises:
        StackDownError: it could not be said; the sentence is that command's.
    """
    process = await _triage("replay", str(recording), "--live", "--stay", "--json")
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    assert process.stderr is not None  # noqa: S101
    try:
        first = await asyncio.wait_for(process.stdout.readline(), READY_S)
        if not first:
            why = (await process.stderr.read()).decode(errors="replace").strip().removeprefix("triage: ")
            await process.wait()
            raise StackDownError(f"the recording {recording} cannot be played: {why}")
        yield Path(json.loads(first)["home"])
    except TimeoutError as error:
        raise StackDownError(f"the recording {recording} did not begin within {READY_S:g} s") from error
    finally:
        await _end(process)


def free_port() -> int:
    """Return a free TCP port of this machine."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


async def _triage(*words: str) -> Process:
    """Start a command of ours, apart from our terminal: its interrupt is for us, and we end the command then."""
    command = [sys.executable, "-m", "harness.cli.app", *words]
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )


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


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
