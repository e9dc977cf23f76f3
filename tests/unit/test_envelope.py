"""Frames: what is signed, what is refused before anything is believed."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from broker.contracts.control import Halt, Timer
from broker.contracts.incident import IncidentReported
from broker.envelope import FIELDS, MAX_FRAME, MAX_TTL_S, Envelope, Signer, open_frame
from broker.errors import BadFrameError, TooLargeError, WrongChannelError
from broker.subjects import Role
from tests.support.signing import master

NOW_US = 1_750_000_000_000_000
REPORT = IncidentReported(incident="i1", text="orders fail", source="operator")


def signer(role: Role = "operator", version: int = 1) -> Signer:
    nonces = iter(n.to_bytes(16, "big") for n in range(1, 1_000))
    ring = master(version).restricted_to(role)
    return Signer(role, "one", ring, clock=lambda: NOW_US, nonces=lambda: next(nonces))


def fields_of(frame: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = msgpack.unpackb(frame)
    return fields


def packed(fields: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb(fields))


class TestSealing:
    def test_a_sealed_message_opens_with_everything_it_was_given(self) -> None:
        envelope = open_frame(signer().seal(REPORT, cause=7, tag="LLM_DECISION", ttl_s=30))
        assert envelope == envelope._replace(
            v=1,
            type="incident.reported",
            channel="operator",
            sender="operator/one",
            key_version=1,
            seq=1,
            ts=NOW_US,
            ttl_s=30.0,
            nonce=(1).to_bytes(16, "big"),
            cause=7,
            tag="LLM_DECISION",
            payload=REPORT.encode(),
        )
        assert (envelope.role, envelope.instance) == ("operator", "one")

    def test_it_is_signed_with_the_channels_key_and_no_other(self) -> None:
        envelope = open_frame(signer().seal(REPORT))
        assert envelope.is_signed_by(master().key("operator", 1))
        assert not envelope.is_signed_by(master().key("control", 1))

    def test_the_senders_count_grows_and_nonces_differ(self) -> None:
        one = signer()
        opened = [open_frame(one.seal(REPORT)) for _ in range(3)]
        assert [envelope.seq for envelope in opened] == [1, 2, 3]
        assert len({envelope.nonce for envelope in opened}) == 3

    def test_it_signs_with_the_current_version_after_rotation(self) -> None:
        one = signer()
        one.use(master(2).restricted_to("operator"))
        envelope = open_frame(one.seal(REPORT))
        assert envelope.key_version == 2
        assert envelope.is_signed_by(master(2).key("operator", 2))

    def test_a_timer_is_sealed_for_its_waiting_and_its_due_subject_alike(self) -> None:
        timer = Timer(machine="scheduler", timer_id="t1", due_us=NOW_US, purpose="task")
        for subject in (timer.subject(), timer.due_subject()):
            assert open_frame(signer("scheduler").seal(timer, subject=subject)).channel == "control"

    def test_a_role_cannot_seal_what_it_may_not_say(self) -> None:
        with pytest.raises(WrongChannelError, match=r"log/one may not speak on triage\.control\.halt"):
            signer("log").seal(Halt(reason="no"))

    def test_a_message_that_makes_too_large_a_frame_is_not_sealed(self) -> None:
        huge = REPORT.model_copy(update={"text": "x" * MAX_FRAME})
        with pytest.raises(TooLargeError, match=r"incident\.reported"):
            signer().seal(huge)

    @pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan"), float("inf"), MAX_TTL_S + 1])
    def test_a_ttl_out_of_range_is_refused(self, ttl_s: float) -> None:
        with pytest.raises(ValueError, match="ttl_s"):
            signer().seal(REPORT, ttl_s=ttl_s)

    @pytest.mark.parametrize("instance", ["", "a b", "a/b", "UPPER", "x" * 80])
    def test_an_instance_that_is_no_name_is_refused(self, instance: str) -> None:
        with pytest.raises(ValueError, match="is not <role>/<instance>"):
            Signer("log", instance, master())


class TestTheMac:
    def test_every_field_is_under_it(self) -> None:
        envelope = open_frame(signer().seal(REPORT))
        key = master().key("operator", 1)
        others: dict[str, Any] = {
            "v": 2,
            "type": "incident.answered",
            "channel": "control",
            "sender": "operator/two",
            "key_version": 2,
            "seq": 9,
            "ts": NOW_US + 1,
            "ttl_s": 121.0,
            "nonce": bytes(16),
            "cause": 1,
            "tag": "LLM_DECISION",
            "payload": REPORT.encode() + b" ",
        }
        assert set(others) == set(FIELDS) - {"hmac"}
        for name, value in others.items():
            assert not envelope._replace(**{name: value}).is_signed_by(key), name

    def test_bytes_cannot_move_from_one_field_to_its_neighbour(self) -> None:
        key = b"k" * 32
        base = open_frame(signer().seal(REPORT))
        left = base._replace(type="ab", channel="c")
        right = base._replace(type="a", channel="bc")
        assert left.mac(key) != right.mac(key)


class TestOpening:
    def test_a_frame_over_the_limit_is_refused_before_parsing(self) -> None:
        with pytest.raises(TooLargeError):
            open_frame(b"\xc1" * (MAX_FRAME + 1))

    @pytest.mark.parametrize(
        "data",
        [b"", b"\xc1", b"hello", b"{}", packed({}), bytes(msgpack.packb([1, 2])), bytes(msgpack.packb(7)), b"\x81" * 9],
    )
    def test_what_is_no_frame_is_refused(self, data: bytes) -> None:
        with pytest.raises(BadFrameError):
            open_frame(data)

    def test_deeply_nested_bytes_are_refused(self) -> None:
        with pytest.raises(BadFrameError):
            open_frame(b"\x91" * 100_000)

    def test_bytes_behind_the_frame_are_refused(self) -> None:
        with pytest.raises(BadFrameError):
            open_frame(signer().seal(REPORT) + b"\x00")

    @pytest.mark.parametrize("name", FIELDS)
    def test_a_missing_field_is_refused(self, name: str) -> None:
        fields = fields_of(signer().seal(REPORT))
        del fields[name]
        with pytest.raises(BadFrameError, match="keys are not exactly"):
            open_frame(packed(fields))

    def test_an_additional_field_is_refused(self) -> None:
        with pytest.raises(BadFrameError, match="keys are not exactly"):
            open_frame(packed({**fields_of(signer().seal(REPORT)), "admin": True}))

    def test_a_repeated_field_is_refused(self) -> None:
        frame = signer().seal(REPORT)
        doubled = bytes([frame[0] + 1]) + frame[1:] + bytes(msgpack.packb("v")) + bytes(msgpack.packb(1))
        with pytest.raises(BadFrameError, match="keys are not exactly"):
            open_frame(doubled)

    def test_another_order_is_refused(self) -> None:
        fields = fields_of(signer().seal(REPORT))
        with pytest.raises(BadFrameError, match="keys are not exactly"):
            open_frame(packed(dict(reversed(fields.items()))))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("v", 2),
            ("v", True),
            ("v", 1.0),
            ("type", b"incident.reported"),
            ("type", ""),
            ("type", "x" * 65),
            ("channel", None),
            ("sender", "operator"),
            ("sender", "operator/one\n"),
            ("sender", "Operator/one"),
            ("key_version", 0),
            ("key_version", "1"),
            ("seq", -1),
            ("ts", 1.5),
            ("ts", 2**63),
            ("ttl_s", 120),
            ("ttl_s", float("nan")),
            ("ttl_s", -1.0),
            ("nonce", "0123456789abcdef"),
            ("nonce", b"short"),
            ("cause", -1),
            ("tag", "HUMAN"),
            ("payload", "text"),
            ("payload", {"a": 1}),
            ("hmac", bytes(31)),
            ("hmac", None),
        ],
    )
    def test_a_field_of_the_wrong_type_or_range_is_refused_by_name(self, name: str, value: object) -> None:
        with pytest.raises(BadFrameError, match=f"field {name}"):
            open_frame(packed({**fields_of(signer().seal(REPORT)), name: value}))

    def test_opening_and_framing_are_each_others_inverse(self) -> None:
        frame = signer().seal(REPORT)
        assert open_frame(frame).to_frame() == frame
        assert isinstance(open_frame(frame), Envelope)
