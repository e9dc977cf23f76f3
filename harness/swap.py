"""Another planner on a recorded world: the same reports, telemetry and results, until the two would do something else.

The other planner starts from the state that the recorded one had and reads the same journal. Its proposals are laid
beside the recorded ones, attempt by attempt. As long as they believe and do the same, what the recording goes on with
is what would have happened under the other planner too; from the first difference on it is not, so there it ends.

A model is asked for its own answers (the recorded ones are the recorded planner's), and the world stands still while it
answers: what a slow answer would have cost is not told here, since the recorded repair went on meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from broker.contracts.machine import Event, Publish
from broker.contracts.plan import (
    PlanAccepted,
    PlanAnswered,
    PlanPrompted,
    PlanProposed,
    PlanRequested,
    PlanTask,
)
from broker.gate import Trusted
from harness.decisions import Change, differences, essence_of
from harness.errors import BadRecordingError, HarnessError
from harness.recording import Recording
from harness.replay import Door, deciders_of
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.state import PlannerState

Ask = Callable[[PlanPrompted], Awaitable[PlanAnswered]]
Key = tuple[str, int, int]
"""Incident, plan version, attempt."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a planner believes and would do."""

    seq: int
    """Journal sequence of the recorded proposal; of the other's, of the event that led to it."""
    after_s: float
    """Since the request of this attempt, seconds."""
    origin: Literal["rulebook", "llm"]
    target: str
    fault_class: str
    confidence: float
    evidence: tuple[str, ...]
    tasks: tuple[str, ...]
    """One line a task."""


@dataclass(frozen=True, slots=True)
class Parting:
    """The first attempt in which the two planners would do something else."""

    incident: str
    version: int
    attempt: int
    changes: tuple[Change, ...]
    """Where the proposals differ; empty if one planner proposed nothing."""
    recorded: Wish | None
    other: Wish | None


@dataclass(frozen=True, slots=True)
class Swapped:
    """What came of the swap."""

    planner: str
    recorded_mode: str
    """The recorded planner's mode, of its configuration."""
    scenario: str
    incident: str
    events: int
    """How many events both planners saw before they parted, or all."""
    proposals: int
    """Attempts in which both proposed the same."""
    asked: int
    """How often a model was asked."""
    unanswered: tuple[str, ...]
    """Why it gave no answer, once for each time: the rulebook stood in for it then, as it does in production."""
    parting: Parting | None


@dataclass
class _Game:
    """The two planners' proposals so far, by attempt."""

    requested_us: dict[Key, int] = field(default_factory=dict)
    recorded: dict[Key, tuple[PlanProposed, Wish]] = field(default_factory=dict)
    other: dict[Key, tuple[PlanProposed, Wish]] = field(default_factory=dict)
    agreed: int = 0

    def wish(self, proposal: PlanProposed, seq: int, time_us: int) -> Wish:
        """Return a proposal as it is shown."""
        since_us = self.requested_us.get(_key(proposal), time_us)
        guess = proposal.plan.hypothesis
        return Wish(
            seq,
            round((time_us - since_us) / 1_000_000, 3),
            proposal.origin,
            guess.target,
            guess.fault_class,
            guess.confidence,
            guess.evidence,
            tuple(map(_line, proposal.plan.tasks)),
        )

    def judge(self, key: Key) -> Parting | None:
        """Compare an attempt in which both have proposed; what is the same is done with."""
        if key not in self.recorded or key not in self.other:
            return None
        (ours, wished), (theirs, instead) = self.recorded[key], self.other[key]
        if changes := differences(essence_of(ours), essence_of(theirs)):
            return Parting(*key, changes, wished, instead)
        del self.recorded[key], self.other[key]
        self.agreed += 1
        return None

    def close(self, key: Key) -> Parting | None:
        """Judge an attempt that is over: whoever has proposed nothing by now proposes nothing."""
        if key not in self.recorded and key not in self.other:
            return None
        wished, instead = self.recorded.get(key), self.other.get(key)
        return Parting(*key, (), None if wished is None else wished[1], None if instead is None else instead[1])


