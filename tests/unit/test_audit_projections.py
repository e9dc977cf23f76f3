"""What stands beside the chain: columns of an envelope, rows of the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from auditor_svc.chain import ACCEPTED, NUMBER_MAX
from auditor_svc.projections import NOTHING, PROJECTED, TABLES, Fact, columns_of, project, project_again
from broker.contracts.incident import IncidentClosed
from broker.contracts.plan import PlanRejected, Reason
from broker.envelope import open_frame
from tests.support.audit import START_US, halt, incident_messages, sealed, telemetry

NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US)


def facts() -> dict[str, Fact]:
    found = [project(i, START_US, message) for i, (_, message) in enumerate(incident_messages(), start=1)]
    return {fact.table: fact for fact in found if fact is not None}


def named(table: str) -> dict[str, object]:
    return dict(zip(TABLES[table], facts()[table].values, strict=True))


def test_columns_are_what_the_frame_says() -> None:
    frame = sealed()(halt())
    envelope = open_frame(frame)
    columns = columns_of(frame, ACCEPTED)
    for name in ("sender", "type", "channel", "key_version", "tag", "cause", "nonce", "ttl_s"):
        assert getattr(columns, name) == getattr(envelope, name)
    assert columns.payload == envelope.payload.decode() == '{"reason":"test"}'


def test_a_refused_messages_payload_is_not_shown_as_if_it_were_true() -> None:
    assert columns_of(sealed()(halt()), "bad_mac").payload is None


@pytest.mark.parametrize("verdict", ["bad_frame", "too_large"])
def test_bytes_that_were_not_taken_apart_have_no_columns(verdict: str) -> None:
    assert columns_of(b"\xc1", verdict) == NOTHING


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x80", b"\x01"])
def test_bytes_that_cannot_have_been_accepted_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no frame"):
        columns_of(data, ACCEPTED)


def test_every_table_is_filled_by_an_incident() -> None:
    assert set(facts()) == set(TABLES)
    assert all(fact.values[-1] == NOW for fact in facts().values())


def test_a_plans_row_has_its_hypothesis_and_the_whole_plan() -> None:
    row = named("plans")
    assert (row["target"], row["fault_class"], row["confidence"]) == ("orders", "config_drift", 0.9)
    assert '"task_id":"t1"' in str(row["plan"])
    assert row["repairs"] == '["quoted"]'


def test_a_model_run_has_what_the_specification_lists() -> None:
    row = named("llm_runs")
    assert (row["run_id"], row["model"], row["temp"], row["tokens"]) == ("inc1.v1.a1", "small", 0.0, 120)
    assert (row["prompt_hash"], row["response_hash"]) == ("ab" * 32, "cd" * 32)
    assert row["model_config"] == '{"temperature":0.0,"seed":42}'
    assert row["response"] == '{"target": "orders"}\u2400'
    assert named("llm_prompts")["run_id"] == row["run_id"]


def test_a_rejected_plan_keeps_the_reasons() -> None:
    message = PlanRejected(
        incident="inc1", version=1, attempt=1, plan_id="p", reasons=(Reason(code="cycle", detail="t1 -> t1"),)
    )
    fact = project(9, START_US, message)
    assert fact is not None
    assert fact.values[4:6] == (False, '[{"code":"cycle","detail":"t1 -> t1"}]')


def test_a_number_that_no_column_can_hold_is_bounded() -> None:
    fact = project(
        1, START_US, IncidentClosed(incident="i", verdict="merged", reason="", plan_version=2**70, actions=0)
    )
    assert fact is not None
    assert fact.values[3] == NUMBER_MAX


def test_most_messages_have_no_table() -> None:
    assert project(1, START_US, telemetry("orders")) is None
    assert project(1, START_US, halt()) is None


def test_a_projection_made_again_from_the_payload_is_the_same() -> None:
    for seq, (_, message) in enumerate(incident_messages(), start=1):
        assert message.TYPE in PROJECTED
        again = project_again(seq, START_US, message.TYPE, message.encode().decode())
        assert again == project(seq, START_US, message)
