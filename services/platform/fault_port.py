"""What only the injector may do to a world. No agent imports this.

Some ways to break a world exist on one platform and not on another. Each of those is a part of the port that a world
either has or says why not (`Lacking`); `here` is where the lack of one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from services.platform.port import NotOnThisPlatformError

PartT = TypeVar("PartT")


@dataclass(frozen=True, slots=True)
class LinkFault:
    """What a link does to traffic from `source` to `destination`."""

    mode: Literal["ok", "partition", "refuse", "latency", "drop", "throttle"]
    latency_ms: float = 0.0
    """How late what is sent arrives, each way; the handshake of a new connection is not delayed. Milliseconds."""
    drop_ratio: float = 0.0
    """Share of new connections that are reset, 0..1."""
    seed: int = 0
    """Chooses which connections are dropped where the world draws them itself; a kernel draws its own."""
    rate_kbit: float = 0.0
    """For throttle: what passes from source to destination at most, kilobits per second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a workload may use at most; None: no limit."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    open_files: int | None = None
    """Descriptors that its process may hold at once."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Stands for what a kind of world has no way to do."""

    platform: str
    why: str
    instead: str
    """The platform that has one."""

    def refusal(self) -> NotOnThisPlatformError:
        """Return the error for who asks all the same."""
        return NotOnThisPlatformError(
            f"the {self.platform} platform cannot do this: {self.why}; use the {self.instead} platform"
        )


def here(part: PartT | Lacking) -> PartT:
    """Return a part of the port.

    Raises:
        NotOnThisPlatformError: this kind of world lacks it; nothing was touched.
    """
    if isinstance(part, Lacking):
        raise part.refusal()
    return part


class Commands(Protocol):
    """Other command lines than the declared ones."""

    async def set_command(self, name: str, command: tuple[str, ...]) -> None:
        """Restart the workload with another command line, as a bad deployment would. That it ends at once is no
        failure of this call."""
        ...

    async def reset_command(self, name: str) -> None: ...

    async def command(self, name: str) -> tuple[str, ...]:
        """Return the command line that the workload was given last, whether or not it runs."""
        ...


class Intruders(Protocol):
    """Foreign programs of the injector's."""

    async def intrude(self, name: str, module: str, arguments: tuple[str, ...] = ()) -> None:
        """Run a Python module as a foreign process in the workload's scope, which is told how to reach the workload
        (`injector/intruders/`). At most one of a module."""
        ...

    async def harmful(self, name: str, module: str) -> int:
        """Return how many of them run and say that they do their harm."""
        ...

    async def expel(self, name: str, module: str) -> None:
        """End them."""
        ...


class Grants(Protocol):
    """Privileges of a database's roles."""

    async def revoke(self, name: str, role: str, privilege: str) -> None:
        """Take a declared privilege away from a database's role, on every table where it is declared."""
        ...

    async def restore_grants(self, name: str) -> None:
        """Give every role what is declared."""
        ...

    async def missing_grants(self, name: str) -> tuple[str, ...]:
        """Return a sentence for every role that may do less than is declared."""
        ...


class Indexes(Protocol):
    """Indexes of a database."""

    async def drop_index(self, name: str) -> None:
        """Take the database's first declared index away, let its table grow by an import, and leave it so."""
        ...

    async def restore_indexes(self, name: str) -> None:
        """Make the declared indexes again, and take what was imported away."""
        ...

    async def missing_indexes(self, name: str) -> tuple[str, ...]:
        """Return a sentence for every declared index that is not there."""
        ...


class Messages(Protocol):
    """Messages in a queue."""

    async def poison(self, name: str) -> None:
        """Put one message into the queue that its consumer's decoder breaks on; at most one."""
        ...

    async def unreadable(self, name: str) -> tuple[str, ...]:
        """Return a sentence for every such message that its consumer is not done with."""
        ...

    async def set_aside(self, name: str) -> None:
        """Move them to where nobody consumes them."""
        ...


class Consumers(Protocol):
    """Who consumes from a queue."""

    async def pause(self, name: str) -> None:
        """Let the queue give its declared consumers nothing, for as long as nobody resumes them."""
        ...

    async def paused(self, name: str) -> tuple[str, ...]:
        """Return a sentence for every declared consumer that is paused."""
        ...

    async def resume(self, name: str) -> None:
        """Let the queue serve them as declared."""
        ...


class Networks(Protocol):
    """A workload's place on its networks."""

    async def disconnect(self, name: str) -> None:
        """Take the workload off all its networks while it runs."""
        ...

    async def reconnect(self, name: str) -> None:
        """Put it back on every declared network, under its declared names."""
        ...

    async def disconnected(self, name: str) -> tuple[str, ...]:
        """Return the declared networks it is not on."""
        ...


class Names(Protocol):
    """A workload's name server."""

    async def break_names(self, name: str) -> None:
        """Let nothing the workload asks its name server arrive there."""
        ...

    async def restore_names(self, name: str) -> None: ...

    async def names_broken(self, name: str) -> bool: ...


class Volumes(Protocol):
    """A workload's small volume."""

    async def fill_volume(self, name: str) -> None:
        """Fill the workload's small volume with a foreign file until not a byte is left."""
        ...

    async def free_volume(self, name: str) -> None:
        """Delete that file."""
        ...

    async def filler(self, name: str) -> int:
        """Return the size of that file, bytes; 0 if there is none."""
        ...


class FaultPort(Protocol):
    """Breaking things for real. Every call is idempotent; state is kept by the world, not by the caller.

    What stands here as a call exists in every world, but for limits and modes of a link that one of them cannot
    enforce: those raise `NotOnThisPlatformError` and have touched nothing.
    """

    @property
    def commands(self) -> Commands | Lacking: ...

    @property
    def intruders(self) -> Intruders | Lacking: ...

    @property
    def grants(self) -> Grants | Lacking: ...

    @property
    def indexes(self) -> Indexes | Lacking: ...

    @property
    def messages(self) -> Messages | Lacking: ...

    @property
    def consumers(self) -> Consumers | Lacking: ...

    @property
    def networks(self) -> Networks | Lacking: ...

    @property
    def names(self) -> Names | Lacking: ...

    @property
    def volumes(self) -> Volumes | Lacking: ...

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

    async def configured(self, name: str) -> dict[str, str]:
        """Return the environment that the workload was given last, whether or not it runs."""
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

    async def set_limits(self, name: str, limits: Limits) -> None:
        """Give the workload other limits; fields that are None stay as they are. Another memory limit starts it anew,
        so that it is held to it from its first byte on, and may be killed by the kernel for it at once."""
        ...

    async def reset_limits(self, name: str) -> None:
        """Give it the declared limits back, and start it if it does not run."""
        ...

    async def limits(self, name: str) -> Limits:
        """Return the limits it really has."""
        ...
