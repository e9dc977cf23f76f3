"""What happens on the stage, for real: faults put in, an agent killed, repairs judged, the record checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from broker.contracts.monitor import AgentLost
from broker.contracts.task import Claim
from broker.gate import Trusted
from broker.tasks import end
from deploy.status import ProgramStatus
from harness.control import ControlPlane, Seen
from harness.demo import recording_name
from harness.errors import NotVerifiedError, StackDownError
from harness.replay import replay
from harness.run import Outcome, Runner, Watch
from harness.scenario import Draw, draw, load
from harness.site import deployment
from harness.stage.play import Do
from harness.stage.script import AUDIENCE_TEXT, Act
from harness.store import remember, verify_audit

PEAK = "chaos1"
AUDIENCE = "cache_poison"
PROMISED_MS = 250.0
"""What the specification promises of a reassignment (section 13)."""
PAGE_TIMEOUT_S = 10.0
WELL_S = 45.0
POLL_S = 0.5


@dataclass
class Handover:
    """Watches the journal for an agent that is lost with work in its hands, and for who has that work next."""

    waiting: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By the task's subject: who was lost, and when, microseconds of broker time."""
    found: list[tuple[str, str, float]] = field(default_factory=list)
    """Who was lost, who has its work now, after how many milliseconds."""

    def see(self, item: Seen) -> None:
        """Take the journal's next message."""
        if not isinstance(item, Trusted):
            return
        message, at_us = item.message, item.stored.time_us
        if isinstance(message, AgentLost):
            self.waiting |= dict.fromkeys(message.handed_on, (message.instance, at_us))
        elif isinstance(message, Claim):
            task = message.subject().replace("triage.claim.", "triage.task.", 1)
            if task in self.waiting:
                lost, lost_us = self.waiting.pop(task)
                self.found.append((lost, message.instance, (at_us - lost_us) / 1_000))


class Stage:
    """The acts on one running stack, in the script's order: later ones speak of what earlier ones did."""

    def __init__(
        self,
        home: Path,
        control: ControlPlane,
        page: str,
        ask: Callable[[], Awaitable[str]] | None,
        watch: Watch = lambda _item: None,
    ) -> None:
        """
        Args:
            page: the dashboard's address.
            ask: gives a sentence that can be reported, empty if one comes by the page; None: nobody is asked.
        """
        self._home, self._control, self._page, self._ask, self._watch = home, control, page, ask, watch
        self._handover = Handover()
        self.recording: Path | None = None
        """Of the first peak, once it is over."""

    def acts(self) -> dict[Act, Do]:
        """Return what carries out which act."""
        return {
            "baseline": self.baseline,
            "peak": self.peak,
            "meter": self.meter,
            "audience": self.audience,
            "figures": self.figures,
            "proof": self.proof,
        }

    async def baseline(self) -> str:
        """Wait until every program that is needed is well. Raises StackDownError if one does not get so."""
        deadline = time.monotonic() + WELL_S
        programs = await self._programs()
        while ill := [program.name for program in programs if not program.healthy]:
            if time.monotonic() > deadline:
                raise StackDownError(f"not well before the demo: {', '.join(ill)}; see: triage status")
            await asyncio.sleep(POLL_S)
            programs = await self._programs()
        return f"{len(programs)} programs are well, and nothing is broken"

    async def peak(self) -> str:
        """Break the orders service, kill the first agent that takes a task; see it repaired."""
        self.recording = self._home / "recordings" / recording_name().replace("demo-", "stage-")
        return await self._repaired(draw(load(PEAK)), self.recording)

    async def meter(self) -> str:
        """Tell the measured reassignment. Raises NotVerifiedError if there was none, or it took too long."""
        if not self._handover.found:
            raise NotVerifiedError("no agent was lost with work in its hands, so nothing was handed on")
        lost, to, ms = self._handover.found[-1]
        if ms > PROMISED_MS:
            raise NotVerifiedError(f"the work of {lost} came to {to} after {ms:.1f} ms, which is over {PROMISED_MS:g}")
        return f"the work of {lost} was in the hands of {to} after {ms:.1f} ms; promised: {PROMISED_MS:g} ms"

    async def audience(self) -> str:
        """Break the cache, and let the audience report it, here or in the page."""
        text = AUDIENCE_TEXT if self._ask is None else await self._ask()
        drawn = draw(load(AUDIENCE))
        words = {"text": text} if text else {"text": None, "report_at_s": None}
        return await self._repaired(drawn.model_copy(update=words), None)

    async def figures(self) -> str:
        """Read today's figures where the page reads them."""
        try:
            async with httpx.AsyncClient(timeout=PAGE_TIMEOUT_S, trust_env=False) as client:
                found = (await client.get(f"{self._page}api/figures")).raise_for_status().json()
            if not isinstance(found, dict):
                raise ValueError("its figures are no object")
        except (httpx.HTTPError, ValueError) as error:
            raise StackDownError(f"the dashboard at {self._page} does not tell today's figures: {error!r}") from error
        injected, recovered = found.get("injected"), found.get("recovered")
        if injected is None or recovered is None:
            return f"today: injected {_measured(injected)}, recovered {_measured(recovered)}"
        return f"{recovered} of {injected} injected faults recovered today"

    async def proof(self) -> str:
        """Verify the audit trail, and decide the first peak again from its recording."""
        audit = await verify_audit(self._home)
        if not audit.ok:
            raise NotVerifiedError("the audit trail does not hold; see: triage audit verify")
        if self.recording is None:
            raise NotVerifiedError("there is no recording of the first peak")
        again = replay(self.recording)
        if again.difference is not None:
            raise NotVerifiedError(again.difference.sentence)
        return f"{audit.rows} audit rows hold; {again.decisions} decisions of the run come out the same, byte by byte"

    async def _programs(self) -> tuple[ProgramStatus, ...]:
        return (await deployment(self._home).status()).needed

    async def _repaired(self, drawn: Draw, record: Path | None) -> str:
        outcome = await self._while_up(Runner(self._home, self._control, self._seen).run(drawn, record=record))
        await remember(self._home, outcome)
        if not outcome.ok:
            failed = [f"{clause.name}: {clause.detail}" for clause in outcome.judgement.clauses if not clause.ok]
            raise NotVerifiedError(f"{outcome.incident} was not repaired and proved: {'; '.join(failed)}")
        return _sentence_of(outcome)

    async def _while_up(self, run: Coroutine[None, None, Outcome]) -> Outcome:
        """Return what a run comes to. A run waits minutes for a stack that may be gone: nobody waits on a stage.

        Raises:
            StackDownError: the stack's process manager ended meanwhile; the run was given up.
        """
        running = asyncio.create_task(run)
        try:
            while not (await asyncio.wait({running}, timeout=POLL_S))[0]:
                if not deployment(self._home).is_up():
                    raise StackDownError(
                        f"the stack under {self._home} ended in the middle of a run; see: triage status"
                    )
            return running.result()
        finally:
            await end(running)

    def _seen(self, item: Seen) -> None:
        self._handover.see(item)
        self._watch(item)


def _measured(figure: object) -> str:
    return "not measured" if figure is None else str(figure)


def _sentence_of(outcome: Outcome) -> str:
    took = outcome.score.time_to_recover_s
    after = "" if took is None else f", {took:.1f} s after the fault"
    return f"{outcome.incident}: {'; '.join(outcome.actions)}; repaired and proved{after}"
