"""Records one window: calm telemetry, the fault, what the sensors say of it, and how the world really is meanwhile.

Nothing here reads a clock: telemetry comes once a second from every device and carries the broker's time, so waiting
means waiting for a sample of that time. What the recording works on is a `Stage`: a running stack
(`harness/evaluation/stage.py`), or a made-up one in tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from broker.contracts.inventory import Inventory
from broker.contracts.telemetry import Telemetry
from broker.tasks import end
from harness.errors import StackDownError, TimedOutError
from harness.evaluation.data import Facts, Line, Load, Moment, Origin, RunPlan, Sample, Truth, Window
from harness.traffic import generator
from injector.fault import Spec
from injector.registry import check

SECOND = 1_000_000
CALM_S = 8.0
"""Calm telemetry before the fault: from it a device's usual values are learnt."""
AFTER_S = 16.0
"""Telemetry after the last moment: the planner waits for a ripe picture, 15 samples at most (docs/state-machines)."""
CALM_TIMEOUT_S = 90.0
STALL_TIMEOUT_S = 15.0
MAX_LINES = 60
"""So many of the first log lines of each workload are kept, and of the newest: agents look early and late."""
LogMark = dict[str, int]


class Stage(Protocol):
    """A running stack as a recording needs it."""

    @property
    def inventory(self) -> Inventory: ...

    async def set_load(self, load: Load) -> None:
        """Let the load generator send this from now on."""
        ...

    def telemetry(self) -> AsyncIterator[tuple[int, Telemetry]]:
        """Follow telemetry from now on: broker's time in microseconds, record."""
        ...

    async def inject(self, spec: Spec) -> None:
        """Break it; on return the world shows the fault."""
        ...

    async def heal(self) -> None:
        """Mend everything; on return the world shows no fault."""
        ...

    async def facts(self) -> dict[str, Facts]:
        """Return how every workload is right now."""
        ...

    def mark(self) -> LogMark:
        """Return where every log ends now."""
        ...

    def lines(self, since: LogMark, start_us: int) -> dict[str, tuple[Line, ...]]:
        """Return the WARN and ERROR lines, and the raw ones, that were written since a mark."""
        ...


