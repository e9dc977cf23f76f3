"""What processes cannot suffer, and why."""

from __future__ import annotations

from services.platform.fault_port import Lacking


def _lacking(why: str) -> Lacking:
    return Lacking("embedded", why, "docker")


NETWORKS = _lacking("a workload cannot leave its network")
NAMES = _lacking("a workload has no name server of its own")
VOLUMES = _lacking("a workload has no volume of its own")
THROTTLE = _lacking("a link's bandwidth cannot be taken away")
SHARES = _lacking("a workload has no share of the processor and no memory of its own")
