"""The fingerprint of a world: what must be after a run as it was before. Pure.

Starts and process numbers are no part of it: a repair may restart what it repairs.
"""

from __future__ import annotations

from collections.abc import Sequence

from injector.collateral import Baseline


def differences(before: Baseline, after: Baseline) -> tuple[str, ...]:
    """Return every difference between two fingerprints, one sentence each."""
    gone = [f"{name} is gone" for name in before.workloads if name not in after.workloads]
    come = [f"{name} was not there before" for name in after.workloads if name not in before.workloads]
    found = [*gone, *come]
    for name, was in before.workloads.items():
        now = after.workloads.get(name)
        if now is None:
            continue
        if now.state != was.state:
            found.append(f"{name} is {now.state}, it was {was.state}")
        if now.managed != was.managed:
            found.append(f"{name} is {'now' if now.managed else 'no longer'} managed")
        found += _drifts(name, [f"{d.what} {d.name}" for d in was.drift], [f"{d.what} {d.name}" for d in now.drift])
    return tuple(found)


def _drifts(name: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    new = [f"{name} drifts: {what}" for what in after if what not in before]
    return new + [f"{name} drifts no longer: {what}" for what in before if what not in after]
