"""What only the injector may do to a world. No agent imports this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class LinkFault:
    """What a link does to traffic from `source` to `destination`."""

    mode: Literal["ok", "partition", "refuse", "latency", "drop"]
    latency_ms: float = 0.0
    drop_ratio: float = 0.0
    """Share of new connections that are reset, 0..1."""
    seed: int = 0


class FaultPort(Protocol):
    """Breaking things for real. Every call is idempotent; state is kept by the world, not by the caller."""

    async def kill(self, name: str) -> None:
        """SIGKILL the workload so that it stays down (the process manager does not bring it back)."""
        ...

    async def stop(self, name: str) -> None: ...

    async def start(self, name: str) -> None: ...

    async def freeze(self, name: str) -> None:
        """SIGSTOP every process of the workload."""
        ...

    async def thaw(self, name: str) -> None: ...

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        """Restart the workload with changed environment variables: configuration drift."""
        ...

    async def reset_environment(self, name: str) -> None: ...

    async def environment(self, name: str) -> dict[str, str]:
        """Return the environment the running process really has."""
        ...

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None: ...

    async def link(self, source: str, destination: str) -> LinkFault: ...

    async def hog(self, name: str, processes: int) -> None:
        """Start CPU-burning processes in the workload's scope."""
        ...

    async def hogs(self, name: str) -> int:
        """Return how many such processes run."""
        ...

    async def unhog(self, name: str) -> None: ...

    async def is_frozen(self, name: str) -> bool: ...

    async def is_running(self, name: str) -> bool: ...
