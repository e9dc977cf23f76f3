"""A small world of containers for the contract suite: a compose project of its own, real engine, a real Valkey."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.engine import Engine
from services.platform.docker.faults import DockerFaults
from services.platform.port import Platform, PlatformError
from services.platform.proxy.client import RemotePlatform
from services.platform.proxy.fault_client import RemoteFaults
from services.platform.proxy.policy import CLIENTS
from tests.support.embedded_world import WORKLOAD, WorldUnderTest, free_ports
from tests.support.waiting import eventually

TOOL_IMAGE = os.environ.get("TRIAGE_TOOL_IMAGE", "agentic-triage/tool:dev")
PYTHON, VALKEY = "python:3.13-slim", "valkey/valkey:8"
PORT = 8080
SKIP = "no Docker engine with the images of `make images`: nothing of containers was tested"


@cache
def missing() -> str | None:
    """Return in one sentence why no containers can be made here, or None."""

    async def look() -> str | None:
        engine = Engine("nothing")
        try:
            await engine.check()
            absent = [name for name in (PYTHON, VALKEY, TOOL_IMAGE) if await engine.image_id(name) is None]
            return f"{SKIP} ({', '.join(absent)} missing)" if absent else None
        except PlatformError as error:
            return f"{SKIP} ({error})"
        finally:
            engine.close()

    if shutil.which("docker") is None:
        return f"{SKIP} (there is no docker command)"
    return asyncio.run(look())


def docker(*arguments: str, timeout_s: float = 60.0) -> str:
    """Run the docker client; returns its output.

    Raises:
        subprocess.CalledProcessError: it failed; its words stand in `stderr`.
    """
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=True)
    return done.stdout.strip()


def compose(project: str, *arguments: str, file: dict[str, Any] | None = None) -> str:
    """Run `docker compose` on a project; returns its standard output.

    Args:
        file: the compose file's content.
    """
    given = () if file is None else ("-f", "-")
    done = subprocess.run(
        ["docker", "compose", "-p", project, *given, *arguments],
        input=None if file is None else json.dumps(file),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def small_world(cache_port: int) -> dict[str, Any]:
    """Return the compose file: `web` depends on `store`, `users` is not managed."""
    script = WORKLOAD.replace('"127.0.0.1"', '"0.0.0.0"').replace("$", "$$")

    def http(name: str, order: int, extra: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
        return {
            "image": PYTHON,
            "init": True,
            "command": ["python", "-I", "-S", "-c", script],
            "environment": {"NAME": name, "PORT": str(PORT), **(extra or {})},
            "labels": _labels("service", "http", PORT, order, **labels),
            "networks": ["shop"],
        }

    return {
        "services": {
            "web": http("web", 1, {"SETTING": "right", "API_PASSWORD": "hush-1"}, depends_on="store"),
            "store": http("store", 2),
            "cache": {
                "image": VALKEY,
                "init": True,
                "command": ["valkey-server", "--save", ""],
                "labels": _labels("cache", "valkey", 6379, 3),
                "ports": [f"127.0.0.1:{cache_port}:6379"],
                "networks": ["shop"],
            },
            "users": http("users", 4, managed="false"),
        },
        "networks": {"shop": {}},
    }


def _labels(kind: str, probe: str, port: int, order: int, **more: str) -> dict[str, str]:
    fields = {"managed": "true", "kind": kind, "probe": probe, "port": str(port), "order": str(order), **more}
    return {f"triage.{name}": value for name, value in fields.items()}


def platform_of(engine: Engine, store: Path) -> DockerPlatform:
    """Return an adapter as the proxy makes it, on the engine's own host."""
    return DockerPlatform(engine, store, TOOL_IMAGE)


@contextmanager
def project(name: str, file: dict[str, Any]) -> Iterator[None]:
    """Bring a compose project up for the length of a block, and leave nothing of it behind."""
    try:
        compose(name, "up", "-d", file=file)
        yield
    finally:
        # A nameless volume that was carried over to another container counts as named from then on: `down` keeps it.
        carried = _volumes(name)
        compose(name, "down", "-v", "-t", "1", "--remove-orphans", file=file)
        if left := carried & set(docker("volume", "ls", "-q").split()):
            docker("volume", "rm", *left)


