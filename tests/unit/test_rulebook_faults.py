"""The rulebook names the right fault for everything that can be injected, from telemetry as the shop gives it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from broker.contracts.plan import FaultClass, PlanTask
from tests.support.planner_world import UNANSWERED, USERS_FAIL, Look, World

GATEWAY_500: Look = {"status": "ERROR", "error_code": "HTTPStatusError", "success_ratio": 0.4}
GATEWAY_WARN: Look = {"status": "WARN", "error_code": "HTTPStatusError", "success_ratio": 0.8}


def refused(code: str = "ECONNREFUSED") -> Look:
    return {**UNANSWERED, "error_code": code}


def hung(code: str = "TimeoutError") -> Look:
    return {**UNANSWERED, "error_code": code}


def blames(note: str, code: str | None = None, **more: object) -> Look:
    return {"status": "ERROR", "note": note, "error_code": code, "success_ratio": 0.2, **more}


@dataclass(frozen=True)
class Case:
    name: str
    looks: dict[str, Look]
    target: str
    fault_class: FaultClass
    act: tuple[str, str]


CASES = (
    Case("service stopped", {"orders": refused(), "gateway": blames("orders=ECONNREFUSED", "ECONNREFUSED"),
         "fulfilment": blames("orders=ConnectError", "ConnectError"), "loadgen": USERS_FAIL},
         "orders", "process_down", ("start", "orders")),
    Case("service behind a proxy killed", {"catalog": refused("ConnectError"),
         "gateway": blames("catalog=RemoteProtocolError", "ReadError"), "loadgen": USERS_FAIL},
         "catalog", "process_down", ("start", "catalog")),
    Case("front door stopped", {"gateway": refused(), "loadgen": {**USERS_FAIL, "error_code": "ConnectError"}},
         "gateway", "process_down", ("start", "gateway")),
    Case("service nobody waits for stopped", {"fulfilment": refused()}, "fulfilment", "process_down",
         ("start", "fulfilment")),
    Case("service hung", {"orders": hung("ReadTimeout"), "gateway": blames("orders=ReadTimeout", "ReadTimeout"),
         "fulfilment": blames("orders=ReadTimeout", "ReadTimeout"), "loadgen": USERS_FAIL},
         "orders", "process_hung", ("resume", "orders")),
    Case("database stopped", {"shop-db": refused(),
         "catalog": blames("shop-db=ECONNRESET", "ConnectionDoesNotExistError"),
         "orders": blames("shop-db=ConnectionDoesNotExistError", "ECONNRESET"), "gateway": GATEWAY_500,
         "loadgen": USERS_FAIL}, "shop-db", "process_down", ("start", "shop-db")),
    Case("database hung", {"shop-db": hung(), "orders": blames("shop-db=TimeoutError", "TimeoutError"),
         "catalog": blames("shop-db=TimeoutError", "TimeoutError"), "gateway": GATEWAY_500, "loadgen": USERS_FAIL},
         "shop-db", "process_hung", ("resume", "shop-db")),
    Case("cache stopped", {"shop-cache": refused(), "catalog": blames("shop-cache=ECONNREFUSED", status="WARN")},
         "shop-cache", "process_down", ("start", "shop-cache")),
    Case("queue stopped", {"shop-mq": refused(), "orders": blames("shop-mq=ConnectionClosedError", "NoServersError"),
         "fulfilment": blames("shop-mq=NoServersError", "NoServersError"), "gateway": GATEWAY_500,
         "loadgen": USERS_FAIL}, "shop-mq", "process_down", ("start", "shop-mq")),
    Case("queue hung", {"shop-mq": hung(), "orders": blames("shop-mq=TimeoutError", "TimeoutError"),
         "fulfilment": blames("shop-mq=TimeoutError", "StaleConnectionError"), "loadgen": USERS_FAIL},
         "shop-mq", "process_hung", ("resume", "shop-mq")),
    Case("wrong database host", {"orders": blames("shop-db=gaierror", "gaierror"), "gateway": GATEWAY_500,
         "loadgen": USERS_FAIL}, "orders", "config_drift", ("reconcile", "orders")),
    Case("wrong database host that answers refused", {"orders": blames("shop-db=ECONNREFUSED", "ECONNREFUSED"),
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "orders", "config_drift", ("reconcile", "orders")),
    Case("wrong database host in the catalog", {"catalog": blames("shop-db=gaierror", "gaierror"),
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "catalog", "config_drift", ("reconcile", "catalog")),
    Case("wrong database password", {"orders": blames("shop-db=InvalidPasswordError", "InvalidPasswordError"),
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "orders", "bad_credentials", ("reconcile", "orders")),
    Case("poisoned cache", {"catalog": {"status": "ERROR", "error_code": "JSONDecodeError", "success_ratio": 0.3,
         "log_sample": "Expecting value: line 1 column 1 (char 0)"}, "gateway": GATEWAY_500, "loadgen": USERS_FAIL},
         "shop-cache", "cache_poison", ("flush_cache", "shop-cache")),
    Case("poisoned cache, well-formed nonsense", {"catalog": {"status": "WARN", "error_code": "ValidationError"},
         "gateway": GATEWAY_WARN, "loadgen": USERS_FAIL}, "shop-cache", "cache_poison", ("flush_cache", "shop-cache")),
    Case("poisoned cache, bytes that are no text", {"catalog": {"status": "WARN", "error_code": "UnicodeDecodeError"},
         "gateway": GATEWAY_WARN, "loadgen": USERS_FAIL}, "shop-cache", "cache_poison", ("flush_cache", "shop-cache")),
    Case("partition between orders and its database", {"orders": blames("shop-db=TimeoutError", "TimeoutError"),
         "gateway": {**GATEWAY_500, "error_code": "ReadTimeout"}, "loadgen": USERS_FAIL},
         "orders", "network_partition", ("reconcile", "orders")),
    Case("partition between gateway and catalog", {"gateway": blames("catalog=ReadTimeout", "ConnectTimeout"),
         "loadgen": USERS_FAIL}, "gateway", "network_partition", ("reconcile", "gateway")),
    Case("orders cut off from everything it needs", {"orders": blames("shop-db=TimeoutError, shop-mq=TimeoutError",
         "TimeoutError"), "gateway": GATEWAY_500, "loadgen": USERS_FAIL},
         "orders", "network_partition", ("reconcile", "orders")),
    Case("database cut off from all its clients", {"orders": blames("shop-db=TimeoutError", "TimeoutError"),
         "catalog": blames("shop-db=TimeoutError", "TimeoutError"), "gateway": GATEWAY_500, "loadgen": USERS_FAIL},
         "shop-db", "network_partition", ("reconcile", "shop-db")),
    Case("cache out of reach", {"catalog": blames("shop-cache=TimeoutError", "TimeoutError", status="WARN")},
         "catalog", "network_partition", ("reconcile", "catalog")),
    Case("latency to the database", {"catalog": {"status": "WARN", "note": "slow:shop-db=620ms"},
         "gateway": {"status": "WARN", "note": "slow:catalog=640ms"},
         "loadgen": {"status": "WARN", "latency_ms": 1400.0}},
         "catalog", "network_latency", ("reconcile", "catalog")),
    Case("latency to a service", {"gateway": {"status": "WARN", "note": "slow:orders=400ms"},
         "loadgen": {"status": "WARN", "latency_ms": 1100.0}}, "gateway", "network_latency", ("reconcile", "gateway")),
    Case("processor burnt", {"catalog": {"cpu_load": 1.6}, "gateway": {"status": "WARN", "note": "slow:catalog=300ms"},
         "orders": {"status": "WARN", "note": "slow:shop-db=200ms"}},
         "catalog", "cpu_saturation", ("reconcile", "catalog")),
    Case("message that breaks its consumer", {"fulfilment": {"status": "WARN", "error_code": "RecursionError"}},
         "shop-mq", "config_drift", ("reconcile", "shop-mq")),
    Case("consumer that is given nothing", {"fulfilment": {"status": "WARN", "error_code": "ConsumerStalledError"}},
         "shop-mq", "config_drift", ("reconcile", "shop-mq")),
    Case("build that breaks on what it reads", {"catalog": {"status": "ERROR", "error_code": "RecursionError"},
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "catalog", "config_drift", ("reconcile", "catalog")),
    Case("client that asks again and again", {"gateway": {**GATEWAY_500, "error_code": "ReadTimeout", "cpu_load": 0.8,
         "success_ratio": 0.0}, "catalog": {"cpu_load": 0.6, "request_rate": 380.0, "note": "slow:shop-cache=160ms",
         "status": "WARN"}, "loadgen": USERS_FAIL}, "gateway", "config_drift", ("reconcile", "gateway")),
    Case("client that asks again and again, until who is asked sheds and blames", {"gateway": {**GATEWAY_500,
         "error_code": "ReadTimeout", "note": "catalog=TimeoutError, slow:orders=200ms", "success_ratio": 0.0},
         "catalog": {"status": "ERROR", "error_code": "OverloadedError", "request_rate": 240.0, "success_ratio": 0.4,
         "cpu_load": 0.9}, "loadgen": USERS_FAIL}, "gateway", "config_drift", ("reconcile", "gateway")),
    Case("more users than the front door can work on", {"gateway": {"status": "ERROR", "error_code": "OverloadedError",
         "success_ratio": 0.3, "request_rate": 190.0, "cpu_load": 1.0}, "catalog": {"request_rate": 90.0},
         "loadgen": USERS_FAIL}, "gateway", "cpu_saturation", ("reconcile", "gateway")),
    # Containers: the engine's name server forgets who does not run, so nobody is refused any more.
    Case("container stopped", {"orders": refused("gaierror"), "gateway": blames("orders=gaierror", "gaierror"),
         "fulfilment": blames("orders=gaierror", "gaierror"), "loadgen": USERS_FAIL},
         "orders", "process_down", ("start", "orders")),
    Case("container died, by the engine's word", {"orders": refused("ContainerDied"),
         "gateway": blames("orders=gaierror", "gaierror"), "loadgen": USERS_FAIL},
         "orders", "process_down", ("start", "orders")),
    Case("container of the database stopped", {"shop-db": refused("gaierror"),
         "orders": blames("shop-db=gaierror", "gaierror"), "catalog": blames("shop-db=gaierror", "gaierror"),
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "shop-db", "process_down", ("start", "shop-db")),
    Case("container off its network", {"shop-mq": refused("gaierror"), "orders": blames("shop-mq=TimeoutError",
         "TimeoutError"), "fulfilment": blames("shop-mq=gaierror", "gaierror"), "loadgen": USERS_FAIL},
         "shop-mq", "process_down", ("reconcile", "shop-mq")),
    Case("container killed for memory", {"catalog": refused("ContainerOOMKilled"),
         "gateway": blames("catalog=gaierror", "gaierror"), "loadgen": USERS_FAIL},
         "catalog", "resource_limit", ("reconcile", "catalog")),
    Case("processor share cut", {"catalog": {"status": "WARN", "cpu_load": 0.05,
         "note": "slow:shop-db=380ms, slow:shop-cache=350ms"}, "gateway": {"status": "WARN",
         "note": "slow:catalog=700ms"}, "loadgen": {"status": "WARN", "latency_ms": 1300.0}},
         "catalog", "resource_limit", ("reconcile", "catalog")),
    Case("processor share cut to where nothing is in time", {"gateway": blames("catalog=TimeoutError, "
         "orders=TimeoutError", "TimeoutError", latency_ms=420.0), "loadgen": USERS_FAIL},
         "gateway", "resource_limit", ("reconcile", "gateway")),
    Case("name resolution of one container broken", {"gateway": blames("catalog=gaierror, orders=gaierror", "gaierror"),
         "loadgen": USERS_FAIL}, "gateway", "network_partition", ("reconcile", "gateway")),
    Case("link throttled", {"gateway": {"status": "WARN", "note": "slow:catalog=900ms"},
         "loadgen": {"status": "WARN", "latency_ms": 1400.0}}, "gateway", "network_latency", ("reconcile", "gateway")),
)  # fmt: skip


def acts(tasks: tuple[PlanTask, ...]) -> list[tuple[str, str]]:
    return [
        (task.type, task.target)
        for task in tasks
        if task.type in ("start", "resume", "restart", "reconcile", "flush_cache")
    ]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_fault_is_named_and_met_with_its_remedy(case: Case) -> None:
    world = World()
    world.seconds(5)
    world.seconds(3, case.looks)
    world.request()
    world.seconds(2, case.looks)
    proposal = world.proposal()
    believed = proposal.plan.hypothesis
    assert (believed.target, believed.fault_class) == (case.target, case.fault_class), believed
    assert case.act in acts(proposal.plan.tasks)
    assert {target for _, target in acts(proposal.plan.tasks)} == {case.target}
    assert believed.confidence > 0.6
    assert proposal.origin == "rulebook"
    assert proposal.decision_tag == "DETERMINISTIC"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_report_in_the_first_second_of_the_fault_gives_the_same_answer(case: Case) -> None:
    world = World()
    world.seconds(10)
    world.request()
    world.seconds(6, case.looks)
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == (case.target, case.fault_class), believed


def test_death_that_turns_out_to_be_for_want_of_memory_is_no_mere_death() -> None:
    """The engine tells of the death first and of its reason a moment later; the report says "down"."""
    world = World()
    world.seconds(5)
    world.request(text="catalog is down")
    world.second({"catalog": refused("ContainerDied")})
    world.seconds(2, {"catalog": refused("ContainerOOMKilled"), "gateway": blames("catalog=gaierror", "gaierror")})
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == ("catalog", "resource_limit")


STALLED: Look = {"status": "WARN", "error_code": "ConsumerStalledError"}


def test_a_stall_says_what_it_stands_on_and_that_nothing_is_started_anew() -> None:
    world = World()
    world.seconds(5)
    world.request(text="orders are accepted and none of them is shipped, fulfilment is stuck")
    world.seconds(6, {"fulfilment": STALLED})
    proposal = world.proposal()
    assert proposal.plan.hypothesis.evidence[0].startswith("fulfilment is up and waits, messages wait in shop-mq")
    assert acts(proposal.plan.tasks) == [("reconcile", "shop-mq")]


@pytest.mark.parametrize(
    ("looks", "target", "fault_class"),
    [
        ({"shop-mq": refused(), "fulfilment": blames("shop-mq=ECONNREFUSED", "ECONNREFUSED"),
          "orders": blames("shop-mq=ECONNREFUSED", "ECONNREFUSED"), "loadgen": USERS_FAIL}, "shop-mq", "process_down"),
        ({"shop-mq": hung(), "fulfilment": blames("shop-mq=TimeoutError", "TimeoutError"),
          "orders": blames("shop-mq=TimeoutError", "TimeoutError"), "loadgen": USERS_FAIL}, "shop-mq", "process_hung"),
        ({"fulfilment": refused()}, "fulfilment", "process_down"),
        ({"fulfilment": hung()}, "fulfilment", "process_hung"),
    ],
    ids=["queue stopped", "queue hung", "fulfilment stopped", "fulfilment hung"],
)  # fmt: skip
def test_what_stops_or_hangs_after_a_stall_is_no_stall(looks: dict[str, Look], target: str, fault_class: str) -> None:
    world = World()
    world.seconds(5)
    world.seconds(2, {"fulfilment": STALLED})
    world.request()
    world.seconds(4, looks)
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == (target, fault_class), believed


def test_full_volume_is_named_and_nothing_is_done_about_it() -> None:
    """No verb of the catalogue makes room: what is done is to look, and to say it."""
    looks = {"shop-cache": refused("MISCONF"), "catalog": blames("shop-cache=ResponseError", status="WARN")}
    world = World()
    world.seconds(5)
    world.request()
    world.seconds(6, looks)
    proposal = world.proposal()
    believed = proposal.plan.hypothesis
    assert (believed.target, believed.fault_class) == ("shop-cache", "disk_full")
    assert acts(proposal.plan.tasks) == []


@pytest.mark.parametrize("code", ["ECONNRESET", "ConnectionDoesNotExistError", "RemoteProtocolError", "ReadError"])
@pytest.mark.parametrize("device", ["orders", "gateway", "catalog"])
def test_connections_that_break_now_and_then_are_loss(code: str, device: str) -> None:
    world = World()
    world.seconds(5)
    for number in range(6):
        world.second({device: {"status": "WARN", "error_code": code}} if number % 3 == 0 else None)
    world.request(text="every so often a request fails")
    world.seconds(3, {device: {"status": "WARN", "error_code": code}})
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == (device, "network_loss")
    assert acts(world.proposal().plan.tasks) == [("reconcile", device)]


def test_dependency_that_is_slow_and_too_slow_by_turns_is_late_and_not_cut_off() -> None:
    """As recorded with 250 ms on the way to the database: every second check is over its time-out."""
    late: Look = {"status": "ERROR", "note": "shop-db=TimeoutError", "error_code": "TimeoutError"}
    slow: Look = {"status": "WARN", "note": "slow:shop-db=502ms", "error_code": "TimeoutError"}
    world = World()
    world.seconds(10)
    for look in (late, slow, late):
        world.second({"catalog": look, "loadgen": USERS_FAIL})
    world.request(text="product pages are slow")
    world.second({"catalog": slow, "loadgen": USERS_FAIL})
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == ("catalog", "network_latency")


def test_no_deviation_is_no_fault_after_three_samples_of_traffic() -> None:
    world = World()
    world.seconds(5)
    world.request(text="I think the database is down, restart everything!")
    world.seconds(2)
    assert not world.proposals()
    world.second()
    proposal = world.proposal()
    assert proposal.plan.hypothesis.fault_class == "none"
    assert proposal.plan.hypothesis.target == "loadgen"
    assert [task.type for task in proposal.plan.tasks] == ["check_metrics", "check_metrics"]


def test_single_slow_check_of_a_busy_machine_is_no_fault() -> None:
    world = World()
    world.seconds(5)
    world.request(text="is everything fine?")
    world.second({"catalog": {"status": "WARN", "note": "shop-cache=TimeoutError", "error_code": "TimeoutError"}})
    world.seconds(6)
    assert world.proposal().plan.hypothesis.fault_class == "none"
    assert acts(world.proposal().plan.tasks) == []


def test_one_bad_second_of_a_busy_machine_is_waited_out() -> None:
    world = World()
    world.seconds(5)
    world.request(text="is it down again?")
    slow: Look = {"status": "WARN", "note": "slow:shop-db=466ms", "error_code": "TimeoutError", "success_ratio": 0.88}
    tired: Look = {"status": "WARN", "error_code": "TimeoutError", "success_ratio": 0.9}
    users: Look = {"status": "ERROR", "success_ratio": 0.89, "error_code": "502"}
    world.second({"orders": slow, "loadgen": users})
    world.seconds(4, {"orders": tired, "loadgen": users})
    assert not world.proposals()
    world.seconds(9, {"orders": {"error_code": "TimeoutError"}})
    assert world.proposal().plan.hypothesis.fault_class == "none"


def test_client_that_sees_the_death_first_does_not_take_the_blame() -> None:
    """The database dies; orders says so before the database's own probe was due."""
    world = World()
    world.seconds(5)
    dead = {"orders": blames("shop-db=ECONNREFUSED", "ECONNREFUSED"), "loadgen": USERS_FAIL}
    world.request()
    world.second(dead)
    assert not world.proposals()
    world.seconds(2, {**dead, "shop-db": refused(), "catalog": blames("shop-db=ECONNREFUSED")})
    assert world.proposal().plan.hypothesis.target == "shop-db"


