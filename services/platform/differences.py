"""Differences that every kind of world knows: of environments and of links. Pure; secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping

from services.platform.fault_port import LinkFault
from services.platform.port import Drift

UNSET = "(unset)"
MASK = "***"
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|DSN|PASSPHRASE", re.IGNORECASE)
"""Variables that are masked even if nobody declared them secret."""


def environment(
    declared: Mapping[str, str], actual: Mapping[str, str], secrets: frozenset[str] = frozenset()
) -> list[Drift]:
    """Compare variables one by one, in the order of their names. A difference in a secret says only that.

    Args:
        secrets: names that are masked besides those that sound secret.
    """
    return [
        _drift(name, declared.get(name), actual.get(name), name in secrets or SECRET_NAME.search(name) is not None)
        for name in sorted({*declared, *actual})
        if declared.get(name) != actual.get(name)
    ]


def describe(fault: LinkFault) -> str:
    """Return what a link does in a few words."""
    if fault.mode == "latency":
        return f"latency {fault.latency_ms:g} ms"
    if fault.mode == "drop":
        return f"drop {fault.drop_ratio:g} of new connections"
    if fault.mode == "throttle":
        return f"throttle to {fault.rate_kbit:g} kbit/s"
    return fault.mode


def _drift(name: str, declared: str | None, actual: str | None, secret: bool) -> Drift:
    if secret:
        declared = None if declared is None else MASK
        actual = None if actual is None else f"{MASK} (another value)"
    return Drift("environment", name, UNSET if declared is None else declared, UNSET if actual is None else actual)
