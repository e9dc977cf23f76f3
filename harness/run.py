"""Run one scenario on a running stack: inject, report, watch, judge, score, record.

The runner knows the truth (which fault is where) and the control plane does not: nothing of the injection stands in
the journal. Whatever happens, open faults are healed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.plan import Hypothesis, PlanAccepted, PlanProposed
from broker.contracts.task import Claim, Result, Task
from broker.gate import Trusted
from broker.port import CaughtUp
from broker.tasks import end
from harness.control import ControlPlane, Refused, Seen
from harness.errors import StackDownError, TimedOutError
from harness.oracle import Clause, Judgement, Oracle
from harness.record import JournalTap
from harness.run_lock import only_run
from harness.scenario import Draw, KillStep
from harness.score import Score, score
from harness.site import Deployment, deployment
from injector.collateral import Baseline
from injector.errors import NotHealedError
from injector.fault import Spec
from injector.injector import Injector
from injector.registry import check
from services.inventory.declared import TRAFFIC_RATE

GREEN_TIMEOUT_S = 30.0
POLL_S = 0.2
VICTIMS = {
    "planner": "planner-1",
    "scheduler": "scheduler-1",
    "monitor": "monitor-1",
    "sensors": "sensors-1",
    "auditor": "auditor-1",
    "broker": "nats",
}
Watch = Callable[[Seen], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    scenario: str
    seed: int
    noise: float
    incident: str
    started_at: float
    injected_at: float | None
    """Seconds since the epoch."""
    verdict: str
    reason: str
    judgement: Judgement
    score: Score
    located: bool | None
    """Whether the last accepted hypothesis names the device and the class of the fault; None without a fault."""
    refused: int
    signed: int
    hypothesis: Hypothesis | None = None
    """What the last accepted plan believed; None if no plan was accepted."""
    actions: tuple[str, ...] = ()
    """One sentence for every task that changed the world, in order."""

    @property
    def ok(self) -> bool:
        """Tell whether the run is recovered: the oracle agrees and nothing was done that was not called for."""
        return self.judgement.ok


@dataclass
class _Watching:
    """What the runner has seen of the journal so far."""

    incident: str | None
    events: list[Event] = field(default_factory=list)
    closed: IncidentClosed | None = None
    refused: int = 0
    signed: int = 0
    failure: Exception | None = None
    """What ended the following of the journal before its time."""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, item: Seen) -> None:
        if isinstance(item, Refused):
            self.refused += 1
        if not isinstance(item, Trusted):
            return
        self.signed += 1
        event = item.event()
        self.events.append(event)
        message = event.payload
        if isinstance(message, IncidentReported) and self.incident is None:
            self.incident = message.incident
        if isinstance(message, IncidentClosed) and message.incident == self.incident:
            self._close(message)

    def ended(self, follower: asyncio.Task[None]) -> None:
        """Note that nothing more will be seen, and why."""
        if not follower.cancelled():
            error = follower.exception()
            ended = StackDownError("the journal ended while the run was watched; see: triage status")
            self.failure = error if isinstance(error, Exception) else ended
        self.done.set()

    def require_whole(self) -> None:
        """Raise what ended the following of the journal, if anything did: what was seen is then not the run."""
        if self.failure is not None:
            raise self.failure

    def _close(self, message: IncidentClosed) -> None:
        """A merged report goes on as the incident it was merged into."""
        if message.verdict == "merged" and message.merged_into is not None:
            self.incident = message.merged_into
            ended = [e.payload for e in self.events if isinstance(e.payload, IncidentClosed)]
            message = next((m for m in ended if m.incident == self.incident), message)
            if message.incident != self.incident:
                return
        self.closed = message
        self.done.set()


class Runner:
    """Runs scenarios on the stack under `home`."""

    def __init__(
        self, home: Path, control: ControlPlane, watch: Watch = lambda _item: None, *, locked: bool = False
    ) -> None:
        """
        Args:
            locked: whoever calls holds the stack's lock (`only_run`) for longer than this run.
        """
        self._locked = locked
        self._control = control
        self._watch = watch
        self._deployment = deployment(home)
        self._injector: Injector = self._deployment.injector()
        self._witness = self._deployment.witness()
        self._oracle = Oracle(self._injector, self._witness, control.inventory)

    async def run(self, draw: Draw, *, record: Path | None = None) -> Outcome:
        """Run a drawn scenario to its end and judge it.

        Raises:
            ConflictError: another run is going on on this stack; nothing was touched.
            StackDownError: the world is not green at the start. TimedOutError: the incident was not closed in time.
            NotHealedError: the run ended, and a fault of it is left in the world. Where the run itself fails, its own
                error is raised, with what is left as a note.
            Exception: whatever ended the following of the journal or a kill.
        """
        with contextlib.nullcontext() if self._locked else only_run(self._deployment.home, draw.scenario.name):
            await self._set_traffic(draw)
            try:
                await self._await_green()
                outcome = await self._run(draw, record)
            except BaseException as error:
                await self._heal_after(error)
                raise
            await self._injector.heal_all()
            return outcome

    async def _heal_after(self, error: BaseException) -> None:
        """Heal what can be healed; what cannot is noted on the error that ended the run, and does not hide it."""
        try:
            await self._injector.heal_all()
        except Exception as left:
            error.add_note(str(left) if isinstance(left, NotHealedError) else f"nothing was healed: {left!r}")

    async def _run(self, draw: Draw, record: Path | None) -> Outcome:
        started_at = time.time()
        tap = await JournalTap.open(self._control, record, draw)
        start = tap.next_sequence or await self._control.broker.last_sequence() + 1
        seen = _Watching(None)
        async with self._following(start, seen, draw, tap):
            baseline, injected_at = await self._inject(draw)
            await self._report(draw, seen, started_at)
            await self._closed(draw, seen)
            specs = _specs(draw)
            judged = await self._oracle.judge(specs, baseline)
            seen.require_whole()
            await tap.finish(seen.incident or "", injected_at)
        assert seen.closed is not None  # noqa: S101 - _closed has waited for it
        assert seen.incident is not None  # noqa: S101
        figures = score(seen.incident, seen.events, injected_at=injected_at)
        return Outcome(
            draw.scenario.name,
            draw.seed,
            draw.noise,
            seen.incident,
            started_at,
            injected_at,
            seen.closed.verdict,
            seen.closed.reason,
            Judgement((*judged.clauses, *_expected(draw, seen.closed, figures))),
            figures,
            _located(specs, seen.events, seen.incident),
            seen.refused,
            seen.signed,
            _hypothesis(seen.events, seen.incident),
            _actions(seen.events, seen.incident),
        )

    @contextlib.asynccontextmanager
    async def _following(self, start: int, seen: _Watching, draw: Draw, tap: JournalTap) -> AsyncIterator[None]:
        async def follow() -> None:
            kills = _Kills(draw.scenario.kills, self._deployment)
            async for item in self._control.follow(start):
                if not isinstance(item, CaughtUp):
                    tap.add(item.stored)
                seen.take(item)
                await kills.see(item)
                self._watch(item)

        task = asyncio.create_task(follow())
        task.add_done_callback(seen.ended)
        try:
            yield
        finally:
            await end(task)

    async def _inject(self, draw: Draw) -> tuple[Baseline, float | None]:
        injected_at: float | None = None
        started = time.monotonic()
        for step in sorted(draw.faults, key=lambda step: step.at_s):
            await asyncio.sleep(max(0.0, started + step.at_s - time.monotonic()))
            at = time.time()
            await self._injector.inject(Spec(step.fault, str(step.target), step.args))
            injected_at = injected_at or at
        return await self._witness.baseline(), injected_at

    async def _report(self, draw: Draw, seen: _Watching, started_at: float) -> None:
        if draw.text is None or draw.report_at_s is None:
            return
        await asyncio.sleep(max(0.0, started_at + draw.report_at_s - time.time()))
        seen.incident = await self._control.report(draw.text, source="harness")

    async def _closed(self, draw: Draw, seen: _Watching) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draw.scenario.timeout_s):
                await seen.done.wait()
        seen.require_whole()
        if seen.closed is None:
            what = f"incident {seen.incident} was not closed" if seen.incident else "no incident was opened"
            raise TimedOutError(f"{draw.scenario.name}: {what} within {draw.scenario.timeout_s:g} s; see: triage tail")

    async def _set_traffic(self, draw: Draw) -> None:
        traffic = next(device for device in self._control.inventory.devices if device.kind == "traffic")
        load = {"seed": draw.seed, "noise": draw.noise, "rate": TRAFFIC_RATE}  # the rate that the oracle asks for
        try:
            async with httpx.AsyncClient(timeout=3.0, trust_env=False) as client:
                url = f"http://{traffic.host}:{traffic.port}/settings"
                (await client.put(url, json=load)).raise_for_status()
        except httpx.HTTPError as error:
            raise StackDownError(f"the load generator does not answer: {error!r}; see: triage status") from error

    async def _await_green(self) -> None:
        deadline = time.monotonic() + GREEN_TIMEOUT_S
        while not (clause := await self._oracle.served_now()).ok:
            if time.monotonic() > deadline:
                raise StackDownError(
                    f"the shop is not healthy before the scenario ({clause.detail}); try: triage heal --all"
                )
            await asyncio.sleep(POLL_S)
        while open_ := await self._control.open_incidents():  # a report would be merged into it
            if time.monotonic() > deadline:
                raise StackDownError(f"the incident {min(open_)} is still open; wait for it, or see: triage tail")
            await asyncio.sleep(POLL_S)


class _Kills:
    """Carries out the scenario's kills, each once, the moment its cue stands in the journal."""

    def __init__(self, steps: tuple[KillStep, ...], stack: Deployment) -> None:
        self._left = list(steps)
        self._stack = stack

    async def see(self, item: Seen) -> None:
        if not isinstance(item, Trusted):
            return
        for step in [step for step in self._left if _is_cue(step, item)]:
            self._left.remove(step)
            message = item.message
            victim = message.instance if isinstance(message, Claim) else ""
            await self._stack.kill(VICTIMS.get(step.victim, victim), step.signal)


