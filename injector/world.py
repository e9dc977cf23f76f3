"""Opens the injector and the witness of a stack by `Settings.platform`. What belongs to one platform only is imported
when that platform is chosen: a container of ours has none of the embedded servers installed."""

from __future__ import annotations

from broker.runtime.settings import Settings
from injector.collateral import Witness
from injector.injector import Injector


def open_injector(settings: Settings) -> Injector:
    """Return the injector of the stack that these settings name.

    Raises:
        OSError, ValueError: its inventory cannot be read. SettingsError: where the platform is, is not said.
    """
    if settings.platform == "docker":
        from injector import remote

        return remote.open_injector(settings)
    from injector import embedded

    return embedded.open_injector(settings.home)


def open_witness(settings: Settings) -> Witness:
    """Return the witness of the stack that these settings name.

    Raises:
        SettingsError: where the platform is, is not said.
    """
    if settings.platform == "docker":
        from injector import remote

        return remote.open_witness(settings)
    from injector import embedded

    return embedded.open_witness(settings.home)
