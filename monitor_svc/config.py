"""From the process's settings to what the machine decides with."""

from __future__ import annotations

from broker.contracts.inventory import Inventory
from broker.runtime.settings import Settings
from monitor_svc.core.config import MonitorConfig


def monitor_config(settings: Settings, inventory: Inventory) -> MonitorConfig:
    """Return the machine's configuration. It must be the same for every monitor of a stack, and change only together
    with the machine's version: other numbers are other decisions."""
    return MonitorConfig(inventory=inventory, report_grace_s=settings.report_grace_s)
