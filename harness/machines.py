"""The machines by name: what a recording needs to make them again. Besides `harness/evaluation`, which plays the
planner, the only place that imports other roles' cores."""

from __future__ import annotations

from typing import Any

from broker.contracts.machine import Machine
from harness.errors import BadRecordingError
from monitor_svc.core.config import MonitorConfig
from monitor_svc.core.machine import MonitorMachine
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.machine import SchedulerMachine

VERSIONS: dict[str, int] = {
    machine.name: machine.version for machine in (SchedulerMachine, PlannerMachine, MonitorMachine)
}
"""Version of each machine that this program has."""


def make(name: str, version: int, config: bytes) -> Machine[Any]:
    """Return the machine of a recording.

    Raises:
        BadRecordingError: this program has no such machine, or another version of it: only that version can decide
            again what it decided.
    """
    machine: Machine[Any]
    if name == "scheduler":
        machine = SchedulerMachine(SchedulerConfig.decode(config))
    elif name == "planner":
        machine = PlannerMachine(PlannerConfig.decode(config))
    elif name == "monitor":
        machine = MonitorMachine(MonitorConfig.decode(config))
    else:
        raise BadRecordingError(f"the recording names a machine {name!r} that this program does not have")
    if machine.version != version:
        raise BadRecordingError(
            f"the recording was made by version {version} of the {name}; this program has version {machine.version}"
        )
    return machine
