"""From the broker's monitoring answers to metrics. Pure; whatever is missing or odd in an answer is left out.

Names say the unit. Labels are the server as it was named to the exporter, the stream and the durable consumer: all from
our own configuration. Readers of the journal have consumers with random names that come and go; they are only counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

PATHS: Final = ("varz", "connz?limit=1", "jsz?streams=1&consumers=1&config=1")
MAX_ROWS: Final = 500
"""Most streams, and consumers of a stream, that are shown."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    """As it is exposed; a counter's ends in `_total`."""
    help: str
    kind: Literal["gauge", "counter"] = "gauge"
    labels: tuple[str, ...] = ("server",)


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a family, with its labels' values in the family's order."""

    family: str
    labels: tuple[str, ...]
    value: float


_STREAM = ("server", "stream")
_CONSUMER = ("server", "stream", "consumer")

UP: Final = "nats_up"
FAMILIES: Final[tuple[Family, ...]] = (
    Family(UP, "1 if the server's monitoring answered the last look."),
    Family("nats_start_time_seconds", "When the server started, since the epoch."),
    Family("nats_cpu_cores", "Cores in use by the server."),
    Family("nats_memory_bytes", "Resident memory of the server."),
    Family("nats_connections", "Clients that are connected."),
    Family("nats_connections_opened_total", "Clients that ever connected.", "counter"),
    Family("nats_subscriptions", "Subscriptions of all clients and of the server itself."),
    Family("nats_slow_consumers_total", "Clients cut off because they did not read fast enough.", "counter"),
    Family("nats_received_messages_total", "Messages the server took from clients and neighbours.", "counter"),
    Family("nats_received_bytes_total", "Bytes the server took.", "counter"),
    Family("nats_sent_messages_total", "Messages the server handed out.", "counter"),
    Family("nats_sent_bytes_total", "Bytes the server handed out.", "counter"),
    Family("nats_jetstream_storage_bytes", "What all streams take on disk."),
    Family("nats_jetstream_storage_limit_bytes", "What all streams may take on disk."),
    Family("nats_jetstream_memory_bytes", "What streams in memory take."),
    Family("nats_jetstream_api_requests_total", "Requests to JetStream's interface.", "counter"),
    Family("nats_jetstream_api_errors_total", "Requests that JetStream answered with an error.", "counter"),
    Family("nats_stream_messages", "Messages in a stream.", labels=_STREAM),
    Family("nats_stream_bytes", "Bytes of a stream.", labels=_STREAM),
    Family("nats_stream_first_seq", "Sequence of a stream's first message.", labels=_STREAM),
    Family("nats_stream_last_seq", "Sequence of a stream's last message.", labels=_STREAM),
    Family("nats_stream_durable_consumers", "Durable consumers of a stream.", labels=_STREAM),
    Family("nats_stream_passing_consumers", "Consumers of readers that come and go.", labels=_STREAM),
    Family("nats_consumer_pending_messages", "Messages a consumer has not been given yet: its lag.", labels=_CONSUMER),
    Family("nats_consumer_ack_pending_messages", "Messages given and not acknowledged: in work.", labels=_CONSUMER),
    Family("nats_consumer_redelivered_messages", "Messages in work that were given more than once.", labels=_CONSUMER),
    Family("nats_consumer_waiting_pulls", "Workers that wait for a message.", labels=_CONSUMER),
    Family("nats_consumer_delivered_seq", "Stream sequence of the last message given.", labels=_CONSUMER),
    Family("nats_consumer_ack_floor_seq", "Stream sequence up to which all is acknowledged.", labels=_CONSUMER),
)

_VARZ: Final = {
    "nats_memory_bytes": "mem",
    "nats_connections_opened_total": "total_connections",
    "nats_subscriptions": "subscriptions",
    "nats_slow_consumers_total": "slow_consumers",
    "nats_received_messages_total": "in_msgs",
    "nats_received_bytes_total": "in_bytes",
    "nats_sent_messages_total": "out_msgs",
    "nats_sent_bytes_total": "out_bytes",
}
_STREAM_STATE: Final = {
    "nats_stream_messages": "messages",
    "nats_stream_bytes": "bytes",
    "nats_stream_first_seq": "first_seq",
    "nats_stream_last_seq": "last_seq",
}
_CONSUMER_STATE: Final = {
    "nats_consumer_pending_messages": ("num_pending",),
    "nats_consumer_ack_pending_messages": ("num_ack_pending",),
    "nats_consumer_redelivered_messages": ("num_redelivered",),
    "nats_consumer_waiting_pulls": ("num_waiting",),
    "nats_consumer_delivered_seq": ("delivered", "stream_seq"),
    "nats_consumer_ack_floor_seq": ("ack_floor", "stream_seq"),
}


def readings(server: str, answers: Mapping[str, Any]) -> tuple[Reading, ...]:
    """Return what a server's answers, by their path in `PATHS`, say of it; `answers` is parsed JSON of any shape."""
    varz, connz, jsz = (answers.get(path) for path in PATHS)
    return (*_of_server(server, varz, connz), *_of_jetstream(server, jsz), *_of_streams(server, jsz))


