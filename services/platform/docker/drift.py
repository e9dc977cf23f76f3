"""Differences between a container as it was declared and as it is. Pure; secrets are masked."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from services.platform import differences
from services.platform.differences import UNSET
from services.platform.docker.container import Container, Resources
from services.platform.docker.netfault import NetRule
from services.platform.docker.readings import Process
from services.platform.port import Drift

BY_RECREATION = frozenset({"command", "environment", "image", "limits"})
"""What only another container can bring back."""
NANO = 1_000_000_000
DEFAULT_PERIOD = 100_000


def removed(declared: Container) -> list[Drift]:
    """Name a container that is not there any more."""
    return [Drift("container", declared.name, "there", "removed")]


def of_container(declared: Container, actual: Container) -> list[Drift]:
    """Compare what a container is made from with what it should be made from."""
    return [
        *_image(declared, actual),
        *_command(declared, actual),
        *differences.environment(declared.environment, actual.environment),
        *_limits(declared.resources, actual.resources),
        *_networks(declared, actual),
    ]


def of_links(rules: Iterable[NetRule]) -> list[Drift]:
    """Name the links that are not ok. A broken link is drift of both its ends: whichever end is reconciled heals it."""
    return [Drift("network", rule.link, "ok", differences.describe(rule.fault)) for rule in rules]


def of_processes(foreign: Iterable[Process]) -> list[Drift]:
    """Name the foreign processes inside a container."""
    return [Drift("process", f"pid {item.pid}", "(none)", item.command[:200]) for item in foreign]


def needs_recreation(found: Iterable[Drift]) -> bool:
    """Tell whether only another container can bring these back."""
    return any(item.what in BY_RECREATION for item in found)


def _image(declared: Container, actual: Container) -> list[Drift]:
    if declared.image_id == actual.image_id:
        return []
    return [Drift("image", declared.service, _shown(declared), _shown(actual))]


def _shown(container: Container) -> str:
    return f"{container.image} ({container.image_id.removeprefix('sha256:')[:12]})"


def _command(declared: Container, actual: Container) -> list[Drift]:
    should, does = (*declared.entrypoint, *declared.command), (*actual.entrypoint, *actual.command)
    return [] if should == does else [Drift("command", declared.service, shlex.join(should), shlex.join(does))]


def _limits(declared: Resources, actual: Resources) -> list[Drift]:
    pairs: Mapping[str, tuple[float, float, str]] = {
        "memory": (declared.memory, actual.memory, "bytes"),
        "cpu": (_cores(declared), _cores(actual), "cores"),
        "processes": (max(declared.pids, 0), max(actual.pids, 0), "processes"),
    }
    return [
        Drift("limits", name, _amount(should, unit), _amount(does, unit))
        for name, (should, does, unit) in pairs.items()
        if should != does
    ]


def _cores(resources: Resources) -> float:
    if resources.nano_cpus:
        return resources.nano_cpus / NANO
    return max(resources.cpu_quota, 0) / (resources.cpu_period or DEFAULT_PERIOD)


def _amount(value: float, unit: str) -> str:
    return f"{value:g} {unit}" if unit == "cores" and value else f"{value:.0f} {unit}" if value else UNSET


def _networks(declared: Container, actual: Container) -> list[Drift]:
    should = {item.network: set(item.aliases) for item in declared.networks}
    does = {item.network: set(item.aliases) for item in actual.networks}
    found = [Drift("network", name, "connected", "not connected") for name in should if name not in does]
    found += [Drift("network", name, "not connected", "connected") for name in does if name not in should]
    found += [
        Drift("network", name, f"known as {_names(should[name])}", f"known as {_names(does[name])}")
        for name in should
        if name in does and not should[name] <= does[name]
    ]
    return found


def _names(aliases: set[str]) -> str:
    return ", ".join(sorted(aliases)) or "nothing"