class _Other:
    """The other planner: its state and what it says."""

    def __init__(self, machine: PlannerMachine, state: PlannerState, ask: Ask | None) -> None:
        self._machine = machine
        self._state = state
        self._ask = ask
        self.asked = 0
        self.unanswered: list[str] = []

    async def take(self, event: Event) -> list[PlanProposed]:
        """Let it read an event; return what it proposes. A model it asks is asked at once."""
        if not self._machine.reads(event.subject):
            return []
        self._state, commands = self._machine.step(self._state, event)
        said = [command.message for command in commands if isinstance(command, Publish)]
        found = [message for message in said if isinstance(message, PlanProposed)]
        for prompt in said:
            if isinstance(prompt, PlanPrompted):
                answered = await self._answer(prompt)
                found += await self.take(
                    Event(event.seq, event.time_us, answered.subject(), answered, "swap", "LLM_DECISION")
                )
        return found

    async def _answer(self, prompt: PlanPrompted) -> PlanAnswered:
        if self._ask is None:
            raise HarnessError("the planner asks a model, and none was given; name one: --swap planner=URL")
        self.asked += 1
        answered = await self._ask(prompt)
        if answered.outcome != "ok":
            self.unanswered.append(f"{answered.outcome}: {answered.error}")
        return answered


async def swap(path: Path, planner: str, ask: Ask | None = None) -> Swapped:
    """Replay a recording with another planner until it parts from the recorded one.

    Args:
        planner: `rulebook`, or a name of the model behind `ask` for display.
        ask: asks a model; None for the rulebook.

    Raises:
        NotFoundError, BadRecordingError: the recording cannot be read, or holds no planner.
    """
    recording = Recording(path)
    door = Door(recording)
    recorded = next((d for name, d in deciders_of(recording, door.gate) if name == "planner"), None)
    if recorded is None or not isinstance(recorded.machine, PlannerMachine):
        raise BadRecordingError(f"{path} holds no planner, so there is none to be swapped")
    config = recorded.machine.config
    mode = config.mode
    other = _Other(PlannerMachine(swapped(config, rulebook=ask is None)), recorded.state, ask)
    game, seen, parting = _Game(), 0, None
    for stored in recording.events():
        if parting is not None:
            continue  # the rest is only checked against the recording's own chain
        trusted = door.admit(stored)
        if trusted is None or stored.seq <= recorded.seq:
            continue
        seen += 1
        parting = await _play(game, other, trusted)
    for key in () if parting is not None else tuple(game.other):
        parting = parting or game.close(key)
    header = recording.header
    return Swapped(
        planner,
        mode,
        header.scenario,
        header.incident,
        seen,
        game.agreed,
        other.asked,
        tuple(other.unanswered),
        parting,
    )


def swapped(config: PlannerConfig, *, rulebook: bool) -> PlannerConfig:
    """Return the configuration of the other planner: the recorded one's in all but the mode."""
    if rulebook:
        return config.model_copy(update={"mode": "rulebook"})
    return config.model_copy(update={"mode": "hypothesis"}) if config.mode == "rulebook" else config


async def _play(game: _Game, other: _Other, trusted: Trusted) -> Parting | None:
    """Let one recorded message happen; return where the planners part, if here."""
    message, stored = trusted.message, trusted.stored
    if isinstance(message, PlanAnswered | PlanPrompted):
        return None  # between the recorded planner and its model
    if isinstance(message, PlanRequested):
        # A new attempt: those of before are over, whoever has not proposed in them does not any more.
        over = [key for key in (*game.recorded, *game.other) if key[0] == message.incident]
        for key in over:
            if (parting := game.close(key)) is not None:
                return parting
        game.requested_us[_key(message)] = stored.time_us
    if isinstance(message, PlanProposed):
        game.recorded[_key(message)] = message, game.wish(message, stored.seq, stored.time_us)
        return game.judge(_key(message))
    if isinstance(message, PlanAccepted) and (parting := game.close(_key(message))) is not None:
        return parting
    for proposal in await other.take(trusted.event()):
        game.other[_key(proposal)] = proposal, game.wish(proposal, stored.seq, stored.time_us)
        if (parting := game.judge(_key(proposal))) is not None:
            return parting
    return None


def _key(message: PlanRequested | PlanProposed | PlanAccepted) -> Key:
    return message.incident, message.version, message.attempt


def _line(task: PlanTask) -> str:
    """Return a task in one line: `reconcile orders, if t1.drifted = true`."""
    arguments = ", ".join(f"{name}={value}" for name, value in sorted(task.args.items()))
    words = f"{task.type} {task.target}" + (f" ({arguments})" if arguments else "")
    when = task.when
    return words if when is None else f"{words}, if {when.task_id}.{when.field} = {str(when.equals).lower()}"
