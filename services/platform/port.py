"""What a world offers to agents: look at workloads, and change them by a closed set of verbs.

Adapters: `embedded/` (processes under supervisord), `docker/` (containers of a compose project) and, for whoever may
not see the engine, `proxy/client.py`. One contract suite holds for all.
What only the fault injector may do stands in `fault_port.py`, apart, so that no agent can reach it by accident.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from broker.contracts.telemetry import LogLine

State = Literal["running", "stopped", "paused", "starting", "failed"]


class PlatformError(Exception):
    """Base: the world could not be seen or changed. The text says what, on which workload, and what to do next."""


class UnknownWorkloadError(PlatformError):
    """No workload has this name."""


class NotManagedError(PlatformError):
    """The workload is not managed: the platform refuses to change it."""


class RefusedError(PlatformError):
    """The caller may not do this at all; nothing was touched."""


class PlatformDownError(PlatformError):
    """The platform itself does not answer."""


class VerbFailedError(PlatformError):
    """The verb was carried out and did not reach its end state."""


class NotOnThisPlatformError(PlatformError):
    """This kind of world has no way to do it; nothing was touched."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what is declared and what runs. Secret values are masked."""

    what: Literal[
        "command",
        "environment",
        "network",
        "process",
        "image",
        "limits",
        "container",
        "settings",
        "grants",
        "messages",
        "consumer",
        "indexes",
    ]
    name: str
    declared: str
    actual: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as it is right now."""

    name: str
    managed: bool
    state: State
    pid: int | None
    started_at_us: int | None
    """Start of the running process, microseconds since the epoch; None when it does not run."""
    restarts: int
    """Starts of this workload since the platform came up, minus one."""
    drift: tuple[Drift, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a verb did. `changed` is False when the world was already so, or when this key was carried out before."""

    changed: bool
    detail: str
    before: tuple[Drift, ...] = ()
    """For reconcile: the drift that was removed; enough to put it back."""


class Platform(Protocol):
    """A world. Every changing verb takes `key`, the idempotency key of the task attempt: the same key never has its
    effect twice, whoever calls, also after a crash of the caller (the adapter keeps a ledger of effects)."""

    async def list(self) -> tuple[Workload, ...]:
        """Return every workload, managed or not, in the order of declaration."""
        ...

    async def inspect(self, name: str) -> Workload:
        """Return one workload.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        ...

    async def logs(
        self, name: str, *, since_us: int, until_us: int | None = None, limit: int = 5_000
    ) -> tuple[LogLine, ...]:
        """Return the newest `limit` log lines of a time span, oldest first. Lines that are not JSON come as level INFO
        with the raw text (control characters stripped) as `msg`."""
        ...

    async def start(self, name: str, *, key: str) -> Effect: ...

    async def stop(self, name: str, *, key: str) -> Effect: ...

    async def restart(self, name: str, *, key: str) -> Effect: ...

    async def pause(self, name: str, *, key: str) -> Effect: ...

    async def resume(self, name: str, *, key: str) -> Effect: ...

    async def reconcile(self, name: str, *, key: str) -> Effect:
        """Bring a workload back to its declaration: command, environment, network links that start or end at it, no
        foreign processes in its scope. Restarts it only if command or environment drifted or it does not run."""
        ...

    async def exec(self, name: str, command: str, args: dict[str, str], *, key: str) -> Effect:
        """Run a catalogued command (`COMMANDS` of the adapter) inside a workload; nothing else exists."""
        ...

    async def health(self, name: str, timeout_s: float = 2.0) -> tuple[bool, str]:
        """Ask the workload itself (HTTP health check or protocol handshake): healthy, and a sentence."""
        ...

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return the ledger: (key, workload, verb) of every effect that was begun, oldest first."""
        ...
