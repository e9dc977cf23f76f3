"""Every fault by name, and the check that a spec is one of them."""

from __future__ import annotations

import difflib

from injector.errors import BadArgumentError, BadTargetError, UnknownFaultError
from injector.fault import Fault, Spec
from injector.faults.cache import CacheFull, CachePasswordChanged, CachePoison
from injector.faults.configuration import (
    DbConnDrift,
    DbWrongPassword,
    FeatureFlag,
    LimitTooSmall,
    MissingVariable,
    WrongPort,
)
from injector.faults.cpu import CpuHog
from injector.faults.deployment import BadCommand, BadVersion
from injector.faults.indexes import DroppedIndex
from injector.faults.intrusion import ConnectionsExhausted, LoadSpike, TableLocked
from injector.faults.isolation import DnsBroken, NetworkDisconnected
from injector.faults.message import PoisonMessage, StuckConsumer
from injector.faults.network import ConnectionsDropped, NetworkLatency, NetworkPartition, NetworkThrottle
from injector.faults.privileges import PrivilegesRevoked
from injector.faults.process import QueueStopped, ServiceHung, ServiceKilled, ServiceStopped
from injector.faults.resources import CpuLimit, DescriptorsExhausted, DiskFull, MemoryLimit
from injector.faults.storm import RetryStorm

_ALL: tuple[Fault, ...] = (
    ServiceStopped(),
    ServiceKilled(),
    ServiceHung(),
    DbConnDrift(),
    DbWrongPassword(),
    CachePoison(),
    NetworkPartition(),
    NetworkLatency(),
    ConnectionsDropped(),
    CpuHog(),
    QueueStopped(),
    CpuLimit(),
    MemoryLimit(),
    NetworkThrottle(),
    NetworkDisconnected(),
    DnsBroken(),
    DiskFull(),
    BadCommand(),
    BadVersion(),
    WrongPort(),
    MissingVariable(),
    LimitTooSmall(),
    FeatureFlag(),
    TableLocked(),
    ConnectionsExhausted(),
    LoadSpike(),
    DescriptorsExhausted(),
    CacheFull(),
    CachePasswordChanged(),
    PrivilegesRevoked(),
    PoisonMessage(),
    StuckConsumer(),
    RetryStorm(),
    DroppedIndex(),
)
FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}


def find(name: str) -> Fault:
    """Return the fault of this name.

    Raises:
        UnknownFaultError: there is none; the text names the nearest.
    """
    if name in FAULTS:
        return FAULTS[name]
    near = difflib.get_close_matches(name, FAULTS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FAULTS)}"
    raise UnknownFaultError(f"there is no fault {name[:60]!r}; {hint}")


def check(spec: Spec) -> Fault:
    """Return the fault of a spec after checking target and arguments.

    Raises:
        UnknownFaultError, BadTargetError, BadArgumentError.
    """
    fault = find(spec.fault)
    if spec.target not in fault.targets:
        raise BadTargetError(
            f"{spec.fault} does not apply to {spec.target[:60]!r}; it applies to {', '.join(fault.targets)}"
        )
    for name, value in spec.args.items():
        if name not in fault.arguments:
            known = ", ".join(fault.arguments) or "none"
            raise BadArgumentError(f"{spec.fault} takes no argument {name!r}; it takes {known}")
        _, least, greatest = fault.arguments[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= greatest:
            raise BadArgumentError(f"{name} of {spec.fault} must be a number in {least:g}..{greatest:g}, not {value!r}")
    return fault
