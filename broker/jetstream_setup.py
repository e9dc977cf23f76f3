"""Streams, work queues and the snapshot bucket: made, or brought up to date, by user `admin`. Safe to run again.

The journal forbids what would rewrite it: no purge, no delete, no rollup, no schedules (a stream that schedules also
obeys `Nats-Rollup`, which lets any publisher wipe it). Timers therefore wait in a stream of their own, from which the
broker itself copies what is due into the journal.
"""

from __future__ import annotations

import json
from typing import Any, Final

from broker.envelope import MAX_FRAME
from broker.errors import BrokerError
from broker.jetstream_link import Link, NoAnswerError, open_link, persist
from broker.subjects import (
    ACK_WAIT_S,
    ADMIN_USER,
    ADVISORY_STREAM,
    CANCEL_ROOT,
    DUPLICATE_WINDOW_S,
    EXHAUSTED_ROOT,
    JOURNAL_MAX_AGE_S,
    JOURNAL_SUBJECTS,
    MAX_DELIVERIES,
    SNAPSHOT_BUCKET,
    STREAM,
    SYSTEM_ROOT,
    SYSTEM_STREAM,
    TERMINATED_ROOT,
    TIMER_STREAM,
    TIMER_SUBJECTS,
    WORK_QUEUES,
    WorkQueue,
)

SNAPSHOT_STREAM: Final = f"KV_{SNAPSHOT_BUCKET}"
MAX_ACK_PENDING: Final = 64
_HEADERS_ROOM: Final = 4_096
_EVENTS_MAX_AGE_S: Final = 24 * 3_600
_NANOS: Final = 1_000_000_000
_NAME_IN_USE: Final = 10058
_API_S: Final = 15.0
_TRY_S: Final = 5.0


def _stream(name: str, subjects: tuple[str, ...], *, max_age_s: float, **more: Any) -> dict[str, Any]:
    """One node keeps it unless `replicated` says otherwise."""
    return {
        "name": name,
        "subjects": list(subjects),
        "retention": "limits",
        "storage": "file",
        "num_replicas": 1,
        "max_age": round(max_age_s * _NANOS),
        "duplicate_window": round(min(DUPLICATE_WINDOW_S, max_age_s or DUPLICATE_WINDOW_S) * _NANOS),
        "allow_direct": True,
        **more,
    }


def stream_configs() -> tuple[dict[str, Any], ...]:
    """Return the configuration of every stream, in the order in which they must be made."""
    return (
        _stream(
            TIMER_STREAM,
            (*TIMER_SUBJECTS, CANCEL_ROOT),
            max_age_s=JOURNAL_MAX_AGE_S,
            max_msg_size=MAX_FRAME + _HEADERS_ROOM,
            allow_msg_schedules=True,
            allow_msg_ttl=True,
        ),
        _stream(
            STREAM,
            JOURNAL_SUBJECTS,
            max_age_s=JOURNAL_MAX_AGE_S,
            max_msg_size=MAX_FRAME + _HEADERS_ROOM,
            # When the disk is full a publish is refused; nothing that was accepted is dropped for it.
            discard="new",
            deny_delete=True,
            deny_purge=True,
            allow_msg_ttl=True,
            sources=[{"name": TIMER_STREAM, "filter_subject": TIMER_SUBJECTS[1]}],
        ),
        _stream(SYSTEM_STREAM, (SYSTEM_ROOT,), max_age_s=_EVENTS_MAX_AGE_S, max_msgs=100_000),
        _stream(
            ADVISORY_STREAM,
            (f"{EXHAUSTED_ROOT}.>", f"{TERMINATED_ROOT}.>"),
            max_age_s=_EVENTS_MAX_AGE_S,
            max_msgs=100_000,
        ),
        _stream(
            SNAPSHOT_STREAM,
            (f"$KV.{SNAPSHOT_BUCKET}.>",),
            max_age_s=0,
            max_msgs_per_subject=1,
            discard="new",
            deny_delete=True,
            allow_rollup_hdrs=True,
        ),
    )


def consumer_config(queue: WorkQueue) -> dict[str, Any]:
    """Return the configuration of a work queue's durable."""
    return {
        "durable_name": queue.durable,
        "name": queue.durable,
        "filter_subject": queue.filter,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": round(ACK_WAIT_S * _NANOS),
        "max_deliver": MAX_DELIVERIES,
        "max_ack_pending": MAX_ACK_PENDING,
        "replay_policy": "instant",
        "num_replicas": 1,
    }


def replicated(config: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Return a stream's or durable's configuration, kept by so many nodes of a cluster.

    A single message may then be read from a node that is some milliseconds behind. Whoever reads one knows that: "not
    there" is asked again (`MachineHost._compare`) or costs work that is done twice and fenced off (`WorkerHost`).
    """
    return {**config, "num_replicas": replicas}


async def ensure(url: str, password: str, replicas: int = 1) -> None:
    """Create what is missing and bring what differs up to date.

    Args:
        password: that of user `admin`.
        replicas: how many nodes of the broker keep each stream: 1, or 3 with a cluster.

    Raises:
        BrokerDownError: not reachable, or the password is wrong.
        BrokerError: the broker refuses a stream or queue; the text says which and why.
    """
    link = await open_link(url, user=ADMIN_USER, password=password, name="setup")
    try:
        for config in stream_configs():
            await _ensure_stream(link, replicated(config, replicas))
        for queue in WORK_QUEUES:
            # A create with the same name brings a consumer up to date.
            subject = f"$JS.API.CONSUMER.CREATE.{STREAM}.{queue.durable}.{queue.filter}"
            await _ask(link, subject, {"stream_name": STREAM, "config": replicated(consumer_config(queue), replicas)})
    finally:
        await link.close()


async def _ensure_stream(link: Link, config: dict[str, Any]) -> None:
    created = await _call(link, f"$JS.API.STREAM.CREATE.{config['name']}", config)
    error = created.get("error")
    if error is None:
        return
    if error.get("err_code") != _NAME_IN_USE:
        raise BrokerError(f"the broker refuses stream {config['name']}: {error.get('description')}")
    await _ask(link, f"$JS.API.STREAM.UPDATE.{config['name']}", config)


async def _ask(link: Link, subject: str, body: dict[str, Any]) -> None:
    error = (await _call(link, subject, body)).get("error")
    if error is not None:
        raise BrokerError(f"the broker refuses {subject}: {error.get('description')}")


async def _call(link: Link, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(body).encode()
    try:
        answer, _ = await persist(
            link, lambda within_s: link.request(subject, data, timeout_s=within_s), total_s=_API_S, try_s=_TRY_S
        )
    except NoAnswerError as error:
        raise BrokerError(f"the broker does not answer {subject}: {error}") from error
    parsed: dict[str, Any] = json.loads(answer.data)
    return parsed
