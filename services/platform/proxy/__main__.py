"""`python -m services.platform.proxy`: the platform proxy."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import uvicorn

from broker.errors import SettingsError
from broker.runtime.exits import Exit
from broker.runtime.logging import complain, configure
from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.container import Container
from services.platform.docker.engine import Engine
from services.platform.port import PlatformDownError, PlatformError
from services.platform.proxy.listening import configured
from services.platform.proxy.metrics import ProxyMetrics
from services.platform.proxy.server import Server
from services.platform.proxy.settings import ProxySettings, load_proxy_settings
from services.platform.proxy.tokens import Tokens
from services.platform.proxy.world import WatchedWorld

GRACE_S = 2
"""Seconds that running calls have to end after SIGTERM."""


async def serve(settings: ProxySettings) -> None:
    """Serve until a signal comes.

    Raises:
        PlatformDownError: no engine that will do. SettingsError: no project, no place to write, or the port is taken.
    """
    log = configure("platform", socket.gethostname(), settings.log_level)
    own = await _own()
    project = settings.compose_project or (own.project if own else "")
    if not project:
        raise SettingsError("this is no container of a compose project; name one by TRIAGE_COMPOSE_PROJECT")
    engine = Engine(project)
    try:
        reachable = frozenset(place.network for place in own.networks) if own else frozenset()
        platform = _platform(engine, settings, reachable)
        metrics, tokens = ProxyMetrics(), Tokens(settings.tokens_dir)
        world = WatchedWorld(platform, settings.inventory_file, metrics, log, own.id if own else None)
        await world.open()
        for client in tokens.missing():
            log.warning("token_missing", client=client, folder=str(settings.tokens_dir))
        log.info("serving", project=engine.project, port=settings.proxy_port)
        await _listen(settings, Server(world, tokens, metrics, log))
    finally:
        engine.close()


async def _own() -> Container | None:
    """Return the container that this process lives in; None if it lives in none."""
    engine = Engine("")
    try:
        await engine.check()
        return await engine.own(socket.gethostname())
    finally:
        engine.close()


def _platform(engine: Engine, settings: ProxySettings, reachable: frozenset[str]) -> DockerPlatform:
    try:
        return DockerPlatform(engine, settings.store_dir, settings.tool_image, reachable=reachable)
    except OSError as error:
        raise SettingsError(
            f"{settings.store_dir} cannot be written ({error.strerror}); mount a volume there"
        ) from error


async def _listen(settings: ProxySettings, server: Server) -> None:
    config = configured(server.app(), grace_s=GRACE_S, host=settings.proxy_host, port=settings.proxy_port)
    listener = _socket(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has stopped: a handler of ours makes that a clean end
        signal.signal(number, lambda *_: None)
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        listener.close()


def _socket(settings: ProxySettings) -> socket.socket:
    try:
        return socket.create_server((settings.proxy_host, settings.proxy_port))
    except OSError as error:
        where = f"{settings.proxy_host}:{settings.proxy_port}"
        raise SettingsError(f"{where} cannot be used ({error.strerror}); is another platform proxy running?") from error


def main() -> int:
    """Run the proxy; return its exit code."""
    try:
        asyncio.run(serve(load_proxy_settings()))
    except SettingsError as error:
        complain(f"the platform proxy cannot start: {error}")
        return Exit.USAGE
    except PlatformDownError as error:
        complain(f"the platform proxy cannot start: {error}")
        return Exit.DEPENDENCY_DOWN
    except PlatformError as error:
        complain(f"the platform proxy cannot go on: {error}")
        return Exit.FAILED
    return Exit.OK


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a call that still waits for the engine in a thread must not hold the process
