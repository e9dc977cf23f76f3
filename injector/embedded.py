"""The injector on the embedded platform."""

from __future__ import annotations

from pathlib import Path

from broker.contracts.inventory import Inventory
from injector.collateral import Witness
from injector.fault import World
from injector.injector import Injector
from injector.journal import FaultJournal
from services.platform.embedded.adapter import EmbeddedPlatform
from services.platform.embedded.faults import EmbeddedFaults


def open_injector(home: Path) -> Injector:
    """Return the injector for the stack under `home`."""
    inventory = Inventory.decode((home / "inventory.json").read_bytes())
    return Injector(World(EmbeddedFaults(home), inventory), FaultJournal(home / "faults"))


def open_witness(home: Path) -> Witness:
    """Return the witness of the stack under `home`."""
    return Witness(EmbeddedPlatform(home))
