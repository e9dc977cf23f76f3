"""What a scenario lets happen to the stack: faults at their times or cues, kills at their cues, each once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable

from broker.contracts.task import Claim, Result, Task
from broker.gate import Trusted
from broker.tasks import end
from harness.control import Seen
from harness.scenario import Draw, FaultStep, KillStep
from harness.site import Deployment
from injector.collateral import Witness
from injector.injector import Injector

VICTIMS = {
    "planner": "planner-1",
    "scheduler": "scheduler-1",
    "monitor": "monitor-1",
    "sensors": "sensors-1",
    "auditor": "auditor-1",
    "broker": "nats",
}


class Course:
    """Carries out one draw. Nothing of it stands in the journal."""

    def __init__(
        self, draw: Draw, stack: Deployment, injector: Injector, witness: Witness, failed: Callable[[Exception], None]
    ) -> None:
        """
        Args:
            failed: told of what an injection that went on by itself ended with.
        """
        self._failed = failed
        self._stack = stack
        self._injector = injector
        self._witness = witness
        self._kills = list(draw.scenario.kills)
        self._cued = [step for step in draw.faults if step.when is not None]
        self._timed = sorted((step for step in draw.faults if step.when is None), key=lambda step: step.at_s)
        self._one_at_a_time = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()
        self.injected_at: float | None = None
        """Seconds since the epoch of the first injection's begin."""
        self.own: Counter[str] = Counter()
        """Starts of workloads that the injections themselves made."""

    async def begin(self, until_s: float | None) -> None:
        """Inject the faults whose time is not after `until_s` (all without it); those after it go on by themselves."""
        self._started = time.monotonic()
        first = [step for step in self._timed if until_s is None or step.at_s <= until_s]
        later = [step for step in self._timed if step not in first]
        await self._inject_in_time(first)
        if later:
            self._go_on(self._inject_in_time(later))

    async def see(self, item: Seen) -> None:
        """Do what waits for this cue; an injection goes on by itself, so that the journal is followed meanwhile."""
        if not isinstance(item, Trusted):
            return
        for kill in [step for step in self._kills if is_cue(step, item)]:
            self._kills.remove(kill)
            victim = item.message.instance if isinstance(item.message, Claim) else ""
            await self._stack.kill(VICTIMS.get(kill.victim, victim), kill.signal)
        for fault in [step for step in self._cued if is_cue(step, item)]:
            self._cued.remove(fault)
            self._go_on(self._inject(fault))

    async def finished(self) -> None:
        """Wait for what is still to be injected at its time.

        Raises:
            InjectorError: whatever an injection ended with.
        """
        await asyncio.gather(*self._running)

    async def stop(self) -> None:
        """End what still goes on, so that nothing is injected after this."""
        await end(*self._running)

    def missing(self) -> tuple[str, ...]:
        """Return what has not happened, one sentence each."""
        kills = [f"the cue {step.when} for the kill of the {step.victim} never came" for step in self._kills]
        return (*kills, *(f"the cue {step.when} for {step.fault} never came" for step in self._cued))

    async def _inject_in_time(self, steps: Iterable[FaultStep]) -> None:
        for step in steps:
            await asyncio.sleep(max(0.0, self._started + step.at_s - time.monotonic()))
            await self._inject(step)

    async def _inject(self, step: FaultStep) -> None:
        async with self._one_at_a_time:
            places = str(step.target).split("--")
            before = [await self._witness.starts(name) for name in places]
            self.injected_at = self.injected_at or time.time()
            await self._injector.inject(step.spec)
            for name, starts in zip(places, before, strict=True):
                self.own[name] += await self._witness.starts(name) - starts

    def _go_on(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._running.add(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._failed(error)


def is_cue(step: FaultStep | KillStep, item: Trusted) -> bool:
    """Tell whether a message is what a step waits for."""
    message = item.message
    if step.when != message.TYPE:
        return False
    return step.kind is None or (isinstance(message, Task | Claim | Result) and message.kind == step.kind)
