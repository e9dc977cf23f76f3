"""The journal of a compose stack as its host sees it: one `triage tail` inside, followed as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from harness import leash
from harness.compose.host import DOOR
from harness.compose.program import Compose
from harness.errors import StackDownError

START_TIMEOUT_S = 15.0
END_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One message of the journal."""

    seq: int
    time_us: int
    subject: str
    type: str
    """Empty for a refused one."""
    refused: str
    payload: dict[str, Any]

    def of(self, incident: str) -> bool:
        """Tell whether it belongs to an incident."""
        return self.payload.get("incident") == incident


class Tail:
    """What comes, from the moment it was opened. Rows are kept, so that several questions can be asked one by one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.rows: list[Row] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - `opened` asks for a pipe
        while line := await self._process.stdout.readline():
            body = json.loads(line)
            row = Row(
                body["seq"], body["time_us"], body["subject"], body.get("type", ""), body.get("refused", ""),
                body.get("payload", {}),
            )  # fmt: skip
            async with self._news:
                self.rows.append(row)
                self._news.notify_all()

    async def first(self, wanted: Callable[[Row], bool], timeout_s: float, since: int = 0) -> Row:
        """Return the first wanted row; waits for it.

        Args:
            since: how many rows to pass over.

        Raises:
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(timeout_s), self._news:
            looked_at = since
            while True:
                for row in self.rows[looked_at:]:
                    if wanted(row):
                        return row
                looked_at = len(self.rows)
                await self._news.wait()

    async def some(self, timeout_s: float) -> None:
        """Wait until anything has come: then it is followed.

        Raises:
            TimeoutError: nothing came in time.
        """
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: bool(self.rows))

    async def end(self) -> None:
        """Stop following, also inside."""
        assert self._process.stdin is not None  # noqa: S101 - `opened` asks for a pipe
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def opened(compose: Compose) -> AsyncIterator[Tail]:
    """Follow the journal for the length of a block.

    Raises:
        StackDownError: nothing is heard from it.
    """
    # With telemetry, which comes every second: so it is known when the following has begun.
    process = await compose.start(
        *("exec", "-T", "-e", f"{leash.VARIABLE}=1", DOOR),
        *("triage", "tail", "-f", "-n", "1", "--telemetry", "--json"),
        stdin=asyncio.subprocess.PIPE,
    )
    tail = Tail(process)
    try:
        await tail.some(START_TIMEOUT_S)
        yield tail
    except TimeoutError as error:
        if tail.rows:
            raise
        raise StackDownError("the journal cannot be followed; see: triage --platform docker status") from error
    finally:
        await tail.end()
