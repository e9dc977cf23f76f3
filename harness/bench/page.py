"""What the dashboard's API takes while pages stream: `python -m harness.bench.page`.

A broker of its own says the stage's recording again, round after round, each time as another incident, so many messages
a second; pages follow as browsers do, and each goes away and comes back once a minute, behind what it has. What is
measured is the resident memory of the API's process, by the kernel's word; on the way every page must have been given
every message once. Memory first fills what is bounded (the ring, the kept incidents): that is the warm-up, and its end
is said in the figures.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import typer

from broker.errors import BrokerError
from broker.tasks import end
from deploy.sockets import free_port
from harness.bench.figures import Figure, table
from harness.children import end_child_of_loop
from harness.cli.output import err, out
from harness.errors import HarnessError, StackDownError
from harness.own_broker import OwnBroker, own_broker
from harness.rebroadcast import Line, Voices, opened
from harness.stage.surroundings import BUNDLED

FLAT_MIB_PER_MIN = 0.25
"""What still counts as flat, over an hour: less than the ring alone may hold."""
SAMPLE_S = 5.0
BURST = 5
STAY_S = 60.0
"""After so long a page goes away and comes back."""
READY_S = 60.0
STOP_S = 10.0
TIMERS = ("triage.timer.", "triage.due.")
"""Nothing waits for them here, and the broker would say them a second time."""
_MIB = 2.0**20
_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """The process's resident memory at one moment."""

    at_s: float
    """Since the pages came."""
    mib: float


@dataclass
class Count:
    """What one page was given."""

    head: int
    got: int = 0
    lost: int = 0
    twice: int = 0
    came: int = 0
    """How often it connected."""

    def take(self, seq: int) -> None:
        """Note one more event."""
        self.got += 1
        if seq <= self.head:
            self.twice += 1
            return
        self.lost += seq - self.head - 1
        self.head = seq


def slope(samples: Sequence[Sample]) -> float:
    """Return how much is added, MiB a minute: the least-squares line through the samples. Two of them at least."""
    line = statistics.linear_regression([sample.at_s / 60.0 for sample in samples], [sample.mib for sample in samples])
    return line.slope


def renamed(lines: Iterable[Line], number: int) -> list[Line]:
    """Return what was recorded as if of other incidents; what no reader of a journal waits for is left out."""
    return [_renamed(line, number) for line in lines if not line.subject.startswith(TIMERS)]


def _renamed(line: Line, number: int) -> Line:
    incident = getattr(line.message, "incident", None)
    if line.message is None or not incident:
        return line
    message = line.message.model_copy(update={"incident": f"{incident}-r{number}"})
    return replace(line, message=message, subject=message.subject())


async def measure(minutes: float, warm_up: float, pages: int, rate: float, say: Callable[[str], None]) -> list[Figure]:
    """Stream, and look; return the figures.

    Raises:
        StackDownError: broker or dashboard did not start, or went away.
    """
    piece = opened(BUNDLED)
    async with own_broker(piece.inventory) as own, _dashboard(own.home) as (process, address):
        speaking = asyncio.create_task(_speak(own, piece.lines, rate))
        counts = [Count(await _head(address)) for _ in range(pages)]
        # Not all at once: pages come and go each at its own time.
        reading = [
            asyncio.create_task(_page(address, count, STAY_S * (1 + number / pages)))
            for number, count in enumerate(counts)
        ]
        try:
            samples = await _watched(process, minutes * 60.0, [speaking, *reading], say)
            said = await own.broker.last_sequence()
        finally:
            await end(speaking, *reading)
    return figures(samples, warm_up * 60.0, counts, said, rate)


def figures(samples: Sequence[Sample], warm_s: float, counts: Sequence[Count], said: int, rate: float) -> list[Figure]:
    """Return what the samples and the pages come to."""
    late = [sample for sample in samples if sample.at_s >= warm_s]
    spoken = said / max(samples[-1].at_s - samples[0].at_s, 1.0)
    return [*_memory(samples[0], late, len(counts)), _complete(counts), _fast(spoken, rate)]


def _memory(first: Sample, late: Sequence[Sample], pages: int) -> list[Figure]:
    then = ", ".join(f"{sample.mib:.1f} after {sample.at_s / 60:.0f} min" for sample in (late[0], late[-1]))
    per_minute = slope(late)
    growth = f"{per_minute:+.3f} MiB/min"
    return [
        Figure(f"resident memory of the API with {pages} pages", "-", f"{first.mib:.1f} MiB at first, {then}", True),
        Figure("growth from then on", f"{FLAT_MIB_PER_MIN:g} MiB/min", growth, per_minute <= FLAT_MIB_PER_MIN),
    ]


def _complete(counts: Sequence[Count]) -> Figure:
    lost, twice = sum(count.lost for count in counts), sum(count.twice for count in counts)
    got, came = sum(count.got for count in counts), sum(count.came for count in counts)
    whole = lost == twice == 0 and all(count.got for count in counts)
    measured = f"{lost} and {twice} of {got:,}; pages came {came} times"
    return Figure("messages lost to a page, or given twice", "0", measured, whole)