def _volumes(name: str) -> set[str]:
    ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={name}").split()
    form = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
    return set(docker("inspect", "--format", form, *ids).split()) if ids else set()


@contextmanager
def docker_world() -> Iterator[WorldUnderTest]:
    """Bring the small world up for the length of a block; skips the test, in a sentence, where that cannot be."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    store = Path(tempfile.mkdtemp(prefix="tw-"))
    name, [port] = f"tw{os.getpid()}{os.urandom(2).hex()}", free_ports(1)
    engine, nothing = Engine(name), Engine(f"{name}-nothing")
    try:
        with project(name, small_world(port)):
            platform = platform_of(engine, store)
            asyncio.run(until_well(platform))
            yield WorldUnderTest(
                platform,
                DockerFaults(platform),
                port,
                store,
                another=lambda: platform_of(engine, store),
                nowhere=lambda folder: _nowhere(nothing, folder),
            )
            asyncio.run(_end_sidecars(engine))
    finally:
        engine.close()
        nothing.close()
        shutil.rmtree(store)


@contextmanager
def proxied_world() -> Iterator[WorldUnderTest]:
    """The same small world, seen through a platform proxy of its own, with the injector's token."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    name, [cache, port] = f"tw{os.getpid()}{os.urandom(2).hex()}", free_ports(2)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder, project(name, small_world(cache)):
        home = Path(folder)
        with proxy(name, home, port) as url:
            token = home / "tokens" / "injector.token"
            platform = RemotePlatform(url, token)
            asyncio.run(until_well(platform))
            yield WorldUnderTest(
                platform,
                RemoteFaults(url, token),
                cache,
                home / "store",
                another=lambda: RemotePlatform(url, token),
                nowhere=lambda _folder: _no_stack(home),
                no_stack="is the stack up",
            )


@contextmanager
def proxy(name: str, home: Path, port: int) -> Iterator[str]:
    """Run the platform proxy as a process for the length of a block; gives its address.

    Its tokens are `<home>/tokens/<client>.token`, its log `<home>/proxy.log`, its inventory `<home>/inventory.json`.
    """
    (home / "tokens").mkdir(exist_ok=True)
    for client in CLIENTS:
        (home / "tokens" / f"{client}.token").write_text(f"{client}-{os.urandom(12).hex()}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRIAGE_")} | {
        "TRIAGE_COMPOSE_PROJECT": name,
        "TRIAGE_TOOL_IMAGE": TOOL_IMAGE,
        "TRIAGE_TOKENS_DIR": str(home / "tokens"),
        "TRIAGE_STORE_DIR": str(home / "store"),
        "TRIAGE_INVENTORY_FILE": str(home / "inventory.json"),
        "TRIAGE_PROXY_HOST": "127.0.0.1",
        "TRIAGE_PROXY_PORT": str(port),
    }
    with (home / "proxy.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.platform.proxy"], env=environment, stdout=log, stderr=log
        )
    try:
        asyncio.run(_until_ready(f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            assert process.wait(15) == 0, (home / "proxy.log").read_text()[-2_000:]
        finally:
            process.kill()
            process.wait()


async def _until_ready(url: str) -> None:
    async def ready() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{url}/healthz")).status_code == 200

    await eventually(ready, timeout_s=20.0)


def _no_stack(home: Path) -> tuple[RemotePlatform, RemoteFaults]:
    """Return clients of a proxy that is not there."""
    [port], token = free_ports(1), home / "tokens" / "injector.token"
    return RemotePlatform(f"http://127.0.0.1:{port}", token, retry_s=0.2), RemoteFaults(
        f"http://127.0.0.1:{port}", token, retry_s=0.2
    )


def _nowhere(engine: Engine, folder: Path) -> tuple[Platform, DockerFaults]:
    platform = platform_of(engine, folder)
    return platform, DockerFaults(platform)


async def until_well(platform: Platform) -> None:
    """Wait until every workload is healthy."""

    async def ready() -> bool:
        return all([(await platform.health(item.name))[0] for item in await platform.list()])

    await eventually(ready, timeout_s=20.0)


async def _end_sidecars(engine: Engine) -> None:
    for tool in await engine.sidecars():
        await engine.end_sidecar(tool)
