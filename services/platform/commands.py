"""The catalogue of commands that may be run inside a workload. What is not here does not exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from broker.contracts.inventory import Probe
from services.platform.port import VerbFailedError

if TYPE_CHECKING:
    import valkey

TIMEOUT_S = 5.0
BATCH = 500


class Server(Protocol):
    """What a command has to know of the workload it is for."""

    @property
    def name(self) -> str: ...

    @property
    def probe(self) -> Probe: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Command:
    """One catalogued command."""

    probe: Probe
    """Only workloads of this kind know it."""
    arguments: dict[str, re.Pattern[str]]
    run: Callable[[Server, dict[str, str]], tuple[bool, str]]
    """Does it, blocking: whether anything changed, and a sentence."""

    def fault(self, server: Server, args: dict[str, str]) -> str | None:
        """Return what is wrong with a call in one sentence, or None."""
        if server.probe != self.probe:
            return f"{server.name} is no {self.probe}"
        if set(args) != set(self.arguments):
            return f"it takes exactly the arguments {', '.join(self.arguments)}"
        for name, pattern in self.arguments.items():
            if not pattern.fullmatch(args[name]):
                return f"argument {name} must match {pattern.pattern}"
        return None


def _flush_prefix(server: Server, args: dict[str, str]) -> tuple[bool, str]:
    import valkey  # here: it costs each agent 70 ms at start-up, and few ever need it

    prefix = args["prefix"]
    try:
        with valkey.Valkey(
            host=server.host, port=server.port, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            count = sum(client.unlink(*keys) for keys in _batches(client, prefix))
    except valkey.ValkeyError as error:
        raise VerbFailedError(f"{server.name} could not delete entries under {prefix!r}: {error}") from error
    return count > 0, f"{count} entries under {prefix!r} deleted"


def _batches(client: valkey.Valkey, prefix: str) -> list[list[bytes]]:
    # The pattern argument admits no glob character, so the prefix matches itself only.
    keys = list(client.scan_iter(match=f"{prefix}*", count=BATCH))
    return [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]


COMMANDS: dict[str, Command] = {
    "flush_prefix": Command("valkey", {"prefix": re.compile(r"[a-z][a-z0-9:_-]{0,40}")}, _flush_prefix),
}
