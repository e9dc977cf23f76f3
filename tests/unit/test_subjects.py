"""Subjects and rules: what fits, who may speak, which keys a role holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contracts.registry import CONTRACTS
from broker.subjects import (
    AGENTS,
    CHANNELS,
    JOURNAL_SUBJECTS,
    READERS,
    ROLES,
    RULES,
    TIMER_SUBJECTS,
    WORK_QUEUES,
    Role,
    channel_of,
    channels_of,
    claim_of,
    matches,
    result_of,
    rules_for,
    stream_of,
    timer_subject,
)

TASK = "triage.task.action.i1.v1-t1.a1"


class TestMatching:
    @pytest.mark.parametrize(
        ("pattern", "subject", "fits"),
        [
            ("a.b", "a.b", True),
            ("a.b", "a.b.c", False),
            ("a.b.c", "a.b", False),
            ("a.*", "a.b", True),
            ("a.*", "a", False),
            ("a.*", "a.b.c", False),
            ("a.>", "a.b.c", True),
            ("a.>", "a", False),
            (">", "a", True),
            ("a.*.c", "a.b.c", True),
            ("a.*.c", "a.b.d", False),
            ("*.b", "a.b", True),
        ],
    )
    def test_wildcards_mean_what_the_broker_means(self, pattern: str, subject: str, fits: bool) -> None:
        assert matches(pattern, subject) is fits

    @given(st.lists(st.text(st.characters(exclude_characters=".*>"), min_size=1), min_size=1, max_size=6))
    def test_a_subject_fits_itself_and_everything(self, tokens: list[str]) -> None:
        subject = ".".join(tokens)
        assert matches(subject, subject)
        assert matches(">", subject)
        assert matches(".".join("*" for _ in tokens), subject)
        assert not matches(f"{subject}.>", subject)


class TestRules:
    def test_every_type_has_a_rule_and_every_rule_a_type(self) -> None:
        assert {rule.type for rule in RULES} == set(CONTRACTS)

    def test_senders_and_readers_are_roles(self) -> None:
        for rule in RULES:
            assert rule.senders, rule
            assert rule.senders | rule.readers <= set(ROLES)

    def test_no_subject_lets_two_types_stand(self) -> None:
        for rule in RULES:
            example = rule.pattern.replace("*", "x")
            assert {other.type for other in rules_for(example)} == {rule.type}

    @pytest.mark.parametrize(
        ("subject", "role", "channel"),
        [
            (TASK, "scheduler", "task-action"),
            (TASK, "action", None),
            (TASK, "planner", None),
            ("triage.result.action.i1.v1-t1.a1", "action", "agent-action"),
            ("triage.result.action.i1.v1-t1.a1", "log", None),
            ("triage.control.halt", "operator", "broadcast"),
            ("triage.control.halt", "scheduler", None),
            ("triage.incident.i1.reported", "monitor", "control"),
            ("triage.incident.i1.reported", "operator", "operator"),
            ("triage.due.monitor.t1", "scheduler", None),
            ("triage.nothing", "operator", None),
        ],
    )
    def test_who_speaks_under_which_channel(self, subject: str, role: Role, channel: str | None) -> None:
        assert channel_of(subject, role) == channel

    def test_whoever_reads_the_journal_can_verify_all_of_it(self) -> None:
        for role in READERS:
            assert set(channels_of(role)) == set(CHANNELS), role

    def test_an_agent_holds_its_own_channels_and_no_other_kinds(self) -> None:
        assert set(channels_of("log")) == {"task-log", "agent-log", "broadcast"}
        assert set(channels_of("metric")) == {"task-metric", "agent-metric", "broadcast", "sensor"}
        assert channels_of("sensors") == ("sensor",)


class TestNames:
    def test_claim_and_result_stand_beside_their_task(self) -> None:
        assert claim_of(TASK) == "triage.claim.action.i1.v1-t1.a1"
        assert result_of(TASK) == "triage.result.action.i1.v1-t1.a1"
        assert timer_subject("scheduler", "t1") == "triage.timer.scheduler.t1"

    def test_queues_take_only_what_their_role_may_read(self) -> None:
        for queue in WORK_QUEUES:
            fitting = [rule for rule in RULES if matches(queue.filter, rule.pattern.replace("*", "x"))]
            assert fitting
            assert all(queue.role in rule.readers for rule in fitting)
        assert {queue.role for queue in WORK_QUEUES} == AGENTS | {"planner"}


class TestStreams:
    def test_every_subject_is_kept_in_exactly_one_stream(self) -> None:
        for rule in RULES:
            example = rule.pattern.replace("*", "x")
            homes = [pattern for pattern in (*JOURNAL_SUBJECTS, *TIMER_SUBJECTS) if matches(pattern, example)]
            assert len(homes) == 1, example

    def test_a_waiting_timer_is_looked_up_beside_the_journal_and_a_due_one_in_it(self) -> None:
        assert stream_of("triage.timer.scheduler.t1") == "TIMERS"
        assert stream_of("triage.due.scheduler.t1") == "TRIAGE"
        assert stream_of(TASK) == "TRIAGE"
