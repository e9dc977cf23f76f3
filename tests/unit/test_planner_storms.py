"""Who asks a dependency again and again, told by the rates of requests alone; and what is no storm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from planner_svc.core.context import Sign, look
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.state import Baseline, Sample
from planner_svc.core.storms import Storm, storms
from tests.support.planner_world import USERS_FAIL, Look, World, config

SECOND = 1_000_000
Rates = Sequence[float | None]
USUAL = {"gateway": Baseline(request_rate=20.0), "fulfilment": Baseline(request_rate=4.0)}


def found(rates: Mapping[str, Rates], usual: Mapping[str, Baseline] = USUAL) -> list[Storm]:
    """Return the storms in samples a second apart, those of a client some tenths of a second after its dependency's."""
    order = ("catalog", "orders", "gateway", "fulfilment", "loadgen")
    histories = {
        name: [
            Sample(time_us=(place + 1) * SECOND + order.index(name) * SECOND // 10, status="OK", request_rate=rate)
            for place, rate in enumerate(values)
        ]
        for name, values in rates.items()
    }
    return list(storms(config(), histories, usual))


def test_a_client_that_asks_many_times_for_each_of_its_requests_is_named() -> None:
    [storm] = found({"gateway": [20.0, 20.0, 20.0], "catalog": [20.0, 200.0, 400.0]})
    assert (storm.client.name, storm.dependency.name) == ("gateway", "catalog")
    assert (storm.times, storm.count, storm.total, storm.current) == (20.0, 2, 2, True)


def test_a_storm_that_is_over_is_not_current() -> None:
    [storm] = found({"gateway": [20.0, 20.0], "catalog": [200.0, 20.0]})
    assert (storm.count, storm.total, storm.current) == (1, 2, False)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("usual traffic", {"gateway": [20.0], "catalog": [20.0]}),
        ("an attempt more for each", {"gateway": [20.0], "catalog": [40.0]}),
        ("more users", {"gateway": [300.0], "catalog": [300.0]}),
        ("more users than the client works on", {"gateway": [190.0], "catalog": [90.0]}),
        ("a client that was started anew", {"gateway": [0.4], "catalog": [22.0]}),
        ("a client that tells no rate", {"gateway": [None], "catalog": [400.0]}),
        ("a client that was not heard of", {"catalog": [400.0]}),
        ("a dependency that tells no rate", {"gateway": [20.0], "catalog": [None]}),
        ("nobody asks for anything", {"gateway": [0.0], "catalog": [0.0]}),
        ("users that ask a lot", {"loadgen": [20.0], "gateway": [400.0]}),
        ("more users, who show on the dependency first", {"gateway": [20.0, 300.0], "catalog": [20.0, 150.0]}),
        ("a backlog that a client works off", {"gateway": [20.0], "fulfilment": [90.0], "orders": [100.0]}),
    ],
)
def test_what_is_no_storm(name: str, rates: dict[str, Rates]) -> None:
    assert found(rates) == [], name


def test_the_last_rate_that_a_client_told_counts_while_it_is_silent() -> None:
    [storm] = found({"gateway": [20.0, None, None], "catalog": [20.0, 100.0, 400.0]})
    assert (storm.times, storm.count) == (20.0, 2)


def test_a_sample_that_no_client_was_heard_of_after_is_not_judged_yet() -> None:
    [storm] = found({"gateway": [20.0, 20.0], "catalog": [200.0, 200.0, 300.0]})
    assert (storm.times, storm.count, storm.total, storm.current) == (10.0, 2, 2, True)


def test_a_client_that_gets_nothing_done_and_floods_its_dependency_is_named() -> None:
    [storm] = found({"gateway": [0.0], "catalog": [400.0]})
    assert storm.times == 400.0


def test_of_several_clients_each_may_be_the_one() -> None:
    shown = found({"gateway": [20.0], "fulfilment": [4.0], "orders": [300.0]})
    assert [storm.client.name for storm in shown] == ["fulfilment", "gateway"]


STORM: dict[str, Look] = {
    "gateway": {"status": "ERROR", "error_code": "ReadTimeout", "success_ratio": 0.0},
    "catalog": {"status": "WARN", "cpu_load": 0.9, "request_rate": 400.0},
    "loadgen": USERS_FAIL,
}


def signs(world: World) -> list[Sign]:
    picture = look(world.machine.config, world.state, world.request())
    return [sign for sign in picture.signs if sign.signal == "storm"]


def test_who_does_not_look_at_rates_sees_no_storm() -> None:
    """As recordings from before do, whose configuration does not name it."""
    world = World(PlannerMachine(config().model_copy(update={"amplification": None})))
    world.seconds(5)
    world.seconds(5, STORM)
    assert signs(world) == []
    assert world.proposal().plan.hypothesis.target == "catalog"


def test_a_storm_is_told_with_how_often_it_asks() -> None:
    world = World()
    world.seconds(5)
    world.seconds(5, STORM)
    [sign] = signs(world)
    assert (sign.device.name, sign.dependency and sign.dependency.name, sign.error) == ("gateway", "catalog", "20")
    [said] = world.proposal().plan.hypothesis.evidence[:1]
    assert said.startswith("gateway asks catalog 20 times for each request that it gets")


def test_a_flood_is_not_taken_for_its_cause_before_it_is_sure_who_makes_it() -> None:
    world = World()
    world.seconds(10)
    world.request(text="catalog is overloaded, its load is through the roof, the catalog's cpu is hot")
    for _ in range(2):
        world.second(STORM)
        assert not world.proposals()
    world.second(STORM)
    assert world.proposal().plan.hypothesis.target == "gateway"


def test_who_was_seen_to_be_as_declared_is_not_blamed_again() -> None:
    """A catalog that wakes works off what piled up: more than its client gets, for some seconds."""
    world = World()
    world.seconds(10)
    world.seconds(2, {"catalog": {"request_rate": 120.0}})
    world.seconds(6)
    world.request()
    world.seconds(4)
    assert world.proposal().plan.hypothesis.fault_class == "none"
