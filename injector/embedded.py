"""The injector on the embedded platform."""

from __future__ import annotations

from pathlib import Path

from broker.contracts.inventory import Inventory
from injector.collateral import Witness
from injector.fault import World
from injector.hand import Hand
from injector.injector import Injector
from injector.journal import FaultJournal
from services.platform.embedded.adapter import EmbeddedPlatform
from services.platform.embedded.faults import EmbeddedFaults
from services.platform.embedded.home import Home


def open_injector(home: Path) -> Injector:
    """Return the injector for the stack under `home`."""
    inventory = Inventory.decode((home / "inventory.json").read_bytes())
    return Injector(World(EmbeddedFaults(home), inventory), FaultJournal(home / "faults"))


def open_witness(home: Path) -> Witness:
    """Return the witness of the stack under `home`."""
    return Witness(EmbeddedPlatform(home), (home / "inventory.json", Home(home).world))


def open_hand(home: Path) -> Hand:
    """Return what changes the stack under `home` without a plan."""
    return Hand(EmbeddedPlatform(home), EmbeddedFaults(home), home / "inventory.json")
