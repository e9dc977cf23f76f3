"""A shop in telemetry, for tests of the planner: healthy samples, with what differs laid over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

from broker.contracts.base import Contract
from broker.contracts.inventory import Inventory
from broker.contracts.machine import Command, Event, Publish
from broker.contracts.plan import PlanAnswered, PlanPrompted, PlanProposed, PlanRequested
from broker.contracts.telemetry import Metrics, Telemetry
from planner_svc.config import AMPLIFICATION, load_rulebook, newest_templates
from planner_svc.core.config import PlannerConfig, Rulebook
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.state import PlannerState
from services.inventory.declared import inventory

SECOND = 1_000_000
START_US = 1_790_000_000 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Look = Mapping[str, Any]
"""What a device's sample says otherwise than a healthy one: any field of Telemetry or Metrics."""

UNANSWERED: Look = {"status": "ERROR", "cpu_load": None, "mem_usage": None, "latency_ms": None, "success_ratio": None}
USERS_FAIL: Look = {"status": "ERROR", "success_ratio": 0.5, "error_code": "500"}


@cache
def shop() -> Inventory:
    """Return the inventory of the shop."""
    return inventory(17_400, {"orders_db_password": "x", "catalog_db_password": "y"})


@cache
def rulebook() -> Rulebook:
    """Return the rulebook that ships with the package."""
    return load_rulebook()


def config(mode: Literal["auto", "rulebook"] = "rulebook") -> PlannerConfig:
    """Return the policy's configuration for the shop."""
    return PlannerConfig(inventory=shop(), rulebook=rulebook(), mode=mode, amplification=AMPLIFICATION)


def asking_config(mode: Literal["hypothesis", "full"]) -> PlannerConfig:
    """Return the policy's configuration with all that the role's shell sets for a planner that asks a model."""
    return PlannerConfig(
        inventory=shop(),
        rulebook=rulebook(),
        mode=mode,
        templates=newest_templates(),
        clear_margin=0.2,
        asks_again=True,
        certain=0.85,
        amplification=AMPLIFICATION,
    )


def answered(prompt: PlanPrompted, response: str, **fields: Any) -> PlanAnswered:
    """Return a model's answer to a prompt, as the model's worker says it."""
    values: dict[str, Any] = {
        "incident": prompt.incident,
        "version": prompt.version,
        "attempt": prompt.attempt,
        "outcome": "ok",
        "response": response,
        "prompt_hash": prompt.prompt_hash,
        "response_hash": "0" * 64,
        "model": "test",
        "settings": {},
    }
    return PlanAnswered(**(values | fields))


def sample(device: str, at_us: int, look: Look | None = None) -> Telemetry:
    """Return one telemetry record: healthy, but for what `look` says."""
    kind = next(d.kind for d in shop().devices if d.name == device)
    own = {"cpu_load": 0.12, "mem_usage": 6e7} if kind in ("service", "traffic") else {}
    served = {"success_ratio": 1.0, "request_rate": 20.0} if kind in ("service", "traffic") else {}
    values: dict[str, Any] = {"status": "OK", "cpu_load": None, "mem_usage": None, "latency_ms": 4.0, **own, **served}
    values |= look or {}
    metrics = {name: values.pop(name) for name in list(values) if name in Metrics.model_fields}
    timestamp = EPOCH + timedelta(microseconds=at_us)
    return Telemetry(device_id=device, timestamp=timestamp, metrics=Metrics(**metrics), **values)


@dataclass
class World:
    """A planner and the journal it reads, second by second."""

    machine: PlannerMachine = field(default_factory=lambda: PlannerMachine(config()))
    state: PlannerState = field(default_factory=PlannerState)
    now_us: int = START_US
    seq: int = 0
    events: list[Event] = field(default_factory=list)
    said: list[Contract] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def say(self, message: Contract) -> None:
        """Let one message stand in the journal."""
        self.seq += 1
        event = Event(self.seq, self.now_us, message.subject(), message, "test")
        self.events.append(event)
        assert self.machine.reads(event.subject)
        self.state, commands = self.machine.step(self.state, event)
        self.commands += commands
        self.said += [command.message for command in commands if isinstance(command, Publish)]

    def second(self, looks: Mapping[str, Look] | None = None, skip: Iterable[str] = ()) -> None:
        """Let a second pass: one sample of every device, spread over the second in the order of declaration."""
        end_us = self.now_us + SECOND
        for device in shop().names():
            self.now_us += SECOND // 10
            if device not in skip:
                self.say(sample(device, self.now_us, (looks or {}).get(device)))
        self.now_us = end_us

    def seconds(self, count: int, looks: Mapping[str, Look] | None = None) -> None:
        """Let several seconds pass that look alike."""
        for _ in range(count):
            self.second(looks)

    def request(self, **fields: Any) -> PlanRequested:
        """Let the scheduler ask for a plan."""
        values: dict[str, Any] = {"incident": "i1", "version": 1, "attempt": 1, "text": "something is broken"}
        request = PlanRequested(**(values | fields))
        self.say(request)
        return request

    def answer(self, prompt: PlanPrompted, response: str, **fields: Any) -> None:
        """Let the model's worker answer a prompt."""
        self.say(answered(prompt, response, **fields))

    def proposals(self) -> list[PlanProposed]:
        """Return every proposal so far."""
        return [message for message in self.said if isinstance(message, PlanProposed)]

    def prompts(self) -> list[PlanPrompted]:
        """Return every prompt so far."""
        return [message for message in self.said if isinstance(message, PlanPrompted)]

    def proposal(self) -> PlanProposed:
        """Return the only proposal so far."""
        [proposal] = self.proposals()
        return proposal