@dataclass
class _Tape:
    """Telemetry as it comes in, and a way to wait for it."""

    records: list[tuple[int, Telemetry]]
    changed: asyncio.Condition
    failure: Exception | None = None

    @property
    def now_us(self) -> int:
        """Return the newest sample's time; 0 before the first."""
        return self.records[-1][0] if self.records else 0

    async def run(self, source: AsyncIterator[tuple[int, Telemetry]]) -> None:
        try:
            async for record in source:
                async with self.changed:
                    self.records.append(record)
                    self.changed.notify_all()
            raise StackDownError("the journal ended while telemetry was recorded; see: triage status")
        except Exception as error:
            async with self.changed:
                self.failure = error
                self.changed.notify_all()

    async def until(self, happens: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until telemetry shows something.

        Raises:
            TimedOutError: it did not in time. Exception: whatever ended the following of the journal.
        """
        try:
            async with asyncio.timeout(timeout_s), self.changed:
                await self.changed.wait_for(lambda: self.failure is not None or happens())
        except TimeoutError as error:
            raise TimedOutError(f"{what} did not come within {timeout_s:g} s; see: triage status") from error
        if self.failure is not None:
            raise self.failure

    async def reach(self, time_us: int) -> None:
        """Wait for a sample of this time or later."""
        ahead_s = max(0.0, (time_us - self.now_us) / SECOND)
        await self.until(lambda: self.now_us >= time_us, ahead_s + STALL_TIMEOUT_S, "the next telemetry")

    def calm_since(self, devices: tuple[str, ...]) -> int | None:
        """Return since when every device says OK and reports no error; None if one does not, or has said nothing."""
        since = self.records[0][0] if self.records else None
        for device in devices:
            own = [(at, record) for at, record in self.records if record.device_id == device]
            if not own or not _is_calm(own[-1][1]):
                return None
            troubled = [at for at, record in own if not _is_calm(record)]
            since = max(since or 0, troubled[-1] if troubled else 0)
        return since


def _is_calm(record: Telemetry) -> bool:
    return record.status == "OK" and record.error_code is None and record.note is None


def truth_of(run: RunPlan, inventory: Inventory) -> Truth:
    """Return what a right diagnosis names: the injector's own word, or that nothing is broken any more."""
    if run.fault is None or run.fault.healed_after_s is not None:
        return Truth(target=generator(inventory).name, fault_class="none")
    spec = Spec(run.fault.kind, run.fault.target, run.fault.args)
    target, fault_class = check(spec).truth(spec)
    return Truth(target=target, fault_class=fault_class)


async def record(stage: Stage, run: RunPlan, origin: Origin) -> Window:
    """Record one window; whatever happens, every fault is healed at the end.

    Raises:
        TimedOutError: the shop does not become calm. StackDownError: the journal ended.
        InjectorError: the fault cannot be made here, or the world does not show it.
    """
    tape = _Tape([], asyncio.Condition())
    await stage.set_load(run.load)
    following = asyncio.create_task(tape.run(stage.telemetry()))
    try:
        return await _record(stage, run, origin, tape)
    finally:
        try:
            await end(following)
        finally:
            await stage.heal()


async def _record(stage: Stage, run: RunPlan, origin: Origin, tape: _Tape) -> Window:
    start_us = await _calm(stage, tape, tolerant=run.fault is None)
    mark = stage.mark()
    injected_us = tape.now_us
    if run.fault is not None:
        await stage.inject(Spec(run.fault.kind, run.fault.target, run.fault.args))
    moments = []
    for at_s in run.moments_s:
        await _heal_before(stage, run, tape, injected_us, at_s)
        await tape.reach(injected_us + int(at_s * SECOND))
        facts = await stage.facts()
        moments.append(Moment(at_s=_after(start_us, injected_us) + at_s, facts=facts))
    await tape.reach(injected_us + int((run.moments_s[-1] + AFTER_S) * SECOND))
    samples = tuple(
        Sample(at_s=_after(start_us, at), telemetry=record) for at, record in tape.records if at >= start_us
    )
    return Window(
        name=run.name,
        origin=origin,
        fault=run.fault,
        load=run.load,
        truth=truth_of(run, stage.inventory),
        injected_at_s=None if run.fault is None else _after(start_us, injected_us),
        inventory=stage.inventory,
        moments=tuple(moments),
        samples=samples,
        logs=stage.lines(mark, start_us),
    )


async def _calm(stage: Stage, tape: _Tape, *, tolerant: bool) -> int:
    """Wait for `CALM_S` of calm and return when it began. Where nothing will be broken, what noise does to the shop is
    part of the picture: then the first calm instant is enough."""
    devices = stage.inventory.names()

    def is_calm() -> bool:
        since = tape.calm_since(devices)
        return since is not None and (tolerant or tape.now_us - since > CALM_S * SECOND)

    await tape.until(is_calm, CALM_TIMEOUT_S, "a calm shop")
    if tolerant:
        begun_us = tape.now_us
        await tape.reach(begun_us + int(CALM_S * SECOND))
    return tape.now_us - int(CALM_S * SECOND)


async def _heal_before(stage: Stage, run: RunPlan, tape: _Tape, injected_us: int, moment_s: float) -> None:
    after_s = run.fault.healed_after_s if run.fault is not None else None
    if after_s is not None and after_s < moment_s:
        await tape.reach(injected_us + int(after_s * SECOND))
        await stage.heal()


def _after(start_us: int, at_us: int) -> float:
    """Return seconds since the beginning, to the millisecond: a file is to be read by people too."""
    return round((at_us - start_us) / SECOND, 3)
