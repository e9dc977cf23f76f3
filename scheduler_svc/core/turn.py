"""What a handler is given besides the incident: the configuration and the moment. And what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from broker.contracts.control import Timer
from broker.contracts.machine import CancelTimer, Command, SetTimer
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.state import Closed, Incident

MACHINE = "scheduler"

Change = tuple[Incident | Closed, tuple[Command, ...]]
"""What becomes of the open incident, and the commands that follow."""

Purpose = Literal[
    "planning-timeout",
    "replan-wait",
    "task-timeout",
    "retry",
    "verify-timeout",
    "question-timeout",
    "approval-timeout",
]


@dataclass(frozen=True, slots=True)
class Turn:
    """One event's surroundings. `now_us` is the broker's time of the event, microseconds since the epoch."""

    config: SchedulerConfig
    now_us: int
    halted: bool

    def timer(
        self, purpose: Purpose, after_s: float, incident: str, scope: str, number: int, task_id: str | None = None
    ) -> SetTimer:
        """Return the command for a timer due `after_s` seconds after this event.

        Its id is a digest, since incident and task names together may be longer than a token. Incident, scope and
        number name it uniquely for its purpose.
        """
        digest = sha256(f"{incident}/{scope}/{number}".encode()).hexdigest()[:24]
        return SetTimer(
            Timer(
                machine=MACHINE,
                timer_id=f"{purpose}-{digest}",
                due_us=self.now_us + round(after_s * 1_000_000),
                purpose=purpose,
                incident=incident,
                task_id=task_id,
                number=number,
            )
        )


def cancel(timer_id: str) -> tuple[Command, ...]:
    """Return the command that takes a timer back; nothing if there is none. Said last: what goes on goes out first."""
    return (CancelTimer(MACHINE, timer_id),) if timer_id else ()
