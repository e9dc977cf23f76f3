"""Opens the world an agent works on. The only place that knows which adapters there are."""

from __future__ import annotations

from broker.errors import SettingsError
from broker.runtime.settings import Settings
from services.platform.port import Platform


def open_platform(settings: Settings) -> Platform:
    """Return the platform of this stack (docs/adr/0004: embedded is the default).

    Raises:
        SettingsError: on docker, where the proxy stands or which token opens it is not said.
    """
    if settings.platform == "embedded":
        from services.platform.embedded.adapter import EmbeddedPlatform  # here: a container has no use for it

        return EmbeddedPlatform(settings.home)
    from services.platform.proxy.client import RemotePlatform

    if settings.platform_url is None or settings.platform_token_file is None:
        raise SettingsError(
            "on docker, TRIAGE_PLATFORM_URL and TRIAGE_PLATFORM_TOKEN_FILE must name the platform proxy"
        )
    return RemotePlatform(settings.platform_url, settings.platform_token_file)
