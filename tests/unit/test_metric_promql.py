"""Queries are made from closed lists; no text of anybody's gets into one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import SourceError
from agents.metric.promql import QUERIES, promql
from broker.contracts.catalogue import METRIC_NAMES
from broker.contracts.inventory import Device
from tests.support.world import shop_inventory

SELECTOR = re.compile(r'\{(service|device)="([^"{}]*)"\}')


def called(name: str) -> Device:
    """Return a service of that name, past the contract's own check: as if the check were broken."""
    return shop_inventory().devices[2].model_copy(update={"name": name})


def test_every_query_stands_for_a_metric_of_the_catalogue() -> None:
    assert {metric for queries in QUERIES.values() for metric in queries} == set(METRIC_NAMES)


@pytest.mark.parametrize("device", shop_inventory().devices, ids=lambda device: device.name)
def test_a_query_selects_the_device_and_nothing_else(device: Device) -> None:
    for metric in QUERIES[device.kind]:
        query = promql(device, metric)
        selected = SELECTOR.findall(query)
        assert {name for _, name in selected} == {device.name}
        assert len(selected) == query.count("[8s]")
        assert "DEVICE" not in query


def test_a_ratio_is_one_of_series_that_begin_together_and_stays_in_its_bounds() -> None:
    query = promql(called("orders"), "success_ratio")
    assert query.startswith("clamp(")
    assert "shop_requests_total" not in query


def test_a_metric_that_a_kind_has_not_is_refused() -> None:
    with pytest.raises(SourceError, match="no query stands for success_ratio of a database"):
        promql(shop_inventory().devices[0], "success_ratio")


@pytest.mark.parametrize(
    "metric", ["", "latency_ms or up", 'latency_ms"} or vector(1) #', "__name__", "up", "LATENCY_MS"]
)
def test_a_metric_outside_the_catalogue_is_refused(metric: str) -> None:
    with pytest.raises(SourceError):
        promql(called("orders"), metric)


@pytest.mark.parametrize(
    "name",
    [
        'orders"} or up{job="',
        "orders\n",
        "orders|.*",
        "orders\\",
        'x"',
        "",
        ".*",
        "Orders",
        "оrders",  # noqa: RUF001 - a Cyrillic letter
        "a" * 64,
    ],
)
def test_a_name_that_could_end_the_string_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match="no name"):
        promql(called(name), "latency_ms")


@given(st.text(max_size=80))
def test_whatever_the_name_a_query_keeps_its_form(name: str) -> None:
    device = called(name)
    try:
        query = promql(device, "success_ratio")
    except SourceError:
        return
    assert SELECTOR.sub("{}", query) == SELECTOR.sub("{}", promql(called("orders"), "success_ratio"))


@given(st.text(max_size=80))
def test_whatever_the_metric_it_is_a_known_one_or_none(metric: str) -> None:
    try:
        query = promql(called("orders"), metric)
    except SourceError:
        assert metric not in QUERIES["service"]
    else:
        assert query == promql(called("orders"), metric)
        assert metric in METRIC_NAMES
