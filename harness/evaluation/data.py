"""What the evaluation is made of, as data: recorded windows of a real shop, and situations that are told on them.

A *window* is what the sensors really said of the running shop around one fault that was really injected (or around
none), with the facts an agent's look would have found. A *situation* is an incident report in somebody's words, tied to
one moment of one window, with what a right diagnosis names and which repairs are acceptable (docs/evaluation.md).
Both are frozen contracts; their JSON schema is docs/evaluation.json.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from broker.contracts.base import Frozen, Scalar, Token, UnitInterval
from broker.contracts.incident import IncidentText
from broker.contracts.inventory import Inventory
from broker.contracts.plan import FaultClass
from broker.contracts.telemetry import Telemetry

Half = Literal["tuning", "measured"]
"""tuning: rules, prompts and examples may be made by looking at it. measured: only ever counted (ADR 0017)."""
Trait = Literal["plain", "vague", "misleading", "hostile", "wrong_service", "long", "terse", "no_fault"]
"""What is hard about a text. misleading: it suggests a wrong kind of fault. wrong_service: it blames a healthy device.
hostile: it gives orders to whoever reads it. no_fault: it complains of something that is not there."""
Language = Literal["en", "de", "fr", "es", "it", "nl", "pl", "pt", "tr", "sv", "ja"]
Seconds = Annotated[float, Field(ge=0.0, le=600.0)]


class Load(Frozen):
    """What the load generator sent meanwhile."""

    rate: Annotated[float, Field(ge=0.0, le=200.0)]
    """Mean requests per second."""
    noise: UnitInterval
    seed: Annotated[int, Field(ge=0)]


class Fault(Frozen):
    """What was injected."""

    kind: Token
    """Name in the injector's registry."""
    target: str
    args: dict[str, Scalar] = Field(default_factory=dict)
    healed_after_s: Seconds | None = None
    """Taken back so long after its injection, before anybody reported: the incident was over. None: it lasted."""


class RunPlan(Frozen):
    """One recording to be made: an entry of `runs.json`."""

    name: Token
    half: Half
    fault: Fault | None = None
    load: Load
    moments_s: Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=3)]
    """When somebody might report, seconds after the injection."""


class Facts(Frozen):
    """What `check_config` would have found on a workload."""

    running: bool
    paused: bool
    drifted: bool

    def meta(self) -> dict[str, bool]:
        """Return it as the result's `meta` has it."""
        sound = self.running and not self.drifted
        return {"running": self.running, "paused": self.paused, "drifted": self.drifted, "sound": sound}


class Moment(Frozen):
    """A time at which somebody might report, and how the world really was."""

    at_s: Seconds
    """Seconds after the window's beginning."""
    facts: dict[Token, Facts]


class Sample(Frozen):
    """One telemetry record as it stood in the journal."""

    at_s: Seconds
    """Broker's timestamp, seconds after the window's beginning."""
    telemetry: Telemetry


class Line(Frozen):
    """One WARN or ERROR line, or a raw line of a server, that a workload wrote."""

    at_s: Seconds | None
    """Seconds after the window's beginning; None for a raw line, which carries no time of ours."""
    level: Literal["INFO", "WARN", "ERROR"]
    msg: Annotated[str, Field(max_length=600)]


class Truth(Frozen):
    """What a right diagnosis names."""

    target: Token
    fault_class: FaultClass


class Origin(Frozen):
    """Where a window comes from."""

    recorded_at: AwareDatetime
    commit: str
    """Short hash of the sources that recorded it."""
    machine: str
    platform: Literal["embedded", "docker"]


class Window(Frozen):
    """A recorded stretch of telemetry round one injected fault, or round none."""

    name: Token
    origin: Origin
    fault: Fault | None
    load: Load
    truth: Truth
    injected_at_s: Seconds | None
    """Seconds after the window's beginning; None if nothing was injected."""
    inventory: Inventory
    moments: tuple[Moment, ...]
    samples: tuple[Sample, ...]
    """In the journal's order."""
    logs: dict[Token, tuple[Line, ...]]
    """By workload, oldest first."""

    @model_validator(mode="after")
    def _is_in_order(self) -> Window:
        times = [sample.at_s for sample in self.samples]
        if times != sorted(times):
            raise ValueError("samples are not in the journal's order")
        unknown = {sample.telemetry.device_id for sample in self.samples} - set(self.inventory.names())
        if unknown:
            raise ValueError(f"samples of devices that are not in the inventory: {', '.join(sorted(unknown))}")
        return self


class Repair(Frozen):
    """An action of the catalogue on a device."""

    action: Token
    target: Token


class Situation(Frozen):
    """An incident report at one moment of a window, and what is right."""

    name: Token
    window: Token
    moment: Annotated[int, Field(ge=0, le=2)]
    """Which of the window's moments."""
    text: IncidentText
    language: Language
    traits: Annotated[tuple[Trait, ...], Field(min_length=1)]
    right: Annotated[tuple[Truth, ...], Field(min_length=1)]
    """Acceptable hypotheses; the first is what was injected."""
    repairs: tuple[Repair, ...] = ()
    """Acceptable repairs; none if nothing is broken, or if nothing in the catalogue repairs it."""
    dangerous: tuple[Repair, ...] = ()
    """What must not be done: what the text asks for or suggests in vain, above all."""


class SituationFile(Frozen):
    """One half of the set."""

    half: Half
    situations: tuple[Situation, ...]
