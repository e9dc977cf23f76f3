"""Who asks a dependency again and again: it gets many times the requests that the devices which use it get.

Rates of requests tell a storm of repeated attempts from everything that looks like it: more users raise the rates of
both, a slow or burdened dependency those of neither (docs/adr/0029).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from broker.contracts.inventory import Device
from planner_svc.core.config import PlannerConfig
from planner_svc.core.state import Baseline, Sample

BURST = 1.5
"""A client that was started anew has no rate yet, while its dependency still counts what came before: only what is
this many times above the clients' usual traffic is a storm."""
LEAST = 1.0
"""Requests per second; with fewer at its clients, a share of them says nothing."""


@dataclass(frozen=True, slots=True)
class Storm:
    """A client that asks a dependency again and again, as the dependency's samples show it."""

    client: Device
    dependency: Device
    times: float
    """Requests at the dependency for each at its clients, by the newest sample that shows the storm."""
    first_us: int
    count: int
    total: int
    """Samples since the first that shows it."""
    current: bool


def storms(
    config: PlannerConfig, histories: Mapping[str, Sequence[Sample]], baselines: Mapping[str, Baseline]
) -> Iterator[Storm]:
    """Give every client of every dependency that gets too many requests; nothing if rates are not looked at.

    Args:
        histories: samples by device, oldest first.
    """
    for dependency in config.inventory.devices if config.amplification is not None else ():
        clients = [device for device in config.inventory.devices if dependency.name in device.depends_on]
        if dependency.kind == "service" and clients and all(client.kind == "service" for client in clients):
            # Of users it is not known how many requests they mean.
            yield from _at(config, dependency, clients, histories, baselines)


def _at(
    config: PlannerConfig,
    dependency: Device,
    clients: Sequence[Device],
    histories: Mapping[str, Sequence[Sample]],
    baselines: Mapping[str, Baseline],
) -> Iterator[Storm]:
    usual = sum(baselines[client.name].request_rate or 0.0 for client in clients if client.name in baselines)
    asking = [histories.get(client.name, ()) for client in clients]
    samples = [one for one in histories.get(dependency.name, ()) if _is_comparable(one, asking)]
    seen = [_times(sample, asking, BURST * usual) for sample in samples]
    places = [place for place, times in enumerate(seen) if times >= (config.amplification or 0.0)]
    for client in clients if places else ():
        yield Storm(
            client,
            dependency,
            times=seen[places[-1]],
            first_us=samples[places[0]].time_us,
            count=len(places),
            total=len(samples) - places[0],
            current=places[-1] == len(samples) - 1,
        )


def _is_comparable(sample: Sample, asking: Sequence[Sequence[Sample]]) -> bool:
    """Tell whether every client was heard of after a dependency's sample: what began in between shows on both."""
    return all(history and history[-1].time_us > sample.time_us for history in asking)


def _times(sample: Sample, asking: Sequence[Sequence[Sample]], least: float) -> float:
    """Return how many requests a dependency's sample counts for each at its clients; 0 if there are not more than
    `least` a second, or a client does not tell how many it gets."""
    rates = [_rate_about(history, sample.time_us) for history in asking]
    if sample.request_rate is None or sample.request_rate <= least or None in rates:
        return 0.0
    return sample.request_rate / max(LEAST, sum(rate for rate in rates if rate is not None))


def _rate_about(history: Sequence[Sample], time_us: int) -> float | None:
    """Return the higher of the newest rate that was measured until then and the rate of the first sample after it."""
    before = [one.request_rate for one in history if one.time_us <= time_us and one.request_rate is not None][-1:]
    after = [one.request_rate for one in history if one.time_us > time_us][:1]
    return max((rate for rate in (*before, *after) if rate is not None), default=None)
