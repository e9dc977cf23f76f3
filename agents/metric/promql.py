"""Which PromQL stands for which telemetry metric: data, and the one function that puts a device's name into it.

Nothing else writes PromQL. A query is one of these templates with the name of a device of the inventory in it, so no
text of a report, a log or a model can ever become part of one. `service` is the label that deploy/prometheus gives
every target: the compose service, which is the device's name. Results have telemetry's units (milliseconds, bytes,
cores, 0..1, requests per second) and hold at most one series: of several containers of one service, the busiest.

Requests are counted by the histogram's count, whose series begin with those of the failures. `shop_requests_total` has
one for each status, and the first failures of a new status are lost to a rate: a ratio to it would go below zero.

The window is four scrapes of the stack's 2 s. Gauges are read as the last value of the window and not by Prometheus'
own look-back of five minutes: a target that is gone must not look as it did before it went.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agents.errors import SourceError
from broker.contracts.inventory import Device, DeviceKind

_DEVICE = "DEVICE"

_REQUESTS: Mapping[str, str] = {
    "latency_ms": (
        "1000 * histogram_quantile(0.95, sum by (le)"
        ' (rate(shop_request_duration_seconds_bucket{service="DEVICE"}[8s])))'
    ),
    "success_ratio": (
        'clamp(1 - sum(rate(shop_request_failures_total{service="DEVICE"}[8s]))'
        ' / sum(rate(shop_request_duration_seconds_count{service="DEVICE"}[8s])), 0, 1)'
    ),
    "request_rate": 'sum(rate(shop_request_duration_seconds_count{service="DEVICE"}[8s]))',
}
_SCOPE: Mapping[str, str] = {
    "cpu_load": 'max(last_over_time(shop_scope_cpu_cores{service="DEVICE"}[8s]))',
    "mem_usage": 'max(last_over_time(shop_scope_memory_bytes{service="DEVICE"}[8s]))',
}
_PROBED: Mapping[str, str] = {
    "latency_ms": '1000 * max(last_over_time(triage_device_latency_seconds{device="DEVICE"}[8s]))',
    "cpu_load": 'max(last_over_time(triage_device_cpu_cores{device="DEVICE"}[8s]))',
    "mem_usage": 'max(last_over_time(triage_device_memory_bytes{device="DEVICE"}[8s]))',
}
QUERIES: Mapping[DeviceKind, Mapping[str, str]] = {
    "service": {**_REQUESTS, **_SCOPE},
    "traffic": _REQUESTS,
    "database": _PROBED,
    "cache": _PROBED,
    "queue": _PROBED,
}
"""By kind of device and telemetry metric. What is not here, Prometheus is not asked for."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""The form of a `Token`, checked again here: this is where a name leaves for another language."""


def promql(device: Device, metric: str) -> str:
    """Return the query for a metric of a device.

    Raises:
        SourceError: no query stands for it, or the name is none of an inventory.
    """
    template = QUERIES[device.kind].get(metric)
    if template is None:
        raise SourceError(f"no query stands for {metric} of a {device.kind}")
    if not _NAME.fullmatch(device.name):
        raise SourceError("the device has no name that may stand in a query")
    return template.replace(_DEVICE, device.name)
