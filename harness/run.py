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
from broker.contracts.task import Result
from broker.gate import Trusted
from broker.port import CaughtUp
from broker.tasks import end
from harness.control import ControlPlane, Refused, Seen
from harness.course import Course
from harness.errors import StackDownError, TimedOutError
from harness.oracle import Clause, Judgement, Oracle
from harness.record import JournalTap
from harness.run_lock import only_run
from harness.scenario import Draw
from harness.scenario_checks import require_here
from harness.score import Score, score
from harness.site import deployment, platform
from harness.verdict import allowed_starts
from injector.errors import NotHealedError
from injector.fault import Spec
from injector.injector import Injector
from injector.registry import check
from services.inventory.declared import TRAFFIC_RATE

GREEN_TIMEOUT_S = 30.0
POLL_S = 0.2
QUIET_S = 15.0
"""Once an incident is closed and something is still wrong, how long nobody may have opened another: longer than the
monitor takes to notice and to leave a person the first word."""
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

    def fail(self, error: Exception) -> None:
        """Note that something of the run itself has failed, so that nobody waits for its end."""
        self.failure = self.failure or error
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
            RefusedError: a fault of it cannot be made on this platform; nothing was touched.
            StackDownError: the world is not green at the start. TimedOutError: the incident was not closed in time.
            NotHealedError: the run ended, and a fault of it is left in the world. Where the run itself fails, its own
                error is raised, with what is left as a note.
            Exception: whatever ended the following of the journal or a kill.
        """
        require_here(draw.scenario, platform())
        with contextlib.nullcontext() if self._locked else only_run(self._deployment.home, draw.scenario.name):
            await self._set_traffic(draw)
            try:
                if self._injector.open():  # left by a run that was ended before it could heal
                    await self._injector.heal_all()
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
        course = Course(draw, self._deployment, self._injector, self._witness, seen.fail)
        specs = _specs(draw)
        before = await self._oracle.before()
        async with self._following(start, seen, course, tap):
            await course.begin(draw.report_at_s)
            await self._report(draw, seen, started_at)
            await self._closed(draw, seen, course, specs)
            allowed = allowed_starts(specs, course.own, draw.scenario.expect.max_actions)
            judged = await self._oracle.judge(specs, before, allowed=allowed)
            seen.require_whole()
            await tap.finish(seen.incident or "", course.injected_at)
        assert seen.closed is not None  # noqa: S101 - _closed has waited for it
        assert seen.incident is not None  # noqa: S101
        figures = score(seen.incident, seen.events, injected_at=course.injected_at)
        return Outcome(
            draw.scenario.name,
            draw.seed,
            draw.noise,
            seen.incident,
            started_at,
            course.injected_at,
            seen.closed.verdict,
            seen.closed.reason,
            Judgement((*judged.clauses, *_expected(draw, seen, figures, course.missing()))),
            figures,
            _located(draw, specs, seen.events, seen.incident),
            seen.refused,
            seen.signed,
            _hypothesis(seen.events, seen.incident),
            _actions(seen.events),
        )

    @contextlib.asynccontextmanager
    async def _following(self, start: int, seen: _Watching, course: Course, tap: JournalTap) -> AsyncIterator[None]:
        async def follow() -> None:
            async for item in self._control.follow(start):
                if not isinstance(item, CaughtUp):
                    tap.add(item.stored)
                seen.take(item)
                await course.see(item)
                self._watch(item)

        task = asyncio.create_task(follow())
        task.add_done_callback(seen.ended)
        try:
            yield
        finally:
            try:
                await course.stop()
            finally:
                await end(task)

    async def _report(self, draw: Draw, seen: _Watching, started_at: float) -> None:
        if draw.text is None or draw.report_at_s is None:
            return
        await asyncio.sleep(max(0.0, started_at + draw.report_at_s - time.time()))
        seen.incident = await self._control.report(draw.text, source="harness")
        for said in draw.reports:
            await asyncio.sleep(max(0.0, started_at + said.at_s - time.time()))
            await self._control.report(said.text, source="harness")

    async def _closed(self, draw: Draw, seen: _Watching, course: Course, specs: tuple[Spec, ...]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draw.scenario.timeout_s):
                await seen.done.wait()
                seen.require_whole()
                await course.finished()
                if len(specs) > 1 or draw.reports:
                    await self._settled(specs)
                return
        seen.require_whole()
        what = f"incident {seen.incident} was not closed" if seen.incident else "no incident was opened"
        if seen.closed is not None:
            what = f"incident {seen.incident} was closed, and what else the scenario holds had not come to its end"
        raise TimedOutError(f"{draw.scenario.name}: {what} within {draw.scenario.timeout_s:g} s; see: triage tail")

    async def _settled(self, specs: tuple[Spec, ...]) -> None:
        """Wait until no incident is open and nothing is wrong any more, or nobody has said so for a while."""
        quiet_since = time.monotonic()
        while True:
            if await self._control.open_incidents():
                quiet_since = time.monotonic()
            elif await self._is_well(specs) or time.monotonic() - quiet_since > QUIET_S:
                return
            await asyncio.sleep(POLL_S)

    async def _is_well(self, specs: tuple[Spec, ...]) -> bool:
        gone = [await self._oracle.is_gone(spec) for spec in specs]
        return all(gone) and (await self._oracle.served_now()).ok

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


def _specs(draw: Draw) -> tuple[Spec, ...]:
    return tuple(Spec(step.fault, str(step.target), step.args) for step in draw.faults)


def _expected(draw: Draw, seen: _Watching, figures: Score, missing: tuple[str, ...]) -> tuple[Clause, ...]:
    """Return the scenario's own clauses: everything in it has happened, its verdict, its bounds."""
    assert seen.closed is not None  # noqa: S101 - judged after the end
    expect, closed, done = draw.scenario.expect, seen.closed, len(_actions(seen.events))
    clauses = [
        Clause("verdict as expected", closed.verdict == expect.verdict, f"{closed.verdict}: {closed.reason}"),
        Clause(
            "no more actions than called for", done <= expect.max_actions, f"{done} done, at most {expect.max_actions}"
        ),
    ]
    if draw.scenario.kills or any(step.when for step in draw.faults):
        clauses.append(Clause("the scenario happened", not missing, "; ".join(missing) or "as written", missing))
    if expect.within_s is not None:
        took = figures.time_to_recover_s
        ok = took is not None and took <= expect.within_s
        said = "never recovered" if took is None else f"{took:.1f} s"
        clauses.append(Clause("recovered in time", ok, f"{said}, at most {expect.within_s:g} s"))
    return tuple(clauses)


def _located(draw: Draw, specs: tuple[Spec, ...], events: list[Event], incident: str) -> bool | None:
    if not specs:
        return None
    named = {(cause.target, cause.fault_class) for cause in draw.scenario.expect.causes}
    truths = named or {check(spec).truth(spec) for spec in specs}
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


def _actions(events: list[Event]) -> tuple[str, ...]:
    """Return what changed the world, over all incidents of the run."""
    results = [e.payload for e in events if isinstance(e.payload, Result)]
    return tuple(result.out for result in results if result.changed and result.status == "OK")
