"""The injector and the witness of a compose stack: over the platform proxy, which sees the engine in their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from broker.contracts.inventory import Inventory
from broker.errors import SettingsError
from broker.runtime.settings import Settings
from injector.collateral import Witness
from injector.fault import World
from injector.hand import Hand
from injector.injector import Injector
from injector.journal import FaultJournal
from services.platform.proxy.client import RemotePlatform
from services.platform.proxy.fault_client import RemoteFaults
from services.platform.proxy.wire import ContainerRow

ClientT = TypeVar("ClientT")


def open_injector(settings: Settings) -> Injector:
    """Return the injector of the stack that these settings lie in; its journal of faults is in the home."""
    inventory = Inventory.decode(settings.inventory_file.read_bytes())
    return Injector(World(open_faults(settings), inventory, "docker"), FaultJournal(settings.home / "faults"))


def open_witness(settings: Settings) -> Witness:
    """Return the witness of the stack that these settings lie in."""
    return Witness(_opened(RemotePlatform, settings), (settings.inventory_file,))


def open_hand(settings: Settings) -> Hand:
    """Return what changes the stack that these settings lie in without a plan."""
    return Hand(_opened(RemotePlatform, settings), _opened(RemoteFaults, settings), settings.inventory_file)


def open_faults(settings: Settings) -> RemoteFaults:
    """Return the way to break things, and to signal containers of roles."""
    return _opened(RemoteFaults, settings)


async def containers(settings: Settings) -> tuple[ContainerRow, ...]:
    """Return every container of the stack, whether workload, role or server, as it is right now.

    Raises:
        PlatformDownError: the proxy does not answer.
    """
    return await _opened(RemotePlatform, settings).containers()


def _opened(client: Callable[[str, Path], ClientT], settings: Settings) -> ClientT:
    if settings.platform_url is None or settings.platform_token_file is None:
        raise SettingsError("TRIAGE_PLATFORM_URL and TRIAGE_PLATFORM_TOKEN_FILE must name the platform proxy")
    return client(settings.platform_url, settings.platform_token_file)
