"""Decides a situation with the planner's own core: telemetry and the request go in as the journal would bring them.

Nothing of the decision is rebuilt here. A model's answer goes in as `plan.answered`; what is proposed is checked by the
scheduler's own validation, and a refused proposal is asked for again as the scheduler does (attempt 2 with the reasons,
attempt 3 by the rulebook alone). Time is the recording's, so the same answers always give the same decision.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.contracts.base import Contract
from broker.contracts.machine import Event, Publish
from broker.contracts.plan import PlanAnswered, PlanPrompted, PlanProposed, PlanRequested, Reason
from harness.errors import HarnessError
from harness.evaluation.library import Case
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.state import PlannerState
from scheduler_svc.core.validate import faults

SECOND = 1_000_000
ANSWER_AFTER_S = 3.0
"""An answer is read so long after its prompt, in the recording's time, whichever model gave it: newer telemetry is
weighed against it, as in production, and the result does not hang on how busy the measuring machine was."""
INCIDENT = "evaluated"
MAX_ATTEMPTS = 3
TIMED_OUT = Reason(code="timed_out", detail="no plan came in time")
Ask = Callable[[PlanPrompted], Awaitable[PlanAnswered]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt and what came back."""

    prompt: PlanPrompted
    answer: PlanAnswered


@dataclass(frozen=True, slots=True)
class Decision:
    """What the planner proposed in the end."""

    proposal: PlanProposed
    asked: tuple[Asked, ...]
    attempts: int
    refused: tuple[Reason, ...]
    """Why earlier attempts were refused."""
    valid: bool
    """Whether the last proposal is one that the scheduler takes."""
    waited_s: float
    """From the report to the proposal, in the recording's time, seconds."""
    own_ms: float
    """Wall time of the machine's step that made the proposal, milliseconds."""


async def decide(case: Case, config: PlannerConfig, ask: Ask | None = None) -> Decision:
    """Return what the planner proposes in a situation.

    Args:
        config: with the mode to be measured; its inventory is replaced by the window's.
        ask: asked for each prompt; needed unless the mode is `rulebook`.

    Raises:
        HarnessError: the planner proposes nothing, whatever is done, or asks a model that is not there: a fault of the
            code, or of the caller's.
    """
    player = _Player(case, config.model_copy(update={"inventory": case.window.inventory}))
    while True:
        message = player.take()
        if isinstance(message, PlanPrompted):
            if ask is None:
                raise HarnessError(f"{case.situation.name}: a model is asked, and none is at hand")
            player.answered(message, await ask(message))
        elif isinstance(message, PlanProposed):
            if (decision := player.judged(message)) is not None:
                return decision
        elif message is None:
            player.go_on()


class _Player:
    """The journal of one situation: brings the planner one message after another and collects what it says."""

    def __init__(self, case: Case, config: PlannerConfig) -> None:
        self._case = case
        self._machine = PlannerMachine(config)
        self._inventory = config.inventory
        self._state: PlannerState = self._machine.initial()
        self._start_us = int(case.window.origin.recorded_at.timestamp() * SECOND)
        self._report_us = self._at(case.moment.at_s)
        self._tape = iter(case.window.samples)
        self._following = next(self._tape, None)
        self._pending: list[tuple[int, PlanAnswered]] = []
        self._said: list[Contract] = []
        self._asked: list[Asked] = []
        self._refused: list[Reason] = []
        self._attempt = 0
        self._now_us = 0
        self._seq = 0
        self._own_ms = 0.0

    def take(self) -> Contract | None:
        """Return the oldest thing that the planner said and nobody took yet."""
        return self._said.pop(0) if self._said else None

    def answered(self, prompt: PlanPrompted, answer: PlanAnswered) -> None:
        """Remember a model's answer; the planner reads it `ANSWER_AFTER_S` after its question."""
        self._asked.append(Asked(prompt, answer))
        self._pending.append((self._now_us + int(ANSWER_AFTER_S * SECOND), answer))

    def judged(self, proposal: PlanProposed) -> Decision | None:
        """Return the decision if the scheduler would take the proposal; else ask anew, and None."""
        why = proposal.unusable or faults(proposal.plan, self._inventory, 1)
        if why and self._attempt < MAX_ATTEMPTS:
            self._refused += why
            self._request(self._now_us, why)
            return None
        waited_s = (self._now_us - self._report_us) / SECOND
        asked, refused = tuple(self._asked), tuple(self._refused)
        return Decision(proposal, asked, self._attempt, refused, not why, waited_s, self._own_ms)

    def go_on(self) -> None:
        """Bring what comes next: the report or an answer when it is due, else a sample; after the last of them the
        scheduler's time-out."""
        sample = self._following
        next_us = None if sample is None else self._at(sample.at_s)
        if self._attempt == 0 and (next_us is None or next_us > self._report_us):
            self._request(self._report_us)
        elif self._pending and (next_us is None or self._pending[0][0] <= next_us):
            due_us, answer = self._pending.pop(0)
            self._say(answer, due_us)
        elif sample is not None and next_us is not None:
            self._following = next(self._tape, None)
            self._say(sample.telemetry, next_us)
        elif self._attempt < MAX_ATTEMPTS:
            self._request(self._now_us, (TIMED_OUT,))
        else:
            raise HarnessError(f"{self._case.situation.name}: the planner proposed nothing")

    def _at(self, seconds: float) -> int:
        return self._start_us + int(seconds * SECOND)

    def _request(self, at_us: int, rejected: tuple[Reason, ...] = ()) -> None:
        """Ask for a plan as the scheduler does: the third attempt is the rulebook's."""
        self._attempt += 1
        request = PlanRequested(
            incident=INCIDENT,
            version=1,
            attempt=self._attempt,
            text=self._case.situation.text,
            rejected=rejected,
            rulebook_only=self._attempt >= MAX_ATTEMPTS,
        )
        self._say(request, at_us)

    def _say(self, message: Contract, at_us: int) -> None:
        self._seq += 1
        self._now_us = max(self._now_us, at_us)
        event = Event(self._seq, self._now_us, message.subject(), message, "evaluation")
        started = time.perf_counter()
        self._state, commands = self._machine.step(self._state, event)
        if commands:
            self._own_ms = (time.perf_counter() - started) * 1_000
        self._said += [command.message for command in commands if isinstance(command, Publish)]
