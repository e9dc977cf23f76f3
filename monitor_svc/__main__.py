"""`python -m monitor_svc`: the monitor's machine; beside it the reassignment of lost workers' tasks, and the counting
of what the journal says."""

from __future__ import annotations

import sys

from broker.contracts.inventory import Inventory
from broker.runtime.process import Context, machine_main
from broker.runtime.settings import Settings
from broker.tasks import until_any_ends
from monitor_svc.config import monitor_config
from monitor_svc.core.machine import MonitorMachine
from monitor_svc.journal_metrics import JournalMetrics, follow
from monitor_svc.reassign import Reassigner


def make_machine(settings: Settings, inventory: Inventory) -> MonitorMachine:
    """Return the machine of this process."""
    return MonitorMachine(monitor_config(settings, inventory))


async def beside(context: Context) -> None:
    """Hand on the tasks of workers that are lost, and count, until cancelled."""
    counted = JournalMetrics(context.metrics.registry)
    await until_any_ends(
        Reassigner(context.broker, context.signer, context.gate(), log=context.log).run(),
        follow(context.broker, context.gate(), counted, log=context.log),
    )


if __name__ == "__main__":
    sys.exit(machine_main("monitor", make_machine, beside))
