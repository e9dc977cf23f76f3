"""Every role's secrets in the hands of an attacker with a client of his own, against every subject and every call of
the broker: what the broker refuses, and what it lets pass and the gate refuses by name."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from broker.errors import Refusal
from broker.gate import Gate
from broker.jetstream import connect
from broker.port import Stored
from broker.subjects import AGENTS, READERS, ROLES, RULES, WORK_QUEUES, Role, matches
from tests.support.attack import OWN_PLACE, Attempt, RawClient, attack, forged, subject_of
from tests.support.nats_server import NatsServer
from tests.support.signing import master

pytestmark = pytest.mark.integration

LOG_AGENT_MAY = (
    r"publish claim as log on triage\.claim\.log\..*",
    r"publish result as log on triage\.result\.log\..*",
    OWN_PLACE + r" \S+ as \w+ on triage\.claim\.log\..*",
    r"pull w-log on .*",
    r"acknowledge w-log on .*",
    r"have .* on triage\.result\.log\..*",
    r"have .* on \$JS\.API\.DIRECT\.GET\.TRIAGE\.triage\.result\.log\..*",
    r"have .* on \$JS\.API\.CONSUMER\.MSG\.NEXT\.TRIAGE\.w-log",
)
"""Everything that the broker lets whoever is the LogAgent do. What else there is it must refuse."""


@pytest.fixture(scope="module")
def attempts(shared_nats: NatsServer) -> dict[Role, list[Attempt]]:
    """What came of every role's attack on one broker."""
    return {role: attack(shared_nats.url, role, master().restricted_to(role), f"m-{role}") for role in ROLES}


async def judged(server: NatsServer, mark: str) -> list[tuple[str, str]]:
    """Return (subject, refusal) of every journal message whose subject carries the mark; an empty text is none."""
    broker = await connect(server.url, role="reader", instance="judge", password=server.passwords["reader"])
    gate, found = Gate(master()), []
    try:
        async for item in broker.read(follow=False):
            if not isinstance(item, Stored) or mark not in item.subject:
                continue
            try:
                gate.admit(item)
                found.append((item.subject, ""))
            except Refusal as refusal:
                found.append((item.subject, refusal.name))
    finally:
        await broker.close()
    return found


@pytest.mark.parametrize("role", ROLES)
class TestEveryRole:
    def test_speaks_where_the_rules_let_it_and_nowhere_else(
        self, attempts: dict[Role, list[Attempt]], role: Role
    ) -> None:
        said = [attempt for attempt in attempts[role] if attempt.what.startswith("publish ")]
        assert len(said) == len(RULES)
        for attempt, rule in zip(said, RULES, strict=True):
            senders = {sender for other in RULES if other.pattern == rule.pattern for sender in other.senders}
            may = role in senders and not rule.pattern.startswith("triage.due.")
            assert (attempt.outcome != "refused") is may, attempt

    def test_hears_nobody_elses_answers(self, attempts: dict[Role, list[Attempt]], role: Role) -> None:
        heard = {
            attempt.subject for attempt in attempts[role] if attempt.what == "listen" and attempt.outcome == "done"
        }
        assert heard == ({"_INBOX_scheduler.>"} if role == "scheduler" else set())

    def test_takes_and_acknowledges_only_its_own_work(self, attempts: dict[Role, list[Attempt]], role: Role) -> None:
        outcomes = {attempt.what: attempt.outcome for attempt in attempts[role]}
        for queue in WORK_QUEUES:
            assert (outcomes[f"pull {queue.durable}"] != "refused") is (queue.role == role)
            acknowledges = queue.role == role or role in ("scheduler", "monitor")
            assert (outcomes[f"acknowledge {queue.durable}"] != "refused") is acknowledges

    def test_purges_deletes_and_changes_nothing(self, attempts: dict[Role, list[Attempt]], role: Role) -> None:
        forbidden = re.compile(r"(purge|delete|update|create|snapshot|restore|pause|change|new reader|push)\b")
        tried = [attempt for attempt in attempts[role] if forbidden.match(attempt.what)]
        assert len(tried) > 40
        done = [attempt for attempt in tried if attempt.outcome not in ("refused", "error")]
        assert done == []

    def test_reads_the_journal_only_as_a_reader(self, attempts: dict[Role, list[Attempt]], role: Role) -> None:
        looked = [a for a in attempts[role] if a.what in ("look up", "read by a filter")]
        assert len(looked) == 8
        for attempt in looked:
            own = role in READERS or (
                role == "metric" and attempt.subject.endswith("CREATE.TRIAGE.m-metric.triage.telemetry.orders")
            )
            task = attempt.what == "look up" and attempt.subject.endswith(f"triage.task.{role}.x.t1.a1")
            assert (attempt.outcome != "refused") is (own or task), attempt

    def test_writes_no_other_machines_state(self, attempts: dict[Role, list[Attempt]], role: Role) -> None:
        for attempt in attempts[role]:
            if attempt.what.startswith("overwrite the snapshot"):
                assert (attempt.outcome != "refused") is attempt.what.endswith(f"the {role}"), attempt

    def test_never_looks_at_the_server_itself(self, attempts: dict[Role, list[Attempt]], role: Role) -> None:
        for attempt in attempts[role]:
            if attempt.what in ("look at the server", "look around"):
                assert attempt.outcome == "refused", attempt


