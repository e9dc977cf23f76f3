"""Labels are the inventory: from a compose project's containers to the devices that the control plane knows. Pure.

| label | meaning |
|---|---|
| `triage.kind` | service, database, cache, queue, traffic: makes it a device, named after its service |
| `triage.probe` | http, postgres, valkey, nats, traffic: how it is asked whether it is well |
| `triage.port` | TCP port that answers the probe |
| `triage.managed` | `true` if agents may change it; else nobody may |
| `triage.depends_on` | services it cannot work without, separated by commas |
| `triage.cache_prefix` | for a cache: prefix of the entries that may be deleted at any time |
| `triage.order` | place in the order of declaration, a whole number |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from broker.contracts.base import describe
from broker.contracts.inventory import Device, Inventory
from services.platform.docker.container import Container, whole_number

LAST = 1_000_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """What the labels of a project come to."""

    inventory: Inventory
    faults: tuple[str, ...]
    """One sentence for each label that was left out."""


def read_labels(containers: Iterable[Container]) -> Labelled:
    """Return the devices of a project in the order of declaration.

    A container whose labels make no device is left out, and so is a dependency on something that is none; each with a
    sentence. Of several containers of a service the first counts.
    """
    faults: list[str] = []
    devices: dict[str, tuple[int, Device]] = {}
    for container in sorted((item for item in containers if item.kind), key=lambda item: (item.service, item.number)):
        if container.service in devices:
            continue
        device = device_of(container)
        if isinstance(device, str):
            faults.append(device)
        else:
            devices[container.service] = (_order(container), device)
    ordered = [device for _, device in sorted(devices.values(), key=lambda pair: (pair[0], pair[1].name))]
    return Labelled(Inventory(devices=tuple(_without_strangers(ordered, faults))), tuple(faults))


def device_of(container: Container) -> Device | str:
    """Return the device that a container's labels describe, or in one sentence why there is none."""
    labels = container.labels
    try:
        return Device.model_validate(
            {
                "name": container.service,
                "kind": container.kind,
                "managed": container.managed,
                "depends_on": container.depends_on,
                "probe": labels.get("triage.probe"),
                "host": container.service,
                "port": int(labels.get("triage.port", "")),
                "cache_prefix": labels.get("triage.cache_prefix"),
            }
        )
    except ValidationError as error:
        return f"{container.name} has labels that make no device: {describe(error)}"
    except ValueError:
        return f"{container.name} has labels that make no device: triage.port must be a TCP port"


def _order(container: Container) -> int:
    return whole_number(container.labels.get("triage.order", ""), LAST)


def _without_strangers(devices: list[Device], faults: list[str]) -> Iterable[Device]:
    names = {device.name for device in devices}
    for device in devices:
        strangers = [name for name in device.depends_on if name not in names]
        if strangers:
            faults.append(f"{device.name} depends on {', '.join(strangers)}, which no label makes a device")
        yield device.model_copy(update={"depends_on": tuple(n for n in device.depends_on if n in names)})