def _fast(spoken: float, rate: float) -> Figure:
    return Figure("messages a second", f"{rate:g}", f"{spoken:.1f}", spoken >= 0.95 * rate)


async def _speak(own: OwnBroker, lines: Sequence[Line], rate: float) -> None:
    """Say the recording round after round, evenly, until cancelled; what came late is made up for."""
    voices, began, said, number = Voices(own.keyring), time.monotonic(), 0, 0
    while True:
        number += 1
        for some in _bursts(renamed(lines, number)):
            if (ahead_s := began + said / rate - time.monotonic()) > 0:
                await asyncio.sleep(ahead_s)
            saying = [own.broker.publish(line.subject, voices.frame(line, {})) for line in some]
            answers = await asyncio.gather(*saying, return_exceptions=True)
            # A machine that is busy with something else may leave one unanswered; the figures tell the true rate.
            said += sum(isinstance(answer, int) for answer in answers)
            for wrong in (answer for answer in answers if isinstance(answer, BaseException)):
                if not isinstance(wrong, BrokerError):
                    raise wrong


def _bursts(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """Give a few at a time, as agents that work side by side speak."""
    for start in range(0, len(lines), BURST):
        yield lines[start : start + BURST]


async def _watched(
    process: psutil.Process, length_s: float, tasks: Sequence[asyncio.Task[None]], say: Callable[[str], None]
) -> list[Sample]:
    """Look at the process until the time is over, or one of the tasks ends, which none should."""
    began, samples, told = time.monotonic(), list[Sample](), 0
    while (at_s := time.monotonic() - began) < length_s:
        samples.append(Sample(at_s, process.memory_info().rss / _MIB))
        if at_s // 60 >= told:
            told = int(at_s // 60) + 1
            say(f"{at_s / 60:4.0f} min: {samples[-1].mib:.1f} MiB")
        done, _ = await asyncio.wait(tasks, timeout=SAMPLE_S, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    return samples


async def _page(address: str, count: Count, stay_s: float) -> None:
    """Follow as a page does: what breaks is gone on with behind what is there."""
    async with httpx.AsyncClient(base_url=address, timeout=httpx.Timeout(READY_S), trust_env=False) as client:
        while True:
            count.came += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(stay_s):
                    await _follow(client, count)
            stay_s = STAY_S
            (await client.get("api/snapshot")).raise_for_status()


async def _follow(client: httpx.AsyncClient, count: Count) -> None:
    async with client.stream("GET", "api/events", params={"after": count.head}) as answer:
        answer.raise_for_status()
        rest = b""
        async for chunk in answer.aiter_raw():
            whole, found, rest = (rest + chunk).rpartition(b"\n\n")
            for match in _ID.finditer(whole + found):
                count.take(int(match[1]))
            if b"\nevent: reset\n" in b"\n" + whole:
                raise StackDownError("the API ended a page's stream with a reset: what it asked for was gone")


async def _head(address: str) -> int:
    async with httpx.AsyncClient(base_url=address, timeout=READY_S, trust_env=False) as client:
        return int((await client.get("api/snapshot")).raise_for_status().json()["head"])


@asynccontextmanager
async def _dashboard(home: Path) -> AsyncIterator[tuple[psutil.Process, str]]:
    """Serve a home's journal by a process of its own; give that process and its address."""
    port = free_port()
    command = [sys.executable, "-m", "harness.cli.app", "--home", str(home), "dashboard", "--port", str(port)]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        await _answers(address, child)
        yield psutil.Process(child.pid), address
    finally:
        await end_child_of_loop(child, STOP_S)


async def _answers(address: str, child: Process) -> None:
    deadline = time.monotonic() + READY_S
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        while child.returncode is None and time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if (await client.get(f"{address}api/snapshot")).status_code == 200:
                    return
            await asyncio.sleep(0.2)
    raise StackDownError("the dashboard that is to be measured did not answer; try: triage dashboard --port 0")


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 38.0,
    warm_up: Annotated[
        float, typer.Option(min=0.0, help="Minutes that do not count for the growth: what is bounded fills.")
    ] = 18.0,
    pages: Annotated[int, typer.Option(min=1, max=200)] = 20,
    rate: Annotated[float, typer.Option(min=1.0, max=500.0, help="Messages a second.")] = 50.0,
) -> None:
    """Measure the memory of the dashboard's API while pages stream."""
    if warm_up >= minutes:
        raise typer.BadParameter("the warm-up takes all the time; give more --minutes")
    try:
        found = asyncio.run(measure(minutes, warm_up, pages, rate, lambda line: err.print(f"  {line}", style="dim")))
    except (HarnessError, BrokerError) as error:
        err.print(f"triage: {error}", markup=False)
        raise typer.Exit(1) from error
    out.print(table(found), markup=False)
    raise typer.Exit(0 if all(figure.reached for figure in found) else 1)


if __name__ == "__main__":
    typer.run(main)