def test_hung_database_whose_probe_takes_its_time_is_waited_for() -> None:
    world = World()
    world.seconds(5)
    world.request()
    symptoms = {"orders": blames("shop-db=TimeoutError", "TimeoutError"), "loadgen": USERS_FAIL}
    world.second(symptoms, skip=["shop-db"])
    world.second(symptoms, skip=["shop-db"])
    assert not world.proposals()
    world.second({**symptoms, "shop-db": hung()})
    world.second({**symptoms, "shop-db": hung()})
    assert world.proposal().plan.hypothesis.fault_class == "process_hung"


def test_users_suffer_and_nobody_says_why_so_everything_is_looked_at_and_nothing_done() -> None:
    world = World()
    world.seconds(5)
    world.request()
    world.seconds(5, {"loadgen": USERS_FAIL})
    assert not world.proposals()
    world.second({"loadgen": USERS_FAIL})
    proposal = world.proposal()
    assert acts(proposal.plan.tasks) == []
    assert {task.target for task in proposal.plan.tasks if task.type == "check_config"} >= {"gateway", "orders"}
    assert proposal.plan.hypothesis.confidence < 0.5


def test_error_that_a_repaired_service_still_remembers_is_acted_on_no_more() -> None:
    """The cache was flushed; the catalog is well and reports its last error for ten seconds. Now orders hangs."""
    remembers: Look = {"error_code": "UnicodeDecodeError"}
    world = World()
    world.seconds(5, {"catalog": {**remembers, "status": "ERROR"}, "loadgen": USERS_FAIL})
    world.seconds(2, {"catalog": remembers})
    looks = {"catalog": remembers, "orders": hung("TIMEOUT"), "gateway": blames("orders=ReadTimeout", "ReadTimeout")}
    world.request()
    world.seconds(4, looks)
    assert {target for _, target in acts(world.proposal().plan.tasks)} == {"orders"}


