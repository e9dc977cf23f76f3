"""What the engine says of a container, as values. Pure: the engine's JSON in, frozen values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONE_OFF = "com.docker.compose.oneoff"
CONFIG_HASH = "com.docker.compose.config-hash"
IMAGE = "com.docker.compose.image"
"""Identity of the image that compose made the container from. A recreation through the API keeps it."""
KIND = "triage.kind"
ROLE = "triage.role"
TOOL = "triage.tool"
"""What a sidecar of ours is there for; only sidecars carry it."""
TOOL_PROJECT = "triage.tool.project"
TOOL_TARGET = "triage.tool.target"
REPLACED = "-replaced"
"""End of the name of a container that is being replaced. One that is left over tells of a crash in between."""

Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container may use at most, in the engine's own units; 0: no limit (`memory_swap` -1: no limit)."""

    memory: int = 0
    """Bytes."""
    memory_swap: int = 0
    """Bytes of memory and swap together."""
    nano_cpus: int = 0
    """Billionths of a core."""
    cpu_quota: int = 0
    """Microseconds of processor time in each `cpu_period`."""
    cpu_period: int = 0
    pids: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place on one network."""

    network: str
    aliases: tuple[str, ...] = ()
    address: str = ""
    """IPv4 address; empty while it does not run."""
    fixed: str = ""
    """The IPv4 address it asked for, if any."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container as it is right now."""

    id: str
    name: str
    project: str
    service: str
    number: int
    config_hash: str
    labels: Mapping[str, str]
    image: str
    """The reference it was made from."""
    image_id: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    resources: Resources
    networks: tuple[Endpoint, ...]
    status: Status
    exit_code: int
    oom_killed: bool
    pid: int | None
    started_at_us: int | None
    """Start of the running process, microseconds since the epoch; None when it does not run."""
    restart_count: int
    """Restarts by the engine's own restart policy."""
    health: str | None
    """The engine's word on its health check: starting, healthy, unhealthy; None if it has none."""
    health_command: tuple[str, ...]
    """What the engine runs inside to check it; empty if nothing."""
    created_at: str
    raw: Mapping[str, Any] = field(compare=False, repr=False)
    """The engine's whole answer."""

    @property
    def running(self) -> bool:
        """True if it has processes, frozen or not."""
        return self.status in ("running", "paused")

    @property
    def kind(self) -> str | None:
        """Kind of device, for a workload; else None."""
        return self.labels.get(KIND)

    @property
    def role(self) -> str | None:
        """Role of the control plane, for one of its containers; else None."""
        return self.labels.get(ROLE)

    @property
    def managed(self) -> bool:
        """True if agents may change it."""
        return self.labels.get("triage.managed", "false") == "true"

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Services it declares to depend on."""
        return tuple(name.strip() for name in self.labels.get("triage.depends_on", "").split(",") if name.strip())

    @property
    def what(self) -> str:
        """Its name for people."""
        return f"container {self.name}"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What it takes to create a container: `config` and `host` are the engine's own `Config` and `HostConfig`."""

    name: str
    config: Mapping[str, Any]
    host: Mapping[str, Any]
    networks: tuple[Endpoint, ...]

    def with_environment(self, environment: Mapping[str, str]) -> Blueprint:
        """Return a copy with exactly this environment."""
        return replace(self, config={**self.config, "Env": [f"{k}={v}" for k, v in environment.items()]})

    def with_image(self, image: str) -> Blueprint:
        """Return a copy made from another image."""
        return replace(self, config={**self.config, "Image": image})

    def with_resources(self, resources: Resources) -> Blueprint:
        """Return a copy with other limits."""
        return replace(self, host={**self.host, **host_fields(resources)})

    def with_volumes_of(self, other: Blueprint) -> Blueprint:
        """Return a copy that uses the volumes of another blueprint of the same container: anonymous volumes have
        names of their own, and data must outlive a recreation."""
        return replace(self, host={**self.host, "Binds": other.host.get("Binds"), "Mounts": other.host.get("Mounts")})

    @property
    def body(self) -> dict[str, Any]:
        """What `POST /containers/create` takes."""
        endpoints = {
            item.network: {
                "Aliases": list(item.aliases),
                **({"IPAMConfig": {"IPv4Address": item.fixed}} if item.fixed else {}),
            }
            for item in self.networks
        }
        return {**self.config, "HostConfig": dict(self.host), "NetworkingConfig": {"EndpointsConfig": endpoints}}