def _of_server(server: str, varz: Any, connz: Any) -> Iterator[Reading]:
    here = (server,)
    for family, field in _VARZ.items():
        yield from _read(family, here, _number(varz, field))
    percent = _number(varz, "cpu")
    yield from _read("nats_cpu_cores", here, None if percent is None else percent / 100)
    yield from _read("nats_connections", here, _number(connz, "total"))
    yield from _read("nats_start_time_seconds", here, _time(_at(varz, "start")))


def _of_jetstream(server: str, jsz: Any) -> Iterator[Reading]:
    here = (server,)
    yield from _read("nats_jetstream_storage_bytes", here, _number(jsz, "storage"))
    yield from _read("nats_jetstream_storage_limit_bytes", here, _number(jsz, "config", "max_storage"))
    yield from _read("nats_jetstream_memory_bytes", here, _number(jsz, "memory"))
    yield from _read("nats_jetstream_api_requests_total", here, _number(jsz, "api", "total"))
    yield from _read("nats_jetstream_api_errors_total", here, _number(jsz, "api", "errors"))


def _of_streams(server: str, jsz: Any) -> Iterator[Reading]:
    seen: set[str] = set()
    for account in _rows(jsz, "account_details"):
        for stream in _rows(account, "stream_detail"):
            name = _name(stream)
            if name is not None and name not in seen:
                seen.add(name)
                yield from _of_stream((server, name), stream)


def _of_stream(labels: tuple[str, str], stream: Any) -> Iterator[Reading]:
    for family, field in _STREAM_STATE.items():
        yield from _read(family, labels, _number(stream, "state", field))
    consumers = _rows(stream, "consumer_detail")
    durables = {name: row for row in consumers if (name := _name(row)) and _at(row, "config", "durable_name") == name}
    for name, row in durables.items():
        for family, fields in _CONSUMER_STATE.items():
            yield from _read(family, (*labels, name), _number(row, *fields))
    # A server that was not told to list consumers still counts them.
    count = _number(stream, "state", "consumer_count")
    yield Reading("nats_stream_durable_consumers", labels, len(durables))
    yield from _read("nats_stream_passing_consumers", labels, None if count is None else max(0, count - len(durables)))


def _read(family: str, labels: tuple[str, ...], value: float | None) -> Iterator[Reading]:
    if value is not None:
        yield Reading(family, labels, value)


def _at(value: Any, *fields: str) -> Any:
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else None
    return value


def _number(value: Any, *fields: str) -> float | None:
    found = _at(value, *fields)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 2**63:
        return None
    return float(found) if math.isfinite(found) else None


def _rows(value: Any, field: str) -> list[Any]:
    found = _at(value, field)
    return found[:MAX_ROWS] if isinstance(found, list) else []


def _name(row: Any) -> str | None:
    found = _at(row, "name")
    return found if isinstance(found, str) and _NAME.fullmatch(found) else None


def _time(text: Any) -> float | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at.timestamp() if at is not None and at.tzinfo is not None else None