@pytest.mark.parametrize(
    "database",
    [{}, {"shop-db": {"cpu_load": 1.7}, "catalog": {"status": "WARN", "note": "slow:shop-db=180ms"}}],
    ids=["behind a lock", "without an index"],
)
def test_statements_that_wait_in_vain_while_the_check_is_well_are_drift_of_the_database(
    database: dict[str, Look],
) -> None:
    world = World()
    world.seconds(10)
    world.request()
    world.seconds(6, {"orders": {"status": "ERROR", "error_code": "TimeoutError"}, "gateway": GATEWAY_500,
                      "loadgen": USERS_FAIL, **database})  # fmt: skip
    plan = world.proposal().plan
    assert (plan.hypothesis.target, plan.hypothesis.fault_class) == ("shop-db", "config_drift")
    assert ("reconcile", "shop-db") in acts(plan.tasks)


def test_patience_ends_and_the_likeliest_candidate_is_taken() -> None:
    world = World()
    world.seconds(5)
    world.request()
    world.seconds(5, {"orders": blames("shop-db=SomethingNewError", "SomethingNewError"), "loadgen": USERS_FAIL})
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == ("orders", "config_drift")
    assert believed.confidence < 0.6


def test_users_whose_requests_all_hang_right_now_are_still_looked_at_for_they_were_measured_a_moment_ago() -> None:
    drift: dict[str, Look] = {
        "orders": blames("shop-db=gaierror", "gaierror"),
        "gateway": GATEWAY_500,
        "loadgen": {**USERS_FAIL, "success_ratio": None, "latency_ms": None, "status": "WARN"},
    }
    world = World()
    world.seconds(5)
    world.second({**drift, "loadgen": USERS_FAIL})
    world.seconds(2, drift)
    world.request(text="checkout is dead, db maybe??")
    world.seconds(2, drift)
    plan = world.proposal().plan
    assert plan.hypothesis.fault_class == "config_drift"
    assert "check_metrics" in {task.type for task in plan.tasks}
