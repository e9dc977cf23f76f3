"""Every port of the embedded stack, as offsets from one base, so that two stacks can live side by side."""

from __future__ import annotations

DEFAULT_BASE = 17_400
SPAN = 90
"""Ports base..base+SPAN-1 belong to one stack."""

OFFSETS: dict[str, int] = {
    # control plane
    "nats": 0,
    "nats-monitoring": 1,
    "audit-db": 2,
    # /metrics and /healthz of the roles
    "scheduler-1": 10,
    "scheduler-2": 11,
    "planner-1": 12,
    "monitor-1": 13,
    "sensors-1": 14,
    "auditor-1": 15,
    "log-agent-1": 20,
    "log-agent-2": 21,
    "metric-agent-1": 22,
    "metric-agent-2": 23,
    "action-agent-1": 24,
    "action-agent-2": 25,
    "runbook-agent-1": 26,
    # the shop
    "shop-db": 40,
    "shop-cache": 41,
    "shop-mq": 42,
    "shop-mq-monitoring": 43,
    "gateway": 50,
    "orders": 51,
    "catalog": 52,
    "fulfilment": 53,
    "loadgen": 54,
    # per-link TCP proxies: source--destination
    "links": 59,
    "gateway--orders": 60,
    "gateway--catalog": 61,
    "orders--shop-db": 62,
    "orders--shop-mq": 63,
    "catalog--shop-db": 64,
    "catalog--shop-cache": 65,
    "fulfilment--shop-mq": 66,
    "fulfilment--orders": 67,
    # for people
    "dashboard": 80,
}

LINKS: tuple[tuple[str, str], ...] = tuple(
    (source, destination) for source, _, destination in (name.partition("--") for name in OFFSETS) if destination
)


def port(base: int, name: str) -> int:
    """Return the TCP port of a program or link in the stack whose first port is `base`."""
    return base + OFFSETS[name]
