"""The gate against named attacks: each is refused by its own name, and what is legitimate still passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Halt, Resume, Timer
from broker.contracts.incident import IncidentReported
from broker.contracts.monitor import Verified
from broker.contracts.task import Claim, Result, Task
from broker.envelope import DEFAULT_TTL_S, FIELDS, MAX_FRAME, Envelope, Signer, open_frame
from broker.errors import (
    REFUSALS,
    BadFrameError,
    BadMacError,
    ExpiredError,
    FromTheFutureError,
    Refusal,
    ReplayedError,
    SchemaError,
    TooLargeError,
    UnknownKeyVersionError,
    WrongChannelError,
)
from broker.gate import SKEW_S, Gate
from broker.keyring import Keyring
from broker.port import Stored
from broker.subjects import Role
from tests.support.signing import gate, master, signer

NOW_US = 1_750_000_000_000_000
SECOND = 1_000_000

TASK = Task(
    incident="i1",
    task_id="v1-t1",
    attempt=1,
    kind="action",
    type="restart",
    target="orders",
    args={},
    plan_version=1,
    risk="risky",
    timeout_s=10.0,
    timer_id="task-i1-v1-t1-a1",
)
RESULT = Result(incident="i1", task_id="v1-t1", attempt=1, kind="action", instance="one", status="OK", out="done")
TIMER = Timer(machine="scheduler", timer_id="t1", due_us=NOW_US + 60 * SECOND, purpose="task")
REPORT = IncidentReported(incident="i1", text="orders fail", source="operator")


def seal(role: Role, message: Contract, *, ts_us: int = NOW_US, version: int = 1, **more: Any) -> bytes:
    return Signer(role, "one", master(version).restricted_to(role), clock=lambda: ts_us).seal(message, **more)


def at(subject: str, frame: bytes, seq: int = 10, time_us: int = NOW_US) -> Stored:
    return Stored(seq, time_us, subject, frame)


def resigned(frame: bytes, key: bytes, **changes: Any) -> bytes:
    """A frame with other fields, signed properly with a key the forger holds."""
    forged = open_frame(frame)._replace(**changes)
    return forged._replace(hmac=forged.mac(key)).to_frame()


class TestWhatPasses:
    def test_a_message_where_it_belongs_with_everything_a_machine_needs(self) -> None:
        frame = seal("scheduler", TASK, tag="LLM_DECISION")
        trusted = gate("action").admit(at(TASK.subject(), frame), now_us=NOW_US)
        assert trusted.message == TASK
        event = trusted.event()
        assert (event.seq, event.time_us, event.subject) == (10, NOW_US, TASK.subject())
        assert (event.payload, event.sender, event.tag) == (TASK, "scheduler/one", "LLM_DECISION")

    def test_a_redelivered_task_is_admitted_again(self) -> None:
        one = gate("action")
        stored = at(TASK.subject(), seal("scheduler", TASK))
        assert one.admit(stored, now_us=NOW_US) == one.admit(stored, now_us=NOW_US + SECOND)

    def test_a_timer_comes_back_once_on_its_due_subject(self) -> None:
        one, frame = gate("scheduler"), seal("scheduler", TIMER)
        one.admit(at(TIMER.subject(), frame, seq=10))
        due = at(TIMER.due_subject(), frame, seq=4, time_us=TIMER.due_us)
        assert one.admit(due).message == TIMER
        assert one.admit(due).message == TIMER, "read again at the same place"

    def test_a_due_timer_is_admitted_however_late_the_broker_was(self) -> None:
        late = at(TIMER.due_subject(), seal("scheduler", TIMER), time_us=TIMER.due_us + 3_600 * SECOND)
        assert gate("scheduler").admit(late).message == TIMER

    def test_an_old_message_is_fresh_when_read_back(self) -> None:
        stored = at(REPORT.subject(), seal("operator", REPORT), time_us=NOW_US + SECOND)
        assert gate("auditor").admit(stored).message == REPORT

    def test_without_keys_everything_else_is_still_checked(self) -> None:
        frame = seal("operator", REPORT)
        tampered = open_frame(frame)._replace(hmac=bytes(32)).to_frame()
        assert Gate(None).admit(at(REPORT.subject(), tampered)).message == REPORT
        with pytest.raises(WrongChannelError):
            Gate(None).admit(at(TASK.subject(), tampered))

    @pytest.mark.parametrize("age_s", [-SKEW_S, 0.0, DEFAULT_TTL_S, DEFAULT_TTL_S + SKEW_S])
    def test_the_edges_of_freshness_are_inside(self, age_s: float) -> None:
        frame = seal("operator", REPORT)
        gate("scheduler").admit(at(REPORT.subject(), frame), now_us=NOW_US + round(age_s * SECOND))


class TestForgedBytes:
    @pytest.mark.parametrize("name", [name for name in FIELDS if name != "v"])
    def test_each_tampered_field_is_refused(self, name: str) -> None:
        good = open_frame(seal("scheduler", TASK))
        tampered: dict[str, Any] = {
            "type": "claim",
            "channel": "control",
            "sender": "scheduler/two",
            "key_version": 2,
            "seq": good.seq + 1,
            "ts": good.ts + 1,
            "ttl_s": 3_600.0,
            "nonce": bytes(16),
            "cause": 5,
            "tag": "LLM_DECISION",
            "payload": good.payload.replace(b"orders", b"shop-db"),
            "hmac": bytes(32),
        }
        frame = good._replace(**{name: tampered[name]}).to_frame()
        reader = Gate(master(2))
        with pytest.raises((BadMacError, UnknownKeyVersionError)):
            reader.admit(at(TASK.subject(), frame), now_us=NOW_US)

    def test_another_version_of_the_envelope_is_no_frame(self) -> None:
        frame = open_frame(seal("scheduler", TASK))._replace(v=2).to_frame()
        with pytest.raises(BadFrameError):
            gate("action").admit(at(TASK.subject(), frame))

    def test_unsigned_bytes_are_refused(self) -> None:
        for data in (b"", b'{"stream":"TRIAGE","seq":1}', TASK.encode()):
            with pytest.raises(BadFrameError):
                gate("action").admit(at(TASK.subject(), data))

    def test_too_large_is_said_before_anything_is_parsed(self) -> None:
        with pytest.raises(TooLargeError):
            gate("action").admit(at(TASK.subject(), bytes(MAX_FRAME + 1)))


class TestWrongSpeakers:
    def test_an_agent_kind_cannot_answer_for_another(self) -> None:
        # The log agents' real key, on the action agents' subject, under either channel's name.
        key = master().key("agent-log", 1)
        genuine = seal("action", RESULT)
        for channel, refusal in (("agent-log", WrongChannelError), ("agent-action", BadMacError)):
            forged = resigned(genuine, key, channel=channel, sender="log/one")
            with pytest.raises(refusal):
                gate("scheduler").admit(at(RESULT.subject(), forged))

    def test_an_agent_that_names_itself_the_scheduler_has_not_its_key(self) -> None:
        forged = resigned(seal("scheduler", TASK), master().key("agent-action", 1), channel="agent-action")
        with pytest.raises(WrongChannelError):
            Gate(master()).admit(at(TASK.subject(), forged), now_us=NOW_US)

    def test_a_role_with_the_right_key_but_the_wrong_name_is_refused(self) -> None:
        # An action agent holds task-action's key to verify; signing an order with it as itself does not help.
        forged = resigned(seal("scheduler", TASK), master().key("task-action", 1), sender="action/one")
        with pytest.raises(WrongChannelError, match="action/one may not say task"):
            gate("action").admit(at(TASK.subject(), forged), now_us=NOW_US)

    def test_an_unknown_role_is_refused(self) -> None:
        forged = resigned(seal("scheduler", TASK), master().key("task-action", 1), sender="root/one")
        with pytest.raises(WrongChannelError):
            gate("action").admit(at(TASK.subject(), forged), now_us=NOW_US)

    def test_a_channel_that_the_reader_does_not_hold_is_refused(self) -> None:
        verdict = Verified(
            incident="i1", n=1, plan_version=1, ok=True, reasons=(), window_s=5.0, samples=5, success_ratio=1.0
        )
        with pytest.raises(WrongChannelError, match="hold no channel 'control'"):
            gate("action").admit(at(verdict.subject(), seal("monitor", verdict)))

    def test_nobody_may_speak_where_no_rule_is(self) -> None:
        with pytest.raises(WrongChannelError, match=r"nobody may speak on triage\.secret"):
            gate("scheduler").admit(at("triage.secret", seal("operator", REPORT)))

    def test_a_type_on_another_types_subject_is_refused(self) -> None:
        frame = seal("operator", Halt(reason="stop"))
        with pytest.raises(WrongChannelError):
            gate("action").admit(at(Resume(reason="x").subject(), frame))


class TestMovedMessages:
    def test_a_task_replayed_to_another_subject_is_refused_even_if_never_seen(self) -> None:
        frame = seal("scheduler", TASK)
        with pytest.raises(WrongChannelError, match="belongs on"):
            gate("action").admit(at("triage.task.action.i1.v1-t9.a1", frame), now_us=NOW_US)

    def test_a_message_replayed_on_its_own_subject_is_refused(self) -> None:
        one, frame = gate("action"), seal("scheduler", TASK)
        one.admit(at(TASK.subject(), frame, seq=10), now_us=NOW_US)
        with pytest.raises(ReplayedError, match="at 11 repeats the nonce of 10"):
            one.admit(at(TASK.subject(), frame, seq=11), now_us=NOW_US)

    def test_a_refused_copy_does_not_lock_out_the_original(self) -> None:
        one, frame = gate("action"), seal("scheduler", TASK)
        with pytest.raises(WrongChannelError):
            one.admit(at("triage.task.action.i1.v1-t9.a1", frame, seq=9), now_us=NOW_US)
        assert one.admit(at(TASK.subject(), frame, seq=10), now_us=NOW_US).message == TASK

    def test_a_due_timer_replayed_is_refused(self) -> None:
        one, frame = gate("scheduler"), seal("scheduler", TIMER)
        one.admit(at(TIMER.due_subject(), frame, seq=20, time_us=TIMER.due_us))
        with pytest.raises(ReplayedError):
            one.admit(at(TIMER.due_subject(), frame, seq=21, time_us=TIMER.due_us))

    def test_a_timer_set_again_after_it_fired_with_the_same_bytes_is_refused(self) -> None:
        one, frame = gate("scheduler"), seal("scheduler", TIMER)
        one.admit(at(TIMER.due_subject(), frame, seq=20, time_us=TIMER.due_us))
        with pytest.raises(ReplayedError):
            one.admit(at(TIMER.subject(), frame, seq=21))

    def test_a_timer_on_the_due_subject_of_another_is_refused(self) -> None:
        with pytest.raises(WrongChannelError, match="belongs on"):
            gate("scheduler").admit(at("triage.due.scheduler.t2", seal("scheduler", TIMER), time_us=TIMER.due_us))

    def test_a_timer_that_is_due_too_early_is_refused(self) -> None:
        early = at(TIMER.due_subject(), seal("scheduler", TIMER), time_us=TIMER.due_us - 6 * SECOND)
        with pytest.raises(FromTheFutureError, match=r"6\.0 s before it is due"):
            gate("scheduler").admit(early)


class TestTime:
    def test_an_expired_order_is_not_acted_on(self) -> None:
        stored = at(TASK.subject(), seal("scheduler", TASK))
        late_us = NOW_US + round((DEFAULT_TTL_S + SKEW_S) * SECOND) + 1
        with pytest.raises(ExpiredError, match="it lives 120 s"):
            gate("action").admit(stored, now_us=late_us)

    def test_a_message_stored_long_after_it_was_stamped_is_expired_for_ever(self) -> None:
        late_us = NOW_US + 126 * SECOND
        with pytest.raises(ExpiredError):
            gate("scheduler").admit(at(REPORT.subject(), seal("operator", REPORT), time_us=late_us))

    def test_a_stamp_beyond_the_skew_is_refused(self) -> None:
        frame = seal("operator", REPORT, ts_us=NOW_US + round(SKEW_S * SECOND) + 1)
        with pytest.raises(FromTheFutureError):
            gate("scheduler").admit(at(REPORT.subject(), frame))

    def test_a_nonce_is_remembered_as_long_as_its_message_is_fresh_and_then_forgotten(self) -> None:
        one, frame = gate("scheduler"), seal("operator", REPORT)
        one.admit(at(REPORT.subject(), frame, seq=1))
        for n, wait_s in enumerate((60, 129, 131)):
            passing = IncidentReported(incident=f"p{n}", text="x", source="operator")
            later_us = NOW_US + wait_s * SECOND
            one.admit(at(passing.subject(), seal("operator", passing, ts_us=later_us), seq=2 + n, time_us=later_us))
            refusal = ReplayedError if wait_s < 125 else ExpiredError
            with pytest.raises(refusal):
                one.admit(at(REPORT.subject(), frame, seq=90 + n, time_us=later_us))
        assert open_frame(frame).nonce not in one.dump()

    def test_memory_is_bounded_by_time(self) -> None:
        one = Gate(None)
        sealing = signer("operator")
        for n in range(600):
            now_us = NOW_US + n * SECOND
            said = IncidentReported(incident=f"i{n}", text="x", source="operator")
            frame = open_frame(sealing.seal(said))._replace(ts=now_us, nonce=n.to_bytes(16, "big")).to_frame()
            one.admit(at(said.subject(), frame, seq=n + 1, time_us=now_us))
        again = Gate(None)
        again.load(one.dump())
        assert len(one.dump()) < 135 * 48


class TestKeys:
    def test_a_version_that_was_rotated_away_is_refused(self) -> None:
        frame = seal("operator", REPORT, version=1)
        with pytest.raises(UnknownKeyVersionError, match="version 1 of channel operator"):
            Gate(_without_version(master(4), 1)).admit(at(REPORT.subject(), frame))

    def test_an_older_version_that_is_kept_still_verifies(self) -> None:
        frame = seal("operator", REPORT, version=1)
        assert gate("scheduler", version=3).admit(at(REPORT.subject(), frame)).message == REPORT

    def test_a_version_from_the_future_is_refused_until_the_keys_are_read_again(self) -> None:
        one, stored = gate("scheduler"), at(REPORT.subject(), seal("operator", REPORT, version=2))
        with pytest.raises(UnknownKeyVersionError):
            one.admit(stored)
        one.use(master(2).restricted_to("scheduler"))
        assert one.admit(stored).message == REPORT

    def test_what_was_seen_stays_seen_when_keys_change(self) -> None:
        one, frame = gate("scheduler"), seal("operator", REPORT)
        one.admit(at(REPORT.subject(), frame, seq=1))
        one.use(master(2).restricted_to("scheduler"))
        with pytest.raises(ReplayedError):
            one.admit(at(REPORT.subject(), frame, seq=2))


class TestPayload:
    @pytest.mark.parametrize(
        "payload", [b"", b"{}", b"null", b"[" * 50_000, b'{"reason": 5}', b'{"reason":"a","more":1}', b"\xff\xfe"]
    )
    def test_a_signed_payload_that_is_not_its_type_is_refused(self, payload: bytes) -> None:
        frame = resigned(seal("operator", Halt(reason="stop")), master().key("broadcast", 1), payload=payload)
        with pytest.raises(SchemaError):
            gate("action").admit(at("triage.control.halt", frame))

    def test_a_name_that_would_break_a_subject_is_refused(self) -> None:
        claim = Claim(
            incident="i1", task_id="t1", attempt=1, kind="log", instance="one", task_seq=3, delivery="$JS.ACK.x"
        )
        frame = seal("log", claim)
        payload = claim.encode().replace(b'"i1"', b'"i1.>"')
        forged = resigned(frame, master().key("agent-log", 1), payload=payload)
        with pytest.raises(SchemaError):
            gate("scheduler").admit(at(claim.subject(), forged))


class TestMemoryAcrossRestarts:
    def test_a_dumped_and_loaded_memory_refuses_the_same(self) -> None:
        before, frame = gate("scheduler"), seal("operator", REPORT)
        before.admit(at(REPORT.subject(), frame, seq=1))
        after = gate("scheduler")
        after.load(before.dump())
        assert after.dump() == before.dump()
        with pytest.raises(ReplayedError):
            after.admit(at(REPORT.subject(), frame, seq=2))
        assert after.admit(at(REPORT.subject(), frame, seq=1)).message == REPORT

    @pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x90", b'{"v":1}', b"\x81\xa1v\x01", b"\x81\xa1v\x02"])
    def test_a_damaged_memory_is_refused_and_the_old_one_kept(self, data: bytes) -> None:
        one, frame = gate("scheduler"), seal("operator", REPORT)
        one.admit(at(REPORT.subject(), frame, seq=1))
        with pytest.raises(ValueError, match="not a gate's memory"):
            one.load(data)
        with pytest.raises(ReplayedError):
            one.admit(at(REPORT.subject(), frame, seq=2))


def test_every_refusal_has_a_name_of_its_own() -> None:
    assert len({refusal.name for refusal in REFUSALS}) == len(REFUSALS) == 9
    assert all(issubclass(refusal, Refusal) for refusal in REFUSALS)


def _without_version(ring: Keyring, version: int) -> Keyring:
    keys = {channel: {n: key for n, key in held.items() if n != version} for channel, held in ring.keys.items()}
    return replace(ring, keys=keys)


def test_the_order_of_checks_is_the_documented_one() -> None:
    """A message that is wrong in every way is refused by each check in turn, as the ones before are mended."""
    key = master().key("task-action", 1)
    good = open_frame(seal("scheduler", TASK))
    wrong = good._replace(key_version=9, ts=NOW_US - 3_600 * SECOND, payload=b"{}", sender="action/one", hmac=bytes(32))
    one = gate("action")
    one.admit(at(TASK.subject(), good.to_frame(), seq=1), now_us=NOW_US)

    def refused_as(envelope: Envelope) -> str:
        with pytest.raises(Refusal) as refusal:
            one.admit(at(TASK.subject(), envelope.to_frame(), seq=2), now_us=NOW_US)
        return refusal.value.name

    def sign(envelope: Envelope) -> Envelope:
        return envelope._replace(hmac=envelope.mac(key))

    names = [refused_as(wrong)]
    mended = wrong._replace(key_version=1)
    names.append(refused_as(mended))
    names.append(refused_as(sign(mended)))
    mended = mended._replace(sender="scheduler/one")
    names.append(refused_as(sign(mended)))
    mended = mended._replace(ts=NOW_US)
    names.append(refused_as(sign(mended)))
    mended = mended._replace(nonce=bytes(16))
    names.append(refused_as(sign(mended)))
    assert names == ["unknown_key_version", "bad_mac", "wrong_channel", "expired", "replayed", "wrong_schema"]
