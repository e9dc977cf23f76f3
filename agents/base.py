"""What all agents have in common: an order in, a result out, nothing outside the catalogue.

An agent is the handler of a work queue (`broker/runtime/worker_host.py`). The host has verified the order, holds the
claim and fences the result; the agent looks or acts and says in one sentence what it saw.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from agents.errors import AgentError, RefusedError, WorkError
from broker.contracts.base import MAX_OUT, Contract, Scalar
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import Inventory
from broker.contracts.plan import KIND_OF_AGENT, AgentKind
from broker.contracts.task import Result, Task
from broker.runtime.worker_host import Work
from services.platform.port import NotManagedError, PlatformError, UnknownWorkloadError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one task came to."""

    out: str
    """One sentence a person can read."""
    meta: dict[str, Scalar] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A task and where it stands in the journal."""

    task: Task
    seq: int
    time_us: int
    """When the broker took the order, microseconds since the epoch: what happened later may be its effect."""


class Agent(ABC):
    """Base of the agents: `execute` does the work, the rest makes a signed-able result of it."""

    kind: ClassVar[AgentKind]

    def __init__(self, instance: str, inventory: Inventory) -> None:
        self._instance = instance
        self._inventory = inventory

    @abstractmethod
    async def execute(self, order: Order) -> Outcome:
        """Carry out one order.

        Raises:
            WorkError: failed now. DefiniteError: failed for good. PlatformError: the world could not be reached.
        """

    async def handle(self, work: Work) -> Contract:
        """Check an order against the catalogue, carry it out, return its result; never raises for a bad order."""
        task = work.order
        if not isinstance(task, Task):
            raise WorkError(f"{self.kind} agent was handed a {type(task).__name__}")
        started = time.monotonic()
        try:
            self._check(task)
            outcome = await self.execute(Order(task, work.seq, work.time_us))
        except (AgentError, PlatformError) as error:
            return self._result(task, error, started)
        return self._result(task, outcome, started)

    def failure(self, work: Work, error: Exception) -> Contract:
        """Return the result that says an order could not be carried out (time-out, unexpected error)."""
        task = work.order
        if not isinstance(task, Task):
            raise WorkError(f"{self.kind} agent was handed a {type(task).__name__}") from error
        return self._result(task, error, None)

    def _check(self, task: Task) -> None:
        """The scheduler validated this plan; an agent trusts only the catalogue it carries itself."""
        entry = CATALOGUE.get(task.type)
        target = self._inventory.get(task.target)
        if entry is None or KIND_OF_AGENT[entry.agent] != self.kind:
            raise RefusedError(f"{task.type} is not in the catalogue of the {self.kind} agent")
        if target is None:
            raise RefusedError(f"{task.target} is not in the inventory")
        faults = entry.faults(task.args, target)
        if faults:
            raise RefusedError("; ".join(faults))

    def _result(self, task: Task, outcome: Outcome | Exception, started: float | None) -> Result:
        ok = isinstance(outcome, Outcome)
        text = outcome.out if isinstance(outcome, Outcome) else (str(outcome) or type(outcome).__name__)
        return Result(
            incident=task.incident,
            task_id=task.task_id,
            attempt=task.attempt,
            kind=self.kind,
            instance=self._instance,
            status="OK" if ok else "FAIL",
            out=printable(text),
            meta=outcome.meta if isinstance(outcome, Outcome) else {},
            evidence=tuple(printable(line) for line in outcome.evidence) if isinstance(outcome, Outcome) else (),
            error_code=None if isinstance(outcome, Outcome) else error_code(outcome),
            changed=outcome.changed if isinstance(outcome, Outcome) else False,
            elapsed_ms=0.0 if started is None else (time.monotonic() - started) * 1_000.0,
        )


def error_code(error: Exception) -> str:
    """Return the stable code: an agent error's own, `refused` for what the platform forbids, else the class name."""
    if isinstance(error, AgentError):
        return error.code
    if isinstance(error, NotManagedError | UnknownWorkloadError):
        return RefusedError.code
    return type(error).__name__


def printable(text: str, limit: int = MAX_OUT) -> str:
    """Return text without control characters (a newline becomes a space), cut to `limit` characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


LOOKBACK_UNITS = {"s": 1, "m": 60, "h": 3_600}


def lookback_us(text: Scalar) -> int:
    """Return microseconds of a look-back such as `30s`, `5m`, `1h` (the catalogue has checked its form)."""
    span = str(text)
    return int(span[:-1]) * LOOKBACK_UNITS[span[-1]] * 1_000_000
