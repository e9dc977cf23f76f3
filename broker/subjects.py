"""The only place that names subjects, streams, durables, roles, channels and who may say what.

The gate, the keyring, the worker host and the broker's own configuration (`deploy/nats`) are all made from `RULES`:
a wall that stands here stands in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from broker.contracts.plan import AgentKind

STREAM = "TRIAGE"
"""The one journal."""
ROOT = "triage.>"
TIMER_STREAM = "TIMERS"
"""Where timers wait; the journal takes their due messages from it. A stream of its own because a stream that schedules
messages also obeys `Nats-Rollup`: in the journal any publisher could wipe everything with that header (docs/adr)."""
CANCEL_ROOT = "cancel.*"
"""`cancel.<role>`: carrier of the header that takes a timer back. In TIMER_STREAM, gone after a second."""
SYSTEM_STREAM = "SYSEV"
"""The broker's own connect and disconnect events, captured."""
SYSTEM_ROOT = "sysev.>"
ADVISORY_STREAM = "ADV"
"""The broker's advisories: deliveries used up, messages terminated."""
EXHAUSTED_ROOT = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{STREAM}"
TERMINATED_ROOT = f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{STREAM}"
SNAPSHOT_BUCKET = "SNAPSHOTS"

AGENT_KINDS: tuple[AgentKind, ...] = get_args(AgentKind)

Role = Literal[
    "operator", "scheduler", "planner", "monitor", "sensors", "auditor", "log", "metric", "action", "runbook", "reader"
]
ROLES: tuple[Role, ...] = get_args(Role)
CONTROL: frozenset[Role] = frozenset({"scheduler", "planner", "monitor"})
READERS: frozenset[Role] = CONTROL | {"operator", "auditor", "reader"}
"""Roles that read the whole journal. `reader` is the harness and the dashboard: they verify and never sign."""
AGENTS: frozenset[Role] = frozenset({"log", "metric", "action", "runbook"})
ADMIN_USER = "admin"
"""The broker's user that creates streams and consumers; no role runs as it."""
SYSTEM_USER = "sys"
"""The broker's user of the system account: looks at and disconnects connections."""
BROKER_USERS: tuple[str, ...] = (*ROLES, ADMIN_USER, SYSTEM_USER)


@dataclass(frozen=True, slots=True)
class Rule:
    """On `pattern` stand only messages of `type`, signed with `channel`'s key by one of `senders`.

    `readers` are the roles that must be able to verify it, besides the senders.
    """

    pattern: str
    type: str
    channel: str
    senders: frozenset[Role]
    readers: frozenset[Role]


def _rule(pattern: str, type_: str, channel: str, senders: set[Role], readers: frozenset[Role] = READERS) -> Rule:
    return Rule(f"triage.{pattern}", type_, channel, frozenset(senders), readers)


def _agent_rules(kind: AgentKind) -> tuple[Rule, ...]:
    own: frozenset[Role] = frozenset({kind})
    return (
        _rule(f"task.{kind}.*.*.*", "task", f"task-{kind}", {"scheduler"}, READERS | own),
        _rule(f"claim.{kind}.*.*.*", "claim", f"agent-{kind}", {kind}),
        _rule(f"result.{kind}.*.*.*", "result", f"agent-{kind}", {kind}),
    )


RULES: tuple[Rule, ...] = (
    _rule("incident.*.reported", "incident.reported", "operator", {"operator"}),
    _rule("incident.*.reported", "incident.reported", "control", {"monitor"}),
    _rule("incident.*.asked.*", "incident.asked", "control", {"scheduler"}),
    _rule("incident.*.answered.*", "incident.answered", "operator", {"operator"}),
    _rule("incident.*.closed", "incident.closed", "control", {"scheduler"}),
    _rule("telemetry.*", "telemetry", "sensor", {"sensors"}, READERS | {"metric"}),
    _rule("plan.*.*.*.requested", "plan.requested", "control", {"scheduler"}),
    _rule("plan.*.*.*.prompted", "plan.prompted", "control", {"planner"}),
    _rule("plan.*.*.*.answered", "plan.answered", "control", {"planner"}),
    _rule("plan.*.*.*.proposed", "plan.proposed", "control", {"planner"}),
    _rule("plan.*.*.*.accepted", "plan.accepted", "control", {"scheduler"}),
    _rule("plan.*.*.*.rejected", "plan.rejected", "control", {"scheduler"}),
    _rule("plan.*.*.executed", "plan.executed", "control", {"scheduler"}),
    *(rule for kind in AGENT_KINDS for rule in _agent_rules(kind)),
    _rule("dead.*.*.*", "dead", "control", {"scheduler"}),
    _rule("deviation.*.*", "deviation", "control", {"monitor"}),
    _rule("verified.*.*", "verified", "control", {"monitor"}),
    _rule("agent.*.up", "agent.up", "control", {"monitor"}),
    _rule("agent.*.lost", "agent.lost", "control", {"monitor"}),
    _rule("timer.scheduler.*", "timer", "control", {"scheduler"}),
    _rule("timer.monitor.*", "timer", "control", {"monitor"}),
    _rule("due.scheduler.*", "timer", "control", {"scheduler"}),
    _rule("due.monitor.*", "timer", "control", {"monitor"}),
    _rule("approval.*.*.requested", "approval.requested", "control", {"scheduler"}),
    _rule("approval.*.*.granted", "approval.granted", "operator", {"operator"}),
    _rule("approval.*.*.denied", "approval.denied", "operator", {"operator"}),
    _rule("approval.*.*.expired", "approval.expired", "control", {"scheduler"}),
    _rule("control.halt", "control.halt", "broadcast", {"operator"}, READERS | AGENTS),
    _rule("control.resume", "control.resume", "broadcast", {"operator"}, READERS | AGENTS),
    _rule("control.rotate", "control.rotate", "broadcast", {"operator"}, READERS | AGENTS),
    _rule("control.takeover.*.*", "control.takeover", "control", {"scheduler", "planner", "monitor"}),
    _rule("audit.checkpoint.*", "audit.checkpoint", "audit", {"auditor"}),
)

