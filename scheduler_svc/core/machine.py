"""The scheduler as a machine (docs/adr/0002): one door, `step`."""

from __future__ import annotations

from functools import lru_cache

from broker.contracts.machine import Command, Event
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.reducer import reduce
from scheduler_svc.core.state import SchedulerState
from scheduler_svc.core.turn import MACHINE

READS = (
    ("incident", "reported"),
    ("plan", "proposed"),
    ("result", ""),
    ("verified", ""),
    ("deviation", ""),
    ("approval", "granted"),
    ("approval", "denied"),
    ("control", "halt"),
    ("control", "resume"),
)
"""Topic and last token (any if empty). Not claims: who works on a task changes nothing here, the broker reassigns."""


class SchedulerMachine:
    """Decides which plan is committed to, which task goes out when, and when an incident is over."""

    name: str = MACHINE
    version: int = 1
    state_type: type[SchedulerState] = SchedulerState

    def __init__(self, config: SchedulerConfig) -> None:
        self.config = config

    def configured(self, config: bytes) -> SchedulerMachine:
        """Return the same machine with another configuration."""
        return SchedulerMachine(SchedulerConfig.decode(config))

    def reads(self, subject: str) -> bool:
        """Tell whether messages on this subject are events here: its own due timers, no waiting ones, no telemetry."""
        return _reads(subject)

    def initial(self) -> SchedulerState:
        """Return the state before the first event: nothing open, not halted."""
        return SchedulerState()

    def step(self, state: SchedulerState, event: Event) -> tuple[SchedulerState, tuple[Command, ...]]:
        """Return the next state and the commands that follow. Total: an event that fits nothing changes nothing."""
        if not self.reads(event.subject):
            return state, ()
        return reduce(self.config, state, event)


@lru_cache(maxsize=1_024)
def _reads(subject: str) -> bool:
    """Most of a journal is telemetry of the same few devices: a subject is taken apart once."""
    tokens = subject.split(".")
    if tokens[:3] == ["triage", "due", MACHINE]:
        return len(tokens) == 4
    if tokens[:2] == ["triage", "incident"] and tokens[3:4] == ["answered"]:
        return len(tokens) == 5
    return tokens[0] == "triage" and any(tokens[1:2] == [topic] and end in ("", tokens[-1]) for topic, end in READS)
