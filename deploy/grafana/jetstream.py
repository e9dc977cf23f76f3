"""JetStream: the server, its streams, and the queues that agents work through."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.panels import BAD, FAIR, GOOD, Dashboard, Panel, Query, Row, Variable, stat

OF_STREAMS: Final = '{stream=~"$stream"}'


def _by_stream(title: str, unit: str, expr: str, about: str, **more: Any) -> Panel:
    return Panel(title, unit, (Query(f"max by (stream) ({expr})", "{{stream}}"),), about, width=6, **more)


def _by_consumer(title: str, unit: str, metric: str, about: str) -> Panel:
    query = Query(f"max by (stream, consumer) ({metric}{OF_STREAMS})", "{{stream}} {{consumer}}")
    return Panel(title, unit, (query,), about)


SERVER: Final = Row(
    "Server",
    (
        stat(
            "Servers up",
            "short",
            "sum(nats_up)",
            "Servers whose monitoring answers.",
            steps=((None, BAD), (1.0, GOOD)),
        ),
        stat("Connections", "short", "sum(nats_connections)", "One for each role's process, and more for bystanders."),
        stat(
            "Slow consumers",
            "short",
            "sum(nats_slow_consumers_total)",
            "Clients that were cut off since the server started, because they did not read fast enough.",
            steps=((None, GOOD), (1.0, BAD)),
        ),
        stat(
            "Disk",
            "percentunit",
            "max(nats_jetstream_storage_bytes / nats_jetstream_storage_limit_bytes)",
            "Share of what the streams may take on disk.",
            steps=((None, GOOD), (0.6, FAIR), (0.8, BAD)),
            high=1.0,
        ),
        stat("Running for", "s", "time() - max(nats_start_time_seconds)", "Since the server started."),
        stat(
            "Audit behind",
            "short",
            "triage_audit:behind_messages",
            "Messages of the journal that the auditor has not got in its chain yet.",
            steps=((None, GOOD), (500.0, FAIR), (1000.0, BAD)),
            low=None,
        ),
        Panel(
            "Messages",
            "mps",
            (
                Query("sum by (server) (rate(nats_received_messages_total[$__rate_interval]))", "{{server}} in"),
                Query("sum by (server) (rate(nats_sent_messages_total[$__rate_interval]))", "{{server}} out"),
            ),
            "Messages through the server per second, acknowledgements and pulls included.",
        ),
        Panel(
            "Bytes",
            "Bps",
            (
                Query("sum by (server) (rate(nats_received_bytes_total[$__rate_interval]))", "{{server}} in"),
                Query("sum by (server) (rate(nats_sent_bytes_total[$__rate_interval]))", "{{server}} out"),
            ),
            "Payload through the server per second.",
        ),
        Panel(
            "Cores and connections",
            "short",
            (
                Query("max by (server) (nats_cpu_cores)", "{{server}} cores"),
                Query("max by (server) (nats_connections)", "{{server}} connections"),
            ),
            "A role that reconnects again and again shows as a saw.",
        ),
        Panel(
            "Memory",
            "bytes",
            (Query("max by (server) (nats_memory_bytes)", "{{server}}"),),
            "Resident memory of the server.",
        ),
        Panel(
            "Requests to JetStream",
            "reqps",
            (
                Query("sum by (server) (rate(nats_jetstream_api_requests_total[$__rate_interval]))", "{{server}}"),
                Query("sum by (server) (rate(nats_jetstream_api_errors_total[$__rate_interval]))", "{{server}} errors"),
            ),
            "Errors are also the answer to what was tried against a wall.",
        ),
        Panel(
            "Subscriptions",
            "short",
            (Query("max by (server) (nats_subscriptions)", "{{server}}"),),
            "Grows with readers; one that only grows is a leak.",
        ),
    ),
)

STREAMS: Final = Row(
    "Streams: $stream",
    (
        _by_stream("Messages kept", "short", f"nats_stream_messages{OF_STREAMS}", "TRIAGE is the journal."),
        _by_stream("Bytes kept", "bytes", f"nats_stream_bytes{OF_STREAMS}", "What each stream takes on disk."),
        _by_stream(
            "New messages",
            "mps",
            f"deriv(nats_stream_last_seq{OF_STREAMS}[1m])",
            "Messages stored per second: telemetry is one a second for each device.",
        ),
        _by_stream(
            "Sequences kept",
            "short",
            f"nats_stream_last_seq{OF_STREAMS} - nats_stream_first_seq{OF_STREAMS}",
            "From the first to the last sequence; more than the messages kept, for telemetry expires in between.",
        ),
        Panel(
            "Consumers",
            "short",
            (
                Query(f"max by (stream) (nats_stream_durable_consumers{OF_STREAMS})", "{{stream}} durable"),
                Query(f"max by (stream) (nats_stream_passing_consumers{OF_STREAMS})", "{{stream}} passing"),
            ),
            "Durable: the work queues. Passing: readers of the journal, one for each follower.",
            width=24,
            height=6,
        ),
    ),
)

CONSUMERS: Final = Row(
    "Work queues",
    (
        _by_consumer(
            "Lag: waiting",
            "short",
            "nats_consumer_pending_messages",
            "Orders that no worker has been given yet. If it stays up, more agents help.",
        ),
        _by_consumer(
            "In work",
            "short",
            "nats_consumer_ack_pending_messages",
            "Orders given and not acknowledged.",
        ),
        _by_consumer(
            "Redelivered",
            "short",
            "nats_consumer_redelivered_messages",
            "Orders in work that were given before: a worker died or was cut off.",
        ),
        _by_consumer(
            "Idle workers",
            "short",
            "nats_consumer_waiting_pulls",
            "Workers that wait for an order; grows and shrinks with `docker compose up -d --scale`.",
        ),
        Panel(
            "Given and acknowledged",
            "short",
            (
                Query(
                    f"max by (stream, consumer) (nats_consumer_delivered_seq{OF_STREAMS}"
                    f" - nats_consumer_ack_floor_seq{OF_STREAMS})",
                    "{{stream}} {{consumer}}",
                ),
            ),
            "How many sequences the oldest unacknowledged order lies behind the newest one given.",
        ),
        Panel(
            "Deliveries that did not end well",
            "short",
            (
                Query("sum(increase(triage_redeliveries_total[5m]))", "came again"),
                Query("sum(increase(triage_fenced_total[5m]))", "fenced"),
                Query("max by (kind) (triage_deliveries_used_up_total)", "used up, {{kind}}"),
            ),
            "As workers and scheduler count them; of five minutes, used up since the day before.",
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    uid="triage-jetstream",
    title="JetStream",
    about="The broker: its server, its streams and the queues that agents work through.",
    rows=(SERVER, STREAMS, CONSUMERS),
    variables=(Variable("stream", "Stream", "nats_stream_messages", "stream"),),
)
