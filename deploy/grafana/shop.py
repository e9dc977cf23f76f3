"""The shop: what its users see, the golden signals of each service, and what it depends on."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import BAD, FAIR, GOOD, Dashboard, Panel, Query, Row, Variable, stat

FAILED: Final = 'sum(rate(shop_request_failures_total{service="loadgen"}[1m]))'
SENT: Final = 'sum(rate(shop_request_duration_seconds_count{service="loadgen"}[1m]))'
ENDED: Final = 'sum by (service) (rate(shop_request_duration_seconds_count{service=~"$service"}[$__rate_interval]))'
STATUS: Final = {0: ("OK", GOOD), 1: ("WARN", FAIR), 2: ("ERROR", BAD)}
UP: Final = {0: ("fails", BAD), 1: ("answers", GOOD)}


def _users_percentile(share: float) -> Query:
    buckets = 'sum by (le) (rate(shop_request_duration_seconds_bucket{service="loadgen"}[$__rate_interval]))'
    return Query(f"histogram_quantile({share}, {buckets})", f"p{round(share * 100)}")


USERS: Final = Row(
    "What users see",
    (
        stat(
            "Answered well",
            "percentunit",
            f"1 - {FAILED} / {SENT}",
            "Share of the users' requests of the last minute that were answered well. The objective is 99 %.",
            steps=((None, BAD), (0.99, GOOD)),
            high=1.0,
        ),
        stat(
            "95th percentile",
            "s",
            'service:shop_request_duration_seconds:p95_rate1m{service="loadgen"}',
            "What one user in twenty waits longer than, over the last minute. The objective is 1 s.",
            steps=((None, GOOD), (0.5, FAIR), (1.0, BAD)),
        ),
        stat("Requests", "reqps", SENT, "Requests of users per second, over the last minute. The load is open-loop."),
        stat(
            "Burn, 1 min",
            "short",
            "users:error_budget_burn:rate1m",
            "How many times faster than allowed the error budget burns: 1 keeps the objective exactly.",
            steps=((None, GOOD), (1.0, FAIR), (14.4, BAD)),
        ),
        stat(
            "Burn, 10 min",
            "short",
            "users:error_budget_burn:rate10m",
            "The same over ten minutes: what a short fault leaves behind.",
            steps=((None, GOOD), (1.0, FAIR), (14.4, BAD)),
        ),
        stat(
            "Incidents open",
            "short",
            "max(triage_incidents_open)",
            "Incidents that the control plane works on.",
            steps=((None, GOOD), (1.0, FAIR)),
        ),
        Panel(
            "Answered well",
            "percentunit",
            (
                Query(
                    '1 - sum(rate(shop_request_failures_total{service="loadgen"}[$__rate_interval]))'
                    ' / sum(rate(shop_request_duration_seconds_count{service="loadgen"}[$__rate_interval]))',
                    "users",
                ),
            ),
            "The users' success ratio; the dashed line is the objective.",
            high=1.0,
            steps=((None, BAD), (0.99, GOOD)),
            line=True,
        ),
        Panel(
            "How long users wait",
            "s",
            tuple(_users_percentile(share) for share in (0.5, 0.95, 0.99)),
            "Percentiles of all requests, failed ones included; users lose patience at 1.5 s.",
            steps=((None, GOOD), (1.0, BAD)),
            line=True,
        ),
        Panel(
            "How requests end",
            "reqps",
            (
                Query(
                    'sum by (status) (rate(shop_requests_total{service="loadgen"}[$__rate_interval]))',
                    "{{status}}",
                ),
            ),
            "By HTTP status or by the name of the failure. 404 is right for what the shop does not sell.",
            stacked=True,
        ),
    ),
)

SIGNALS: Final = Row(
    "Golden signals of the services: $service",
    (
        Panel(
            "Traffic",
            "reqps",
            (
                Query(
                    ENDED,
                    "{{service}}",
                ),
            ),
            "Requests (fulfilment: messages) that ended, per second.",
        ),
        Panel(
            "Errors",
            "percentunit",
            (
                Query(
                    'sum by (service) (rate(shop_request_failures_total{service=~"$service"}[$__rate_interval]))'
                    f" / {ENDED}",
                    "{{service}}",
                ),
            ),
            "Share of requests that failed. A service also fails when what it depends on does.",
            steps=((None, GOOD), (0.01, FAIR), (0.5, BAD)),
            high=1.0,
        ),
        Panel(
            "Latency, 95th percentile",
            "s",
            (
                Query(
                    "histogram_quantile(0.95, sum by (service, le)"
                    ' (rate(shop_request_duration_seconds_bucket{service=~"$service"}[$__rate_interval])))',
                    "{{service}}",
                ),
            ),
            "Waiting for dependencies included.",
        ),
        Panel(
            "Saturation: cores",
            "cores",
            (Query('max by (service) (shop_scope_cpu_cores{service=~"$service"})', "{{service}}"),),
            "Cores in use by the service and everything in its scope.",
            steps=((None, GOOD), (0.9, BAD)),
        ),
        Panel(
            "Saturation: memory",
            "bytes",
            (Query('max by (service) (shop_scope_memory_bytes{service=~"$service"})', "{{service}}"),),
            "Resident memory of the scope.",
        ),
        Panel(
            "Requests by operation",
            "reqps",
            (
                Query(
                    'sum by (service, operation) (rate(shop_requests_total{service=~"$service"}[$__rate_interval]))',
                    "{{service}} {{operation}}",
                ),
            ),
            "Which paths and messages are asked for.",
        ),
    ),
)

DEPENDENCIES: Final = Row(
    "What it depends on",
    (
        Panel(
            "Dependency checks",
            "short",
            (
                Query(
                    'min by (service, dependency) (shop_dependency_up{service=~"$service"})',
                    "{{service}} → {{dependency}}",
                ),
            ),
            "Each service's own check of what it depends on, once a second.",
            kind="state-timeline",
            width=12,
            height=8,
            words=UP,
            steps=((None, BAD), (1.0, GOOD)),
        ),
        Panel(
            "Devices as the sensors see them",
            "short",
            (Query("max by (device) (triage_device_status)", "{{device}}"),),
            "What the control plane acts on: every workload, probed from outside once a second.",
            kind="state-timeline",
            width=12,
            height=8,
            words=STATUS,
            steps=((None, GOOD), (1.0, FAIR), (2.0, BAD)),
        ),
        Panel(
            "Time of dependency checks",
            "s",
            (
                Query(
                    'max by (service, dependency) (shop_dependency_check_seconds{service=~"$service"})',
                    "{{service}} → {{dependency}}",
                ),
            ),
            "A slow link shows here before users feel it. A check gives up after 1 s.",
            width=12,
        ),
        Panel(
            "Errors by name",
            "short",
            (
                Query(
                    'sum by (service, dependency, error_code) (increase(shop_errors_total{service=~"$service"}[1m]))',
                    "{{service}} → {{dependency}} {{error_code}}",
                ),
            ),
            "Failures per minute under the name that the real software gave them; empty until something failed.",
            width=12,
            stacked=True,
        ),
        Panel(
            "Latency of the probes",
            "s",
            (Query("max by (device) (triage_device_latency_seconds)", "{{device}}"),),
            "Time of the sensors' probe; for loadgen the users' 95th percentile.",
        ),
        Panel(
            "Memory of database, cache and services",
            "bytes",
            (Query("max by (device) (triage_device_memory_bytes)", "{{device}}"),),
            "As the devices themselves say, where their protocol does.",
        ),
        Panel(
            "Cores of database, cache and services",
            "cores",
            (Query("max by (device) (triage_device_cpu_cores)", "{{device}}"),),
            "Above 0.9 the sensors call a device busy.",
            steps=((None, GOOD), (0.9, BAD)),
            line=True,
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    uid="triage-shop",
    title="Shop",
    about="The users' objective, the golden signals of each service, and what each depends on.",
    rows=(USERS, SIGNALS, DEPENDENCIES),
    variables=(Variable("service", "Service", "shop_requests_total", "service"),),
)
