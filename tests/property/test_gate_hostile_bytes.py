"""Whatever bytes stand in the journal, the gate answers with a refusal of a known name and nothing else."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.contracts.control import Halt
from broker.envelope import _CHECKS, FIELDS, Envelope, Signer, _is_sound, open_frame
from broker.errors import REFUSALS, Refusal
from broker.gate import Gate
from broker.port import Stored
from tests.support.signing import master

NOW_US = 1_750_000_000_000_000
HALT = Halt(reason="stop")
RING = master(3)
FRAME = Signer("operator", "one", RING, clock=lambda: NOW_US, nonces=lambda: b"n" * 16).seal(HALT)
KEY = RING.key("broadcast", 3)

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
subjects = st.sampled_from(["triage.control.halt", "triage.task.log.i.t.a1", "triage.due.scheduler.t", "x", ""])


def refused(data: bytes, subject: str = "triage.control.halt") -> None:
    with pytest.raises(Refusal) as refusal:
        Gate(RING).admit(Stored(1, NOW_US, subject, data), now_us=NOW_US)
    assert type(refusal.value) in REFUSALS
    assert str(refusal.value)


@given(st.binary(max_size=2_000), subjects)
def test_random_bytes_are_refused(data: bytes, subject: str) -> None:
    refused(data, subject)


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_a_good_frame_with_any_byte_changed_is_refused(position: int, change: int) -> None:
    flipped = bytearray(FRAME)
    flipped[position] ^= change
    refused(bytes(flipped))


@given(st.integers(0, len(FRAME) - 1))
def test_a_good_frame_cut_short_is_refused(length: int) -> None:
    refused(FRAME[:length])


@given(st.dictionaries(st.sampled_from(FIELDS), anything, min_size=1))
def test_a_frame_with_any_fields_replaced_is_refused(changes: dict[str, Any]) -> None:
    original: dict[str, Any] = msgpack.unpackb(FRAME)
    try:
        data = bytes(msgpack.packb({**original, **changes}))
    except (ValueError, OverflowError):
        return
    if data != FRAME:
        refused(data)


numbers: tuple[object, ...] = (-1, 0, 1, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 0.0, 1e-9, 86_400.0, 86_400.5, -1.0)
others: tuple[object, ...] = (True, False, None, float("nan"), float("inf"), "DETERMINISTIC", "deterministic")
texts: tuple[object, ...] = ("", "x", "x" * 64, "x" * 65, "operator/one", "operator/", "Operator/one")
octets: tuple[object, ...] = (b"", b"n" * 15, b"n" * 16, b"n" * 17, b"h" * 31, b"h" * 32, b"h" * 33)
nearly = st.sampled_from((*numbers, *others, *texts, *octets))
"""Values at the bounds of what a field may hold, and beside them."""


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(FIELDS), nearly, max_size=3))
def test_the_quick_look_at_a_frame_and_the_look_at_each_field_agree(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {**open_frame(FRAME)._asdict(), **changes}
    assert _is_sound(*fields.values()) == (not any(_CHECKS[name](value) for name, value in fields.items()))


@given(st.binary(max_size=300) | anything.map(lambda value: repr(value).encode()))
def test_any_payload_under_a_good_signature_is_the_message_or_refused(payload: bytes) -> None:
    envelope = open_frame(FRAME)._replace(payload=payload)
    frame = envelope._replace(hmac=envelope.mac(KEY)).to_frame()
    try:
        Halt.decode(payload)
    except Refusal:
        refused(frame)
    else:
        Gate(RING).admit(Stored(1, NOW_US, "triage.control.halt", frame), now_us=NOW_US)


@given(st.binary(max_size=400))
def test_a_damaged_memory_never_raises_anything_but_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="memory"):
        Gate(RING).load(data)


def test_the_good_frame_itself_is_admitted() -> None:
    admitted = Gate(RING).admit(Stored(1, NOW_US, "triage.control.halt", FRAME), now_us=NOW_US)
    assert admitted.message == HALT
    assert Envelope._fields == FIELDS
