"""What each broker user may publish and subscribe to, derived from `broker.subjects` and nothing else.

The walls are those of the gate, said a second time by the broker: a stolen key without its broker user cannot speak, a
stolen broker user without its key is not believed.

Reading the journal means creating a consumer, and JetStream lets whoever may create one also *change* one of the same
name. Hence the denials: nobody but `admin` names a work queue's durable in a create. The filter stands in the create's
subject, so that a permission can bound what is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.subjects import (
    ADVISORY_STREAM,
    AGENTS,
    CONTROL,
    EXHAUSTED_ROOT,
    READERS,
    ROLES,
    ROOT,
    RULES,
    SNAPSHOT_BUCKET,
    STREAM,
    SYSTEM_ROOT,
    SYSTEM_STREAM,
    TIMER_STREAM,
    WORK_QUEUES,
    Role,
    inbox_prefix,
)

CONTROL_MESSAGES = "triage.control.>"
TELEMETRY = "triage.telemetry.>"
_BROKER_ONLY = "triage.due."
"""Due timers come from the broker itself; no user publishes them."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subject patterns of one user. Anything not allowed is refused."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    publish_denied: tuple[str, ...] = field(default=())


def permissions_of(role: Role) -> Permissions:
    """Return the permissions of a role's broker user."""
    publish = (
        *_own_subjects(role),
        *_own_queues(role),
        *_reading(role),
        *_machine_rights(role),
        *((f"cancel.{role}",) if role in CONTROL | AGENTS else ()),
        *(("$JS.FC.>",) if _read_patterns(role) else ()),
    )
    return Permissions(
        publish=tuple(dict.fromkeys(publish)),
        subscribe=(f"{inbox_prefix(role)}.>",),
        publish_denied=_creates_of_durables() if _read_patterns(role) else (),
    )


def all_permissions() -> dict[Role, Permissions]:
    """Return the permissions of every role."""
    return {role: permissions_of(role) for role in ROLES}


def _own_subjects(role: Role) -> list[str]:
    return [rule.pattern for rule in RULES if role in rule.senders and not rule.pattern.startswith(_BROKER_ONLY)]


def _own_queues(role: Role) -> list[str]:
    rights = []
    for queue in WORK_QUEUES:
        if queue.role == role:
            rights += [f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{queue.durable}", _acknowledge(queue.durable)]
    return rights


def _acknowledge(durable: str) -> str:
    return f"$JS.ACK.{STREAM}.{durable}.>"


def _read_patterns(role: Role) -> tuple[str, ...]:
    if role in READERS:
        return (ROOT,)
    if role == "metric":
        return (CONTROL_MESSAGES, TELEMETRY)
    return (CONTROL_MESSAGES,) if role in AGENTS else ()


def _reading(role: Role) -> list[str]:
    rights = [f"$JS.API.CONSUMER.CREATE.{STREAM}.*.{pattern}" for pattern in _read_patterns(role)]
    if role in READERS:
        got = (f"$JS.API.DIRECT.GET.{stream}.{ROOT}" for stream in (STREAM, TIMER_STREAM))
        return [*rights, *got, f"$JS.API.STREAM.INFO.{STREAM}"]
    if role in AGENTS:
        known = (f"triage.{part}.{role}.>" for part in ("task", "claim", "result"))
        rights += [f"$JS.API.DIRECT.GET.{STREAM}.{pattern}" for pattern in (*known, CONTROL_MESSAGES)]
    return rights


def _machine_rights(role: Role) -> list[str]:
    if role in ("operator", "reader"):  # who records a run needs the machines' states to begin with
        return [f"$JS.API.DIRECT.GET.KV_{SNAPSHOT_BUCKET}.$KV.{SNAPSHOT_BUCKET}.>"]
    if role not in CONTROL:
        return []
    rights = [
        f"$KV.{SNAPSHOT_BUCKET}.{role}.>",
        f"$JS.API.DIRECT.GET.KV_{SNAPSHOT_BUCKET}.$KV.{SNAPSHOT_BUCKET}.{role}.>",
    ]
    if role in ("scheduler", "monitor"):
        rights += [_acknowledge(queue.durable) for queue in WORK_QUEUES]
        rights.append(f"$JS.API.CONSUMER.CREATE.{ADVISORY_STREAM}.*.{EXHAUSTED_ROOT}.>")
    if role == "monitor":
        rights.append(f"$JS.API.CONSUMER.CREATE.{SYSTEM_STREAM}.*.{SYSTEM_ROOT}")
    return rights


def _creates_of_durables() -> tuple[str, ...]:
    return tuple(f"$JS.API.CONSUMER.CREATE.{STREAM}.{queue.durable}.>" for queue in WORK_QUEUES)
