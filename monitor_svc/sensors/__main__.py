"""`python -m monitor_svc.sensors`: one sample of every device, every second."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any

from broker.runtime.process import Context, service_main
from broker.tasks import until_any_ends
from monitor_svc.sensors.fates import Fates
from monitor_svc.sensors.probes import Prober
from monitor_svc.sensors.service import Sensors


async def run(context: Context) -> None:
    """Sample until cancelled."""
    fates = Fates()
    prober = Prober(context.inventory.objective, explain=fates.explain)
    sensors = Sensors(
        context.inventory,
        context.broker,
        context.signer,
        prober,
        registry=context.metrics.registry,
        log=context.log,
        on_sample=lambda published: context.health.set("publishing", published),
    )
    context.health.set("publishing", False)
    try:
        await until_any_ends(sensors.run(), *_follow(context, sensors, fates))
    finally:
        await prober.close()


def _follow(context: Context, sensors: Sensors, fates: Fates) -> list[Coroutine[Any, Any, None]]:
    """Return what follows the platform's events, where there is a platform that tells them."""
    url, token_file = context.settings.platform_url, context.settings.platform_token_file
    if url is None or token_file is None:
        return []
    from monitor_svc.sensors.events import EventFollower, events_of  # here: embedded sensors have no use for it

    follower = EventFollower(
        context.inventory,
        events_of(url, token_file),
        fates,
        sensors.sample_once,
        registry=context.metrics.registry,
        log=context.log,
    )
    return [follower.run()]


if __name__ == "__main__":
    sys.exit(service_main("sensors", run))
