"""Run one scenario on a running stack: inject, report, watch, judge, score, record.

The runner knows the truth (which fault is where) and the control plane does not: nothing of the injection stands in
the journal. Whatever happens, open faults are healed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from broker.port import CaughtUp
from broker.tasks import end
from harness.control import ControlPlane, Seen, new_incident
from harness.course import Course
from harness.errors import StackDownError, TimedOutError
from harness.oracle import Judgement, Oracle
from harness.outcome import Outcome, actions_of, expected, hypothesis_of, located
from harness.record import JournalTap
from harness.run_lock import only_run
from harness.scenario import Draw
from harness.scenario_checks import require_here
from harness.score import score
from harness.site import deployment, platform
from harness.traffic import reset_load, set_load
from harness.verdict import allowed_starts
from harness.watching import Watching
from injector.errors import NotHealedError
from injector.fault import Spec
from injector.injector import Injector
from services.inventory.declared import TRAFFIC_RATE

__all__ = ["Outcome", "Runner", "Watch"]

GREEN_TIMEOUT_S = 30.0
POLL_S = 0.2
QUIET_S = 15.0
"""Once an incident is closed and something is still wrong, how long nobody may have opened another: longer than the
monitor takes to notice and to leave a person the first word."""
Watch = Callable[[Seen], None]


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
            StackDownError: the world is not green at the start, or its load generator does not take the declared load
                at the end. TimedOutError: the incident was not closed in time.
            NotHealedError: the run ended, and a fault of it is left in the world. Where the run itself fails, its own
                error is raised, with what is left as a note.
            Exception: whatever ended the following of the journal or a kill.
        """
        require_here(draw.scenario, platform())
        with contextlib.nullcontext() if self._locked else only_run(self._deployment.home, draw.scenario.name):
            async with self._under_load(draw):
                return await self._run_and_heal(draw, record)

    async def _run_and_heal(self, draw: Draw, record: Path | None) -> Outcome:
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

    @contextlib.asynccontextmanager
    async def _under_load(self, draw: Draw) -> AsyncIterator[None]:
        """Have the draw's load for a block; the declared one after it, also where the block failed."""
        inventory = self._control.inventory
        rate = TRAFFIC_RATE  # that the oracle asks for
        await set_load(inventory, rate=rate, noise=draw.noise, seed=draw.seed)
        try:
            yield
        except BaseException as error:
            try:
                await reset_load(inventory)
            except StackDownError as left:
                error.add_note(f"the run's load is still set: {left}")
            raise
        await reset_load(inventory)

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
        seen = Watching()
        course = Course(draw, self._deployment, self._injector, self._witness, seen.fail)
        before = await self._oracle.before()
        async with self._following(start, seen, course, tap):
            await course.begin(draw.report_at_s)
            await self._report(draw, seen, started_at)
            await self._closed(draw, seen, course)
            allowed = allowed_starts(draw.specs, course.own, draw.scenario.expect.max_actions)
            judged = await self._oracle.judge(draw.specs, before, allowed=allowed)
            seen.require_whole()
            await tap.finish(seen.incident or "", course.injected_at)
        assert seen.closed is not None  # noqa: S101 - _closed has waited for it
        assert seen.incident is not None  # noqa: S101
        figures = score(seen.incident, seen.events, injected_at=course.injected_at)
        guess, actions = hypothesis_of(seen.events, seen.incident), actions_of(seen.events)
        own = expected(draw, seen.closed, figures, done=len(actions), missing=course.missing())
        return Outcome(
            draw.scenario.name,
            draw.seed,
            draw.noise,
            seen.incident,
            started_at,
            course.injected_at,
            seen.closed.verdict,
            seen.closed.reason,
            Judgement((*judged.clauses, *own)),
            figures,
            located(draw, guess),
            seen.refused,
            seen.signed,
            guess,
            actions,
        )

    @contextlib.asynccontextmanager
    async def _following(self, start: int, seen: Watching, course: Course, tap: JournalTap) -> AsyncIterator[None]:
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

    async def _report(self, draw: Draw, seen: Watching, started_at: float) -> None:
        if draw.text is None or draw.report_at_s is None:
            return
        await asyncio.sleep(max(0.0, started_at + draw.report_at_s - time.time()))
        seen.expect(incident := new_incident())
        await self._control.report(draw.text, incident=incident, source="harness")
        for said in draw.reports:
            await asyncio.sleep(max(0.0, started_at + said.at_s - time.time()))
            await self._control.report(said.text, source="harness")

    async def _closed(self, draw: Draw, seen: Watching, course: Course) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draw.scenario.timeout_s):
                await seen.done.wait()
                seen.require_whole()
                await course.finished()
                if len(draw.specs) > 1 or draw.reports:
                    await self._settled(draw.specs)
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
