"""Opens the world an agent works on. The only place that knows which adapters there are."""

from __future__ import annotations

from broker.runtime.settings import Settings
from services.platform.embedded.adapter import EmbeddedPlatform
from services.platform.port import Platform


def open_platform(settings: Settings) -> Platform:
    """Return the platform of this stack (docs/adr/0004: embedded is the default)."""
    return EmbeddedPlatform(settings.home)
