"""The seeded, open-loop visitors of the load generator."""

from __future__ import annotations

from itertools import islice, repeat

import pytest

from services.shop.arrivals import Arrival, Arrivals
from services.shop.gateway import Checkout
from services.shop.orders import NewOrder
from services.shop.products import SKUS

MANY = 20_000


def visitors(count: int = MANY, rate: float = 20.0, noise: float = 0.0, seed: int = 1) -> list[Arrival]:
    arrivals = Arrivals(rate, noise, seed)
    return [arrivals.next() for _ in range(count)]


def busiest_second(found: list[Arrival]) -> int:
    seconds: dict[int, int] = {}
    at_s = 0.0
    for arrival in found:
        at_s += arrival.gap_s
        seconds[int(at_s)] = seconds.get(int(at_s), 0) + 1
    return max(seconds.values())


def test_the_same_seed_gives_the_same_visitors_and_another_seed_others() -> None:
    assert visitors(500, noise=0.7, seed=3) == visitors(500, noise=0.7, seed=3)
    assert visitors(500, noise=0.7, seed=3) != visitors(500, noise=0.7, seed=4)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_the_mean_rate_holds_at_every_noise(noise: float) -> None:
    found = visitors(noise=noise)
    assert len(found) / sum(arrival.gap_s for arrival in found) == pytest.approx(20.0, rel=0.08)


def test_without_noise_gaps_are_exponential() -> None:
    gaps = [arrival.gap_s for arrival in visitors()]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation / mean == pytest.approx(1.0, abs=0.05)


def test_noise_makes_the_bursts_higher() -> None:
    assert busiest_second(visitors(noise=1.0)) > busiest_second(visitors(noise=0.0)) * 1.3


def test_sixty_percent_browse_and_the_rest_buy() -> None:
    found = visitors(noise=1.0)
    assert sum(arrival.kind == "browse" for arrival in found) / MANY == pytest.approx(0.6, abs=0.02)


def test_without_noise_everybody_asks_for_what_exists_under_a_plain_name() -> None:
    assert all(arrival.known and arrival.sku in SKUS and len(arrival.customer) < 10 for arrival in visitors())


def test_with_noise_some_ask_for_what_does_not_exist_and_only_when_browsing() -> None:
    strangers = [arrival for arrival in visitors(noise=1.0) if not arrival.known]
    assert 0.07 < len(strangers) / MANY < 0.11
    assert all(arrival.kind == "browse" and arrival.sku not in SKUS for arrival in strangers)


def test_however_odd_a_customer_is_the_shop_takes_the_order() -> None:
    for arrival in islice((a for a in visitors(noise=1.0) if a.kind == "checkout"), 2_000):
        wish = Checkout(sku=arrival.sku, quantity=arrival.quantity, customer=arrival.customer)
        NewOrder(**wish.model_dump(), price_cents=1)
    names = {arrival.customer for arrival in visitors(noise=1.0)}
    assert any("\n" in name for name in names)


def test_a_silent_phase_never_makes_a_gap_negative() -> None:
    arrivals = Arrivals(200.0, 1.0, 9)
    assert all(arrivals.next().gap_s >= 0 for _ in repeat(None, 5_000))
