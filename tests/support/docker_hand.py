"""A small project of containers, and what somebody does to it by hand."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.container import Container
from services.platform.port import Drift
from tests.support.docker_world import compose, small_world
from tests.support.embedded_world import free_ports

MIB = 2**20


@dataclass(frozen=True)
class Hand:
    """The project under test, and what somebody does to it by hand."""

    name: str
    file: dict[str, Any]
    store: Path

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def of(self, service: str, number: int = 1) -> str:
        return f"{self.name}-{service}-{number}"

    def up(self) -> None:
        compose(self.name, "up", "-d", "--force-recreate", "-t", "1", file=self.file)


def small_project() -> dict[str, Any]:
    """Return the compose file of a world with all that only containers have."""
    [port] = free_ports(1)
    file = small_world(port)
    services = file["services"]
    services["web"] |= {
        "networks": {"shop": {"aliases": ["front"]}, "edge": {}},
        "mem_limit": 64 * MIB,
        "volumes": ["/data"],
        "healthcheck": {"test": ["CMD-SHELL", "sleep 0.2; exit 0"], "interval": "1s"},
    }
    services["twin"] = {**services["store"], "scale": 2}
    services["twin"]["labels"] = {**services["store"]["labels"], "triage.order": "5"}
    services["agent"] = {
        "image": services["store"]["image"],
        "init": True,
        "command": ["sleep", "inf"],
        "labels": {"triage.role": "log"},
        "networks": ["shop"],
        "restart": "unless-stopped",
    }
    file["networks"]["edge"] = {"internal": True}
    return file


async def one(world: DockerPlatform, service: str) -> Container:
    """Return the only container of a service."""
    [found] = await world.containers(service)
    return found


def found(drift: tuple[Drift, ...]) -> set[tuple[str, str]]:
    """Return what of which container drifted."""
    return {(item.what, item.name) for item in drift}