_BY_TOPIC: dict[str, tuple[Rule, ...]] = {
    topic: tuple(rule for rule in RULES if rule.pattern.split(".")[1] == topic)
    for topic in dict.fromkeys(rule.pattern.split(".")[1] for rule in RULES)
}
"""Every message is held against the rules: only those of its second token can fit."""

TIMER_SUBJECTS: tuple[str, ...] = ("triage.timer.>", "triage.due.>")
"""Kept in TIMER_STREAM; what is due is copied into the journal by the broker."""
JOURNAL_SUBJECTS: tuple[str, ...] = tuple(
    dict.fromkeys(
        topic for rule in RULES if (topic := ".".join(rule.pattern.split(".")[:2]) + ".>") not in TIMER_SUBJECTS
    )
)
"""What is published straight into STREAM."""

CHANNELS: tuple[str, ...] = tuple(dict.fromkeys(rule.channel for rule in RULES))


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """A shared pull consumer: every instance of `role` takes from it."""

    durable: str
    filter: str
    role: Role


WORK_QUEUES: tuple[WorkQueue, ...] = (
    *(WorkQueue(f"w-{kind}", f"triage.task.{kind}.>", kind) for kind in AGENT_KINDS),
    WorkQueue("w-planner", "triage.plan.*.*.*.prompted", "planner"),
)

ACK_WAIT_S = 5.0
"""Backstop of reassignment: the broker hands a silent worker's message on after this."""
MAX_DELIVERIES = 3
PING_INTERVAL_S = 2.0
PING_MAX = 2
"""A hung client is disconnected after 5.0-5.2 s: the spec's heartbeat of 2 s and time-out of 5 s."""
DUPLICATE_WINDOW_S = 300.0
"""More than an envelope's life and twice the skew."""
TELEMETRY_TTL_S = 3_600
JOURNAL_MAX_AGE_S = 7 * 24 * 3_600


@lru_cache(maxsize=512)
def _split(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("."))


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject fits a pattern with `*` (one token) and a final `>` (one or more)."""
    wanted, given = _split(pattern), subject.split(".")
    for position, part in enumerate(wanted):
        if part == ">":
            return len(given) > position
        if position >= len(given) or part not in ("*", given[position]):
            return False
    return len(wanted) == len(given)


@lru_cache(maxsize=4_096)
def rules_for(subject: str) -> tuple[Rule, ...]:
    """Return the rules whose pattern fits the subject; empty if nobody may speak there."""
    topic = subject.split(".", 2)[1:2]
    return tuple(rule for rule in _BY_TOPIC.get(topic[0] if topic else "", ()) if matches(rule.pattern, subject))


def channel_of(subject: str, role: Role) -> str | None:
    """Return the channel with whose key `role` signs messages on `subject`, or None if it may not."""
    return next((rule.channel for rule in rules_for(subject) if role in rule.senders), None)


def channels_of(role: Role) -> tuple[str, ...]:
    """Return the channels whose keys a role must hold, to sign or to verify. Nothing else belongs in its key file."""
    return tuple(dict.fromkeys(rule.channel for rule in RULES if role in rule.senders or role in rule.readers))


def claim_of(task_subject: str) -> str:
    """Return the claim's subject of a task's subject."""
    return task_subject.replace("triage.task.", "triage.claim.", 1)


def result_of(task_subject: str) -> str:
    """Return the result's subject of a task's subject."""
    return task_subject.replace("triage.task.", "triage.result.", 1)


def timer_subject(machine: str, timer_id: str) -> str:
    """Return where a machine's timer waits."""
    return f"triage.timer.{machine}.{timer_id}"


def stream_of(subject: str) -> str:
    """Return the stream in which the newest message of a subject is looked up: timers wait beside the journal."""
    return TIMER_STREAM if matches(TIMER_SUBJECTS[0], subject) else STREAM


def inbox_prefix(user: str) -> str:
    """Return where the broker's answers to a user go; nobody else may listen there."""
    return f"_INBOX_{user}"
