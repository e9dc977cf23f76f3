"""What holds in every state of the monitor, after every event. Checked by the tests after each step."""

from __future__ import annotations

from broker.contracts.incident import IncidentReported
from broker.contracts.machine import Command, Publish
from monitor_svc.core.config import MonitorConfig
from monitor_svc.core.state import DeviceState, MonitorState, OpenIncident


def violations(config: MonitorConfig, state: MonitorState) -> tuple[str, ...]:
    """Return every invariant that a state breaks, one sentence each; empty if it is sound."""
    found = [*_of_incidents(state), *_of_check(config, state)]
    names = set(config.inventory.names())
    for name, device in state.devices.items():
        if name not in names:
            found.append(f"{name} is remembered and not in the inventory")
        found += [f"{name}: {text}" for text in _of_device(device)]
    if state.calm_since_us is not None and any(item.streak is not None for item in state.devices.values()):
        found.append("calm, although a device deviates")
    return tuple(found)


def _of_incidents(state: MonitorState) -> list[str]:
    ids = [item.incident for item in state.open]
    found = []
    if len(set(ids)) != len(ids):
        found.append("an incident is open twice")
    if set(ids) & set(state.closed):
        found.append("an incident is open although it was closed")
    if state.opening in ids:
        found.append("an incident waits to be read back although it was")
    found += [f"{item.incident}: {text}" for item in state.open for text in _of_incident(item)]
    return found


def _of_incident(item: OpenIncident) -> list[str]:
    found = []
    if len(set(item.said)) != len(item.said):
        found.append("the same deviation was said twice")
    if item.said and item.deviations < 1:
        found.append("said something and counted nothing")
    return found


def _of_check(config: MonitorConfig, state: MonitorState) -> list[str]:
    check = state.check
    if check is None:
        return []
    item = state.find(check.incident)
    if item is None:
        return ["a check runs for an incident that is not open"]
    return [] if check.n == item.rounds else [f"round {check.n} runs, {item.rounds} were begun"]


def _of_device(device: DeviceState) -> list[str]:
    found = []
    if device.streak is not None and device.streak.count < 1:
        found.append("a streak of nothing")
    if device.below_ok > 0 and device.status == "OK":
        found.append("OK and counted as below OK")
    return found


def faults_of_commands(state: MonitorState, commands: tuple[Command, ...]) -> tuple[str, ...]:
    """Return what is wrong with the commands of one step, given the state after it."""
    found = []
    subjects = [command.message.subject() for command in commands if isinstance(command, Publish)]
    if len(set(subjects)) != len(subjects):
        found.append("one step says the same subject twice")
    opened = [
        command
        for command in commands
        if isinstance(command, Publish) and isinstance(command.message, IncidentReported)
    ]
    if opened and state.open:
        found.append("opens an incident although one is open")
    return tuple(found)
