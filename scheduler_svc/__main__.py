"""`python -m scheduler_svc`: the scheduler's machine on the journal, and a watch over used-up deliveries beside it."""

from __future__ import annotations

import sys

from broker.contracts.inventory import Inventory
from broker.runtime.process import machine_main
from broker.runtime.settings import Settings
from scheduler_svc.config import scheduler_config
from scheduler_svc.core.machine import SchedulerMachine
from scheduler_svc.shell import watch_deliveries


def make_machine(settings: Settings, inventory: Inventory) -> SchedulerMachine:
    """Return the machine for these settings."""
    return SchedulerMachine(scheduler_config(settings, inventory))


if __name__ == "__main__":
    sys.exit(machine_main("scheduler", make_machine, watch_deliveries))