def test_the_log_agent_may_do_exactly_this(attempts: dict[Role, list[Attempt]]) -> None:
    """Written out by hand, so that a right added by mistake is seen here."""
    passed = [f"{a.what} on {a.subject}" for a in attempts["log"] if a.outcome != "refused"]
    unexpected = [line for line in passed if not any(re.fullmatch(pattern, line) for pattern in LOG_AGENT_MAY)]
    assert unexpected == []
    unused = [pattern for pattern in LOG_AGENT_MAY if not any(re.fullmatch(pattern, line) for line in passed)]
    assert unused == []


@pytest.mark.asyncio
@pytest.mark.parametrize("role", sorted(AGENTS | {"sensors"}))
async def test_what_gets_past_the_broker_is_refused_by_the_gate_by_name(
    shared_nats: NatsServer, attempts: dict[Role, list[Attempt]], role: Role
) -> None:
    passed = [a for a in attempts[role] if a.outcome == "done" and matches("triage.>", a.subject)]
    found = await judged(shared_nats, f"m-{role}")
    assert len(found) >= len(passed) > 20
    names = Counter(name for _, name in found)
    assert names[""] == 0, "something was believed"
    assert set(names) <= {"bad_mac", "wrong_channel", "bad_frame", "wrong_schema", "unknown_key_version"}
    # A lie under its own name in its own place is the one thing no wall can stop: here its payload is no contract.
    own = [subject for subject, name in found if name == "wrong_schema"]
    assert all(role in rule.senders for subject in own for rule in RULES if matches(rule.pattern, subject))


@pytest.mark.asyncio
@pytest.mark.parametrize("role", sorted(AGENTS))
async def test_answers_that_are_put_into_a_foreign_queue_are_refused_there(
    shared_nats: NatsServer, attempts: dict[Role, list[Attempt]], role: Role
) -> None:
    tried = {a.target for a in attempts[role] if a.target}
    assert len(tried) == 5
    standing = {subject: name for subject, name in await judged(shared_nats, f"m-{role}") if subject in tried}
    assert standing, "the broker does not check replies: some of them did get there"
    assert set(standing.values()) <= {"bad_frame", "bad_mac", "wrong_channel"}
    # Signed with a key that an agent must hold to verify its own orders: what gives it away is how it got there.
    [relayed] = [subject for subject in standing if "relayed" in subject]
    assert standing[relayed] == "wrong_channel"


def test_another_roles_password_is_not_guessed_from_a_keyring(shared_nats: NatsServer) -> None:
    ring = master().restricted_to("log")
    with pytest.raises(ConnectionError, match=r"Authorization Violation|hung up|reset by peer"):
        RawClient(shared_nats.url, "scheduler", ring.broker_password())


def test_the_forgeries_are_good_enough_to_prove_something() -> None:
    """With the right keys the same forgery passes everything but the schema: it is the keys that are missing."""
    rule = next(rule for rule in RULES if rule.type == "task" and rule.channel == "task-action")
    frame = forged(rule, master(), "scheduler/scheduler-1")
    with pytest.raises(Refusal) as refusal:
        Gate(master()).admit(Stored(1, time.time_ns() // 1_000, subject_of(rule, "x"), frame))
    assert refusal.value.name == "wrong_schema"
