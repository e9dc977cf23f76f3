"""`python -m injector`: what the injector's container does while nobody injects anything: it says on /healthz and
/metrics which faults are open and whether the world still shows them. `docker compose exec injector triage inject ...`
does the rest."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack, closing
from functools import partial

from broker.errors import BrokerError
from broker.runtime.exits import Exit, exit_code
from broker.runtime.logging import complain, configure
from broker.runtime.metrics import HealthMetrics, MetricsServer
from broker.runtime.settings import Settings, load_settings
from broker.tasks import until_any_ends
from injector.watch import CHECK, WatchHealth, WatchMetrics, watch
from injector.world import open_injector


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    try:
        settings = load_settings()
        asyncio.run(_live(settings))
    except (BrokerError, OSError) as error:
        complain(f"injector: {error}")
        return exit_code(error)
    return Exit.OK


async def _live(settings: Settings) -> None:
    log = configure("injector", settings.instance, settings.log_level)
    health = WatchHealth("injector", settings.instance)
    health.set(CHECK, False)
    metrics = WatchMetrics(health)
    metrics.registry.register(HealthMetrics(health))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            server = MetricsServer(settings.metrics_port, metrics, health, settings.metrics_host)
            stack.enter_context(closing(server))
        log.info("watching", platform=settings.platform)
        await until_any_ends(_until(stopping), watch(partial(open_injector, settings), health, metrics, log))


async def _until(event: asyncio.Event) -> None:
    await event.wait()


if __name__ == "__main__":
    sys.exit(main())