def container_of(raw: Mapping[str, Any]) -> Container:
    """Read the engine's answer to an inspection."""
    config, state, host = raw["Config"], raw["State"], raw["HostConfig"]
    labels: dict[str, str] = config.get("Labels") or {}
    running = state["Status"] in ("running", "paused") and bool(state.get("Pid"))
    return Container(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        project=labels.get(PROJECT, ""),
        service=labels.get(SERVICE, ""),
        number=whole_number(labels.get(NUMBER, ""), 1),
        config_hash=labels.get(CONFIG_HASH, ""),
        labels=labels,
        image=config.get("Image") or raw["Image"],
        image_id=raw["Image"],
        entrypoint=_words(config.get("Entrypoint")),
        command=_words(config.get("Cmd")),
        environment=variables(config.get("Env")),
        resources=resources_of(host),
        networks=tuple(_endpoints(raw)),
        status=state["Status"],
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        pid=int(state["Pid"]) if running else None,
        started_at_us=microseconds(state["StartedAt"]) if running else None,
        restart_count=int(raw.get("RestartCount") or 0),
        health=(state.get("Health") or {}).get("Status"),
        health_command=health_command(config.get("Healthcheck")),
        created_at=raw.get("Created", ""),
        raw=raw,
    )


def blueprint_of(raw: Mapping[str, Any]) -> Blueprint:
    """Return what it takes to make the same container again: its own volumes, its networks and aliases, its limits."""
    config, host = dict(raw["Config"]), dict(raw["HostConfig"])
    if config.get("Hostname") == raw["Id"][:12]:  # the engine's own choice, not a declared one
        config.pop("Hostname")
    config.pop("MacAddress", None)
    bound = {bind.split(":")[1] for bind in host.get("Binds") or ()}
    bound |= {mount["Target"] for mount in host.get("Mounts") or ()}
    anonymous = [
        f"{mount['Name']}:{mount['Destination']}"
        for mount in raw.get("Mounts") or ()
        if mount["Type"] == "volume" and mount["Destination"] not in bound
    ]
    names = {mount["Destination"]: mount["Name"] for mount in raw.get("Mounts") or () if mount["Type"] == "volume"}
    host["Binds"] = [*(host.get("Binds") or ()), *anonymous] or None
    host["Mounts"] = [
        {**mount, "Source": names[mount["Target"]]} if not mount.get("Source") and mount["Target"] in names else mount
        for mount in host.get("Mounts") or ()
    ] or None
    return Blueprint(raw["Name"].lstrip("/"), config, host, tuple(replace(e, address="") for e in _endpoints(raw)))


def is_of_interest(row: Mapping[str, Any]) -> bool:
    """Tell by a row of the engine's list whether a container counts: not one of `docker compose run`, and none that is
    being replaced."""
    replaced = any(name.endswith(REPLACED) for name in row.get("Names") or ())
    return not replaced and (row.get("Labels") or {}).get(ONE_OFF, "False") != "True"


def newest(containers: Iterable[Container]) -> tuple[Container, ...]:
    """Return the newest container of each service and number, in that order: while compose replaces one, there are two
    for a moment."""
    found = {(item.service, item.number): item for item in sorted(containers, key=lambda item: item.created_at)}
    return tuple(found[key] for key in sorted(found))


def resources_of(host: Mapping[str, Any]) -> Resources:
    """Read the limits out of a `HostConfig`."""
    return Resources(
        memory=int(host.get("Memory") or 0),
        memory_swap=int(host.get("MemorySwap") or 0),
        nano_cpus=int(host.get("NanoCpus") or 0),
        cpu_quota=int(host.get("CpuQuota") or 0),
        cpu_period=int(host.get("CpuPeriod") or 0),
        pids=int(host.get("PidsLimit") or 0),
    )


def host_fields(resources: Resources) -> dict[str, int]:
    """Return limits in the engine's words."""
    return {
        "Memory": resources.memory,
        "MemorySwap": resources.memory_swap,
        "NanoCpus": resources.nano_cpus,
        "CpuQuota": resources.cpu_quota,
        "CpuPeriod": resources.cpu_period,
        "PidsLimit": resources.pids,
    }


def variables(lines: Sequence[str] | None) -> dict[str, str]:
    """Read `NAME=value` lines; a name without a value has the empty one."""
    return {name: value for name, _, value in (line.partition("=") for line in lines or ())}


def health_command(check: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the command line that the engine runs for a health check."""
    test = list((check or {}).get("Test") or ())
    if test[:1] == ["CMD-SHELL"]:
        return ("/bin/sh", "-c", *test[1:])
    return tuple(test[1:]) if test[:1] == ["CMD"] else ()


def whole_number(text: str, otherwise: int) -> int:
    """Read the number that a label carries; what is none stands for `otherwise`."""
    try:
        return int(text)
    except ValueError:
        return otherwise


def microseconds(stamp: str) -> int:
    """Read the engine's time (RFC 3339 with up to nine decimals), microseconds since the epoch."""
    head, _, tail = stamp.rstrip("Z").partition(".")
    whole = datetime.fromisoformat(head).replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1_000_000 + int(f"{tail[:6]:0<6}")


def _endpoints(raw: Mapping[str, Any]) -> list[Endpoint]:
    networks: Mapping[str, Any] = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    return [
        Endpoint(
            name,
            tuple(alias for alias in place.get("Aliases") or () if alias != raw["Id"][:12]),
            place.get("IPAddress") or "",
            (place.get("IPAMConfig") or {}).get("IPv4Address") or "",
        )
        for name, place in networks.items()
        if name not in ("host", "none")
    ]


def _words(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())
