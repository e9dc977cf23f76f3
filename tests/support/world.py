"""A world in memory: the platform's port and the fault port over plain values, with a ledger of effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from broker.contracts.inventory import Device, Inventory
from broker.contracts.telemetry import LogLine
from services.platform.fault_port import (
    Commands,
    Consumers,
    Grants,
    Indexes,
    Intruders,
    Lacking,
    Limits,
    LinkFault,
    Messages,
    Names,
    Networks,
    Volumes,
)
from services.platform.port import Drift, Effect, UnknownWorkloadError, Workload


def shop_inventory() -> Inventory:
    """Return a small shop."""

    def device(name: str, kind: str, depends_on: tuple[str, ...] = (), managed: bool = True) -> Device:
        prefix = "catalog:" if kind == "cache" else None
        fields = {"name": name, "kind": kind, "managed": managed, "depends_on": depends_on, "probe": "http"}
        return Device.model_validate(fields | {"host": "127.0.0.1", "port": 1, "cache_prefix": prefix})

    return Inventory(
        devices=(
            device("shop-db", "database"),
            device("shop-cache", "cache"),
            device("catalog", "service", ("shop-db", "shop-cache")),
            device("orders", "service", ("shop-db",)),
            device("loadgen", "traffic", ("orders",), managed=False),
        )
    )


@dataclass
class FakePlatform:
    """Implements `services.platform.port.Platform` over values that a test sets."""

    workloads: dict[str, Workload]
    lines: tuple[LogLine, ...] = ()
    healthy: dict[str, list[bool]] = field(default_factory=dict)
    clock_us: int = 1_000_000
    ledger: list[tuple[str, str, str]] = field(default_factory=list)
    entries: int = 3

    async def list(self) -> tuple[Workload, ...]:
        return tuple(self.workloads.values())

    async def inspect(self, name: str) -> Workload:
        if name not in self.workloads:
            raise UnknownWorkloadError(f"there is no workload {name}")
        return self.workloads[name]

    async def logs(
        self, name: str, *, since_us: int, until_us: int | None = None, limit: int = 5_000
    ) -> tuple[LogLine, ...]:
        return tuple(line for line in self.lines if line.ts.timestamp() * 1e6 >= since_us)[-limit:]

    async def start(self, name: str, *, key: str) -> Effect:
        return self._effect(name, "start", key, state="running")

    async def stop(self, name: str, *, key: str) -> Effect:
        return self._effect(name, "stop", key, state="stopped")

    async def restart(self, name: str, *, key: str) -> Effect:
        return self._effect(name, "restart", key, state="running")

    async def pause(self, name: str, *, key: str) -> Effect:
        return self._effect(name, "pause", key, state="paused")

    async def resume(self, name: str, *, key: str) -> Effect:
        return self._effect(name, "resume", key, state="running")

    async def reconcile(self, name: str, *, key: str) -> Effect:
        before = self.workloads[name].drift
        return replace(self._effect(name, "reconcile", key, state="running", drift=()), before=before)

    async def exec(self, name: str, command: str, args: dict[str, str], *, key: str) -> Effect:
        self.ledger.append((key, name, command))
        return Effect(True, f"{self.entries} entries under {args['prefix']} deleted")

    async def health(self, name: str, timeout_s: float = 2.0) -> tuple[bool, str]:
        answers = self.healthy.get(name, [True])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer, "answers 200" if answer else "answers 503"

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        return tuple(self.ledger)

    def _effect(self, name: str, verb: str, key: str, **changes: object) -> Effect:
        if any(done == key for done, _, _ in self.ledger):
            return Effect(False, "was done before")
        self.ledger.append((key, name, verb))
        self.clock_us += 1_000_000
        workload = replace(self.workloads[name], **changes)  # type: ignore[arg-type]
        self.workloads[name] = replace(workload, started_at_us=self.clock_us, restarts=workload.restarts + 1)
        return Effect(True, f"{verb} took 0.1 s")


def running(name: str, *, drift: tuple[Drift, ...] = (), started_at_us: int = 1) -> Workload:
    """Return a workload that runs."""
    return Workload(name, True, "running", 4_711, started_at_us, 0, drift)


@dataclass
class FakeFaults:
    """Implements `services.platform.fault_port.FaultPort` in memory, with all its parts."""

    down: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    changed: dict[str, dict[str, str]] = field(default_factory=dict)
    links: dict[tuple[str, str], LinkFault] = field(default_factory=dict)
    burning: dict[str, int] = field(default_factory=dict)
    limited: dict[str, Limits] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    given: dict[str, tuple[str, ...]] = field(default_factory=dict)
    foreign: set[tuple[str, str]] = field(default_factory=set)
    """Workload and module of each intruder."""
    revoked: set[str] = field(default_factory=set)
    unindexed: set[str] = field(default_factory=set)
    poisoned: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    """Queues whose consumers are paused."""
    deaf: bool = False
    """A world on which nothing has an effect."""

    @property
    def commands(self) -> Commands | Lacking:
        return self

    @property
    def intruders(self) -> Intruders | Lacking:
        return self

    @property
    def grants(self) -> Grants | Lacking:
        return self

    @property
    def indexes(self) -> Indexes | Lacking:
        return self

    @property
    def messages(self) -> Messages | Lacking:
        return self

    @property
    def consumers(self) -> Consumers | Lacking:
        return self

    @property
    def networks(self) -> Networks | Lacking:
        return self

    @property
    def names(self) -> Names | Lacking:
        return self

    @property
    def volumes(self) -> Volumes | Lacking:
        return self

    async def kill(self, name: str) -> None:
        await self.stop(name)

    async def stop(self, name: str) -> None:
        if not self.deaf:
            self.down.add(name)

    async def start(self, name: str) -> None:
        self.down.discard(name)

    async def freeze(self, name: str) -> None:
        self.frozen.add(name)

    async def thaw(self, name: str) -> None:
        self.frozen.discard(name)

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        self.changed[name] = changes

    async def reset_environment(self, name: str) -> None:
        self.changed.pop(name, None)

    async def environment(self, name: str) -> dict[str, str]:
        return self.changed.get(name, {})

    async def configured(self, name: str) -> dict[str, str]:
        return self.changed.get(name, {})

    async def set_command(self, name: str, command: tuple[str, ...]) -> None:
        self.given[name] = command

    async def reset_command(self, name: str) -> None:
        self.given.pop(name, None)

    async def command(self, name: str) -> tuple[str, ...]:
        return self.given.get(name, ("python", "-m", f"services.shop.{name}"))

    async def intrude(self, name: str, module: str, arguments: tuple[str, ...] = ()) -> None:
        self.foreign.add((name, module))

    async def harmful(self, name: str, module: str) -> int:
        return int((name, module) in self.foreign)

    async def expel(self, name: str, module: str) -> None:
        self.foreign.discard((name, module))

    async def revoke(self, name: str, role: str, privilege: str) -> None:
        self.revoked.add(name)

    async def restore_grants(self, name: str) -> None:
        self.revoked.discard(name)

    async def missing_grants(self, name: str) -> tuple[str, ...]:
        return ("orders on orders may SELECT, not SELECT, INSERT",) if name in self.revoked else ()

    async def drop_index(self, name: str) -> None:
        self.unindexed.add(name)

    async def restore_indexes(self, name: str) -> None:
        self.unindexed.discard(name)

    async def missing_indexes(self, name: str) -> tuple[str, ...]:
        return ("orders_customer_key of orders is missing",) if name in self.unindexed else ()

    async def poison(self, name: str) -> None:
        self.poisoned.add(name)

    async def unreadable(self, name: str) -> tuple[str, ...]:
        return ("message shop.orders.created 7 breaks who reads it",) if name in self.poisoned else ()

    async def set_aside(self, name: str) -> None:
        self.poisoned.discard(name)

    async def pause(self, name: str) -> None:
        self.stuck.add(name)

    async def paused(self, name: str) -> tuple[str, ...]:
        return ("fulfilment is paused until 2100-01-01T00:00:00Z",) if name in self.stuck else ()

    async def resume(self, name: str) -> None:
        self.stuck.discard(name)

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        self.links[source, destination] = fault

    async def link(self, source: str, destination: str) -> LinkFault:
        return self.links.get((source, destination), LinkFault("ok"))

    async def hog(self, name: str, processes: int) -> None:
        self.burning[name] = processes

    async def hogs(self, name: str) -> int:
        return self.burning.get(name, 0)

    async def unhog(self, name: str) -> None:
        self.burning.pop(name, None)

    async def is_frozen(self, name: str) -> bool:
        return name in self.frozen

    async def is_running(self, name: str) -> bool:
        return name not in self.down

    async def set_limits(self, name: str, limits: Limits) -> None:
        self.limited[name] = limits

    async def reset_limits(self, name: str) -> None:
        self.limited.pop(name, None)

    async def limits(self, name: str) -> Limits:
        return self.limited.get(name, Limits())

    async def disconnect(self, name: str) -> None:
        self.off.add(name)

    async def reconnect(self, name: str) -> None:
        self.off.discard(name)

    async def disconnected(self, name: str) -> tuple[str, ...]:
        return ("shop",) if name in self.off else ()

    async def break_names(self, name: str) -> None:
        self.nameless.add(name)

    async def restore_names(self, name: str) -> None:
        self.nameless.discard(name)

    async def names_broken(self, name: str) -> bool:
        return name in self.nameless

    async def fill_volume(self, name: str) -> None:
        self.full.add(name)

    async def free_volume(self, name: str) -> None:
        self.full.discard(name)

    async def filler(self, name: str) -> int:
        return 1 if name in self.full else 0
