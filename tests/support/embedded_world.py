"""A small world on the embedded platform for the contract suite: real supervisord, real processes, a real Valkey and a
real link, but workloads that start in a tenth of a second."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import daemon
from deploy.embedded.layout import Layout, layout
from deploy.embedded.programs import base_environment
from deploy.embedded.servers import valkey_command, valkey_config
from services.platform.embedded.adapter import EmbeddedPlatform
from services.platform.embedded.faults import EmbeddedFaults
from services.platform.embedded.sections import Section
from services.platform.embedded.supervisor import Supervisor
from services.platform.embedded.world import Link, Program, World
from services.platform.fault_port import FaultPort
from services.platform.port import Platform
from tests.support.waiting import eventually

HOST = "127.0.0.1"
WORKLOAD = r"""
import http.server, json, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_): pass
def log(level, msg):
    ts = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "+00:00"
    print(json.dumps({"ts": ts, "level": level, "service": os.environ["NAME"], "msg": msg, "meta": {}}), flush=True)
log("INFO", "serving")
log("ERROR", "something \x1b[31mred")
print("Traceback: plain \x07text", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@dataclass(frozen=True)
class WorldUnderTest:
    """What the suite needs to know of a world: `web` depends on `store` by a link, `users` is not managed."""

    platform: Platform
    faults: FaultPort
    cache_port: int
    """Where the cache answers on this machine."""
    home: Path
    """Folder of the ledger, `effects.jsonl`."""
    another: Callable[[], Platform]
    """Makes one more adapter of the same world, as another process would."""
    nowhere: Callable[[Path], tuple[Platform, FaultPort]]
    """Makes adapters of a world that was never brought up; the folder is empty."""
    no_stack: str = "no stack"
    """What they say."""


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind((HOST, 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@contextmanager
def embedded_world() -> Iterator[WorldUnderTest]:
    """Bring the small world up for the length of a block."""
    folder = tempfile.mkdtemp(prefix="tw-")  # short: a Unix socket's path has 107 bytes
    home = layout(Path(folder))
    web, store, users, cache, admin, way = free_ports(6)
    for path in home.folders():
        path.mkdir(exist_ok=True)
    script = home.root / "workload.py"
    script.write_text(WORKLOAD)
    base = base_environment(home, os.defpath, folder, None)
    programs = (
        _http(script, "web", web, {"SETTING": "right", "API_PASSWORD": "hush-1"}, ("API_PASSWORD",)),
        _http(script, "store", store, {}),
        _cache(home, cache),
        _http(script, "users", users, {}, managed=False),
    )
    link = Link(source="web", destination="store", port=way, target_port=store)
    World(base_environment=base, programs=programs, links=(link,), links_port=admin).save(home.world)
    sections = [Section(item.name, item.command, item.environment) for item in programs]
    links = Section("links", (sys.executable, "-m", "services.platform.links"), {"TRIAGE_HOME": str(home.root)})
    home.supervisor_config.write_text(daemon.render_config(home, [*sections, links]))
    try:
        daemon.start_supervisord(home, base)
        platform = EmbeddedPlatform(home.root)
        asyncio.run(_start(home, platform, [*(item.name for item in programs), "links"]))
        yield WorldUnderTest(
            platform,
            EmbeddedFaults(home.root),
            cache,
            home.root,
            another=lambda: EmbeddedPlatform(home.root),
            nowhere=lambda folder: (EmbeddedPlatform(folder), EmbeddedFaults(folder)),
        )
    finally:
        daemon.end_leftovers(home)
        shutil.rmtree(folder)


def _http(
    script: Path, name: str, port: int, extra: dict[str, str], secrets: tuple[str, ...] = (), *, managed: bool = True
) -> Program:
    return Program(
        name=name,
        command=(sys.executable, "-I", "-S", str(script)),
        environment={"NAME": name, "PORT": str(port), "SHOP_SCOPE": name, **extra},
        secrets=secrets,
        managed=managed,
        probe="http",
        host=HOST,
        port=port,
    )


def _cache(home: Layout, port: int) -> Program:
    config = home.data("shop-cache") / "valkey.conf"
    config.write_text(valkey_config(port, config.parent))
    return Program(
        name="cache",
        command=valkey_command(config),
        environment={"SHOP_SCOPE": "cache"},
        managed=True,
        probe="valkey",
        host=HOST,
        port=port,
    )


async def _start(home: Layout, platform: EmbeddedPlatform, names: list[str]) -> None:
    supervisor = Supervisor(home.supervisor_socket)
    for name in names:
        await supervisor.start(name)

    async def ready() -> bool:
        checks = [await platform.health(item.name) for item in await platform.list()]
        return all(healthy for healthy, _ in checks)

    await eventually(ready)
