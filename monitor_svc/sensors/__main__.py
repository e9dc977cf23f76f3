"""`python -m monitor_svc.sensors`: one sample of every device, every second."""

from __future__ import annotations

import sys

from broker.runtime.process import Context, service_main
from monitor_svc.sensors.probes import Prober
from monitor_svc.sensors.service import Sensors


async def run(context: Context) -> None:
    """Sample until cancelled."""
    prober = Prober(context.inventory.objective)
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
        await sensors.run()
    finally:
        await prober.close()


if __name__ == "__main__":
    sys.exit(service_main("sensors", run))
