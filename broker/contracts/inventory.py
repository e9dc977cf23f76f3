"""What exists and how it should be: devices, their dependencies, and what users were promised."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from broker.contracts.base import Frozen, Token, UnitInterval

DeviceKind = Literal["service", "database", "cache", "queue", "traffic"]
Probe = Literal["http", "postgres", "valkey", "nats", "traffic"]


class Device(Frozen):
    """One workload, or the traffic of the users (`kind` traffic)."""

    name: Token
    kind: DeviceKind
    managed: bool
    """Only managed workloads may be changed by an agent."""
    depends_on: tuple[Token, ...] = ()
    probe: Probe
    host: str
    port: int
    cache_prefix: str | None = None
    """For a cache: prefix of the entries that may be deleted at any time."""


class Objective(Frozen):
    """The service level objective of the users' traffic, judged over a sliding window."""

    success_ratio: UnitInterval = 0.99
    latency_ms: Annotated[float, Field(gt=0)] = 1_000.0
    """Bound of the 95th percentile, milliseconds."""
    window_s: Annotated[int, Field(ge=1)] = 5


class Inventory(Frozen):
    """All devices by name. The traffic device is the one that carries the objective."""

    devices: tuple[Device, ...]
    objective: Objective = Objective()

    @model_validator(mode="after")
    def _dependencies_exist(self) -> Inventory:
        names = [device.name for device in self.devices]
        if len(set(names)) != len(names):
            raise ValueError("two devices have the same name")
        for device in self.devices:
            missing = set(device.depends_on) - set(names)
            if missing:
                raise ValueError(f"{device.name} depends on unknown devices: {', '.join(sorted(missing))}")
        return self

    @cached_property
    def by_name(self) -> dict[str, Device]:
        """Return every device by its name, in the order of declaration."""
        return {device.name: device for device in self.devices}

    def get(self, name: str) -> Device | None:
        """Return the device of that name, or None."""
        return self.by_name.get(name)

    def names(self) -> tuple[str, ...]:
        """Return all names in the order of declaration."""
        return tuple(device.name for device in self.devices)
