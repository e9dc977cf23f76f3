"""Sidecars: short-lived containers of the tool image that share a namespace with a container. Pure: what to ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.platform.docker.container import TOOL, TOOL_PROJECT, TOOL_TARGET, Container

Namespace = Literal["network", "pid"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A sidecar of ours that stays."""

    id: str
    purpose: str
    target: str
    """Container id of the one whose namespace it shares."""
    running: bool


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar is to do, and what it may."""

    image: str
    command: Sequence[str]
    purpose: str = "once"
    caps: Sequence[str] = ()
    """The only capabilities it has."""
    namespace: Namespace = "network"
    volumes: bool = False
    """Whether it has the container's volumes, too."""
    user: str = "0"

    def body(self, container: Container, *, stays: bool) -> dict[str, Any]:
        """Return what `POST /containers/create` takes.

        Args:
            stays: it goes on by itself, and the engine removes it when it ends.
        """
        host: dict[str, Any] = {
            "AutoRemove": stays,
            "CapDrop": ["ALL"],
            "CapAdd": list(self.caps),
            "SecurityOpt": ["no-new-privileges:true"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Init": self.namespace == "network",
            "NetworkMode": f"container:{container.id}" if self.namespace == "network" else "none",
            "PidMode": f"container:{container.id}" if self.namespace == "pid" else "",
            "VolumesFrom": [container.id] if self.volumes else None,
        }
        labels = {TOOL: self.purpose, TOOL_PROJECT: container.project, TOOL_TARGET: container.id}
        return {
            "Image": self.image,
            "Entrypoint": [],
            "Cmd": list(self.command),
            "User": self.user,
            "Labels": labels,
            "HostConfig": host,
        }


def tool_of(row: Mapping[str, Any]) -> Tool:
    """Read a sidecar from the engine's list."""
    return Tool(row["Id"], row["Labels"][TOOL], row["Labels"][TOOL_TARGET], row["State"] == "running")
