"""Every envelope that may exist survives the frame, and its MAC belongs to it alone."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from broker.contracts.plan import DecisionTag
from broker.envelope import MAX_TTL_S, Envelope, open_frame

names = st.text(min_size=1, max_size=64)
envelopes = st.builds(
    Envelope,
    v=st.just(1),
    type=names,
    channel=names,
    sender=st.from_regex(r"[a-z]{1,8}/[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True),
    key_version=st.integers(1, 2**31 - 1),
    seq=st.integers(0, 2**63 - 1),
    ts=st.integers(0, 2**63 - 1),
    ttl_s=st.floats(min_value=0.001, max_value=MAX_TTL_S),
    nonce=st.binary(min_size=16, max_size=16),
    cause=st.integers(0, 2**63 - 1),
    tag=st.sampled_from(get_args(DecisionTag)),
    payload=st.binary(max_size=200),
    hmac=st.binary(min_size=32, max_size=32),
)


@given(envelopes)
def test_what_was_framed_opens_as_it_was(envelope: Envelope) -> None:
    assert open_frame(envelope.to_frame()) == envelope


@given(envelopes, envelopes)
def test_two_envelopes_have_the_same_mac_only_if_they_say_the_same(one: Envelope, other: Envelope) -> None:
    same = one.to_frame()[: -len(one.hmac)] == other.to_frame()[: -len(other.hmac)]
    assert (one.mac(b"k" * 32) == other.mac(b"k" * 32)) is same
