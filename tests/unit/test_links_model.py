"""The decisions of a link."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.platform.fault_port import LinkFault
from services.platform.links.model import MODES, delay_s, drops


def test_the_share_of_dropped_connections_is_the_one_asked_for() -> None:
    fault = LinkFault("drop", drop_ratio=0.01, seed=42)
    dropped = sum(drops("orders--shop-db", fault, number) for number in range(20_000))
    assert 150 <= dropped <= 250


@given(seed=st.integers(), number=st.integers(min_value=0))
def test_nothing_is_dropped_at_ratio_zero_and_everything_at_one(seed: int, number: int) -> None:
    assert not drops("a--b", LinkFault("drop", drop_ratio=0.0, seed=seed), number)
    assert drops("a--b", LinkFault("drop", drop_ratio=1.0, seed=seed), number)


def test_two_links_with_one_seed_drop_different_connections() -> None:
    fault = LinkFault("drop", drop_ratio=0.5, seed=1)
    assert [drops("a--b", fault, n) for n in range(64)] != [drops("b--c", fault, n) for n in range(64)]


def test_only_latency_delays_and_only_drop_drops() -> None:
    for mode in MODES:
        fault = LinkFault(mode, latency_ms=100.0, drop_ratio=1.0)  # type: ignore[arg-type]  # MODES holds just these
        assert delay_s(fault) == (0.1 if mode == "latency" else 0.0)
        assert drops("a--b", fault, 1) == (mode == "drop")
