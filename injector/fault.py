"""What a fault is: how to break it, how to see that it is broken, how to mend it.

A fault breaks real things; the errors that follow are those of the real software. `evidence` looks at the world, not
at the injector's memory: it is half of the oracle that judges a repair (docs/faults.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from broker.contracts.base import Scalar
from broker.contracts.inventory import Inventory
from broker.contracts.plan import FaultClass
from services.platform.fault_port import FaultPort

Platform = Literal["embedded", "docker"]
EVERYWHERE: tuple[Platform, ...] = ("embedded", "docker")
CONTAINERS: tuple[Platform, ...] = ("docker",)
PROCESSES: tuple[Platform, ...] = ("embedded",)
Bounds = tuple[float, float, float]
"""Of a numeric argument: default, least, greatest."""


@dataclass(frozen=True, slots=True)
class World:
    """What faults work on."""

    port: FaultPort
    inventory: Inventory
    platform: Platform = "embedded"


@dataclass(frozen=True, slots=True)
class Spec:
    """One fault to inject."""

    fault: str
    target: str
    args: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the world shows."""

    present: bool
    detail: str
    """One sentence that says what was seen, and is as true where the fault is there as where it is gone."""


class Fault(ABC):
    """One kind of fault. All three calls are idempotent; `heal` also mends a half-made injection."""

    name: str
    summary: str
    targets: tuple[str, ...]
    """Names of the workloads (or `source--destination` links) it applies to; the first is the default."""
    arguments: Mapping[str, Bounds] = {}
    platforms: tuple[Platform, ...] = EVERYWHERE
    """Where it can be made."""
    fault_class: FaultClass
    """What a right diagnosis calls it."""

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        """Return the device and fault class a right diagnosis names."""
        return spec.target, self.fault_class

    @abstractmethod
    async def inject(self, world: World, spec: Spec) -> None: ...

    @abstractmethod
    async def evidence(self, world: World, spec: Spec) -> Evidence: ...

    @abstractmethod
    async def heal(self, world: World, spec: Spec) -> None: ...

    def number(self, spec: Spec, name: str) -> float:
        """Return a numeric argument of a spec, or its default."""
        return float(spec.args.get(name, self.arguments[name][0]))