def _is_cue(step: KillStep, item: Trusted) -> bool:
    message = item.message
    if step.when != message.TYPE:
        return False
    return step.kind is None or (isinstance(message, Task | Claim | Result) and message.kind == step.kind)


def _specs(draw: Draw) -> tuple[Spec, ...]:
    return tuple(Spec(step.fault, str(step.target), step.args) for step in draw.faults)


def _expected(draw: Draw, closed: IncidentClosed, figures: Score) -> tuple[Clause, ...]:
    """Return the scenario's own clauses: the verdict it asks for, and no more actions than called for."""
    expect = draw.scenario.expect
    return (
        Clause("verdict as expected", closed.verdict == expect.verdict, f"{closed.verdict}: {closed.reason}"),
        Clause(
            "no more actions than called for",
            figures.actions <= expect.max_actions,
            f"{figures.actions} done, at most {expect.max_actions}",
        ),
    )


def _located(specs: tuple[Spec, ...], events: list[Event], incident: str) -> bool | None:
    if not specs:
        return None
    truths = {check(spec).truth(spec) for spec in specs}
    guess = _hypothesis(events, incident)
    return guess is not None and (guess.target, guess.fault_class) in truths


def _hypothesis(events: list[Event], incident: str) -> Hypothesis | None:
    plans = {e.payload.plan.plan_id: e.payload.plan for e in events if isinstance(e.payload, PlanProposed)}
    accepted = [
        plans[e.payload.plan_id].hypothesis
        for e in events
        if isinstance(e.payload, PlanAccepted) and e.payload.incident == incident and e.payload.plan_id in plans
    ]
    return accepted[-1] if accepted else None


def _actions(events: list[Event], incident: str) -> tuple[str, ...]:
    results = [e.payload for e in events if isinstance(e.payload, Result) and e.payload.incident == incident]
    return tuple(result.out for result in results if result.changed and result.status == "OK")
