"""What servers themselves say leads to the right repair, from telemetry as the shop gives it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker.contracts.plan import PlanTask
from planner_svc.core.machine import PlannerMachine
from planner_svc.errors import RulebookError
from planner_svc.rulebook_files import FILES, MORE, load
from tests.support.planner_world import UNANSWERED, USERS_FAIL, Look, World, config
from tests.unit.test_rulebook_faults import GATEWAY_500, Case, acts, blames

SOURCE = Path(__file__).parents[2] / "planner_svc" / "rulebook"
CASES = (
    Case("database out of connections", {"shop-db": {**UNANSWERED, "error_code": "53300"},
         "orders": blames("shop-db=TooManyConnectionsError", "TooManyConnectionsError"),
         "catalog": blames("shop-db=TooManyConnectionsError", "TooManyConnectionsError"), "gateway": GATEWAY_500,
         "loadgen": USERS_FAIL}, "shop-db", "resource_limit", ("reconcile", "shop-db")),
    Case("privilege revoked", {"orders": {"status": "ERROR", "error_code": "InsufficientPrivilegeError",
         "success_ratio": 0.0, "log_sample": "permission denied for table orders"}, "gateway": GATEWAY_500,
         "loadgen": USERS_FAIL}, "shop-db", "config_drift", ("reconcile", "shop-db")),
    Case("feature ahead of the schema", {"orders": {"status": "ERROR", "error_code": "UndefinedColumnError",
         "success_ratio": 0.0}, "gateway": GATEWAY_500, "loadgen": USERS_FAIL},
         "orders", "config_drift", ("reconcile", "orders")),
    Case("build with a bug", {"catalog": {"status": "ERROR", "error_code": "KeyError", "success_ratio": 0.1},
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "catalog", "config_drift", ("reconcile", "catalog")),
    Case("descriptors exhausted", {"gateway": blames("catalog=EMFILE, orders=EMFILE", "EMFILE"),
         "loadgen": USERS_FAIL}, "gateway", "resource_limit", ("reconcile", "gateway")),
    Case("cache demands a password", {"catalog": {"status": "WARN", "note": "shop-cache=AuthenticationError",
         "error_code": "AuthenticationError"}}, "shop-cache", "bad_credentials", ("reconcile", "shop-cache")),
    Case("requests shed under a flood", {"gateway": {"status": "ERROR", "error_code": "OverloadedError",
         "success_ratio": 0.3, "cpu_load": 1.1}, "catalog": {"cpu_load": 0.9, "status": "WARN"},
         "loadgen": {**USERS_FAIL, "error_code": "503"}}, "gateway", "cpu_saturation", ("reconcile", "gateway")),
    Case("statements wait for a lock", {"orders": {"status": "ERROR", "error_code": "TimeoutError",
         "success_ratio": 0.2}, "gateway": GATEWAY_500, "loadgen": USERS_FAIL},
         "shop-db", "config_drift", ("reconcile", "shop-db")),
    Case("statements that wait for a lock have used up the connections", {
         "orders": blames("shop-db=TooManyConnectionsError", "TooManyConnectionsError"), "gateway": GATEWAY_500,
         "loadgen": USERS_FAIL}, "shop-db", "config_drift", ("reconcile", "shop-db")),
    Case("started by a command that cannot work", {"orders": {**UNANSWERED, "error_code": "ECONNREFUSED"},
         "gateway": blames("orders=ECONNREFUSED", "ECONNREFUSED"), "loadgen": USERS_FAIL},
         "orders", "process_down", ("reconcile", "orders")),
    Case("descriptors exhausted, so that nobody is let in", {"gateway": {**UNANSWERED, "error_code": "TIMEOUT"},
         "loadgen": {**USERS_FAIL, "error_code": "timeout"}},
         "gateway", "process_hung", ("reconcile", "gateway")),
    Case("a millisecond for the database", {"orders": blames("shop-db=TimeoutError", "TimeoutError"),
         "gateway": GATEWAY_500, "loadgen": USERS_FAIL}, "orders", "network_partition", ("reconcile", "orders")),
    Case("cache full", {"catalog": {"status": "OK", "error_code": "OutOfMemoryError"}},
         "shop-cache", "resource_limit", ("reconcile", "shop-cache")),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_a_server_says_is_met_with_its_remedy(case: Case) -> None:
    world = World()
    world.seconds(5)
    world.seconds(4, case.looks)
    world.request()
    world.seconds(6, case.looks)
    proposal = world.proposal()
    believed = proposal.plan.hypothesis
    assert (believed.target, believed.fault_class) == (case.target, case.fault_class), believed
    assert case.act in acts(proposal.plan.tasks)


def test_statements_that_wait_in_vain_are_looked_for_at_the_database_and_on_the_way_to_it_at_once() -> None:
    """A lock looks like a cut network; which of the two it is, the looks of one plan decide."""
    looks: dict[str, Look] = {
        "orders": {"status": "ERROR", "error_code": "TimeoutError", "success_ratio": 0.2},
        "gateway": GATEWAY_500,
        "loadgen": USERS_FAIL,
    }
    world = World()
    world.seconds(5)
    world.seconds(4, looks)
    world.request()
    world.seconds(6, looks)
    plan = world.proposal().plan
    assert acts(plan.tasks) == [("reconcile", "shop-db"), ("reconcile", "orders")]
    confirms = {task.task_id: task.target for task in plan.tasks if task.type == "check_config"}
    hangs_on = [(task.target, confirms[task.when.task_id]) for task in plan.tasks if task.when is not None]
    assert hangs_on == [("shop-db", "shop-db"), ("orders", "orders")]


def test_a_service_that_is_cut_off_from_its_database_is_not_taken_for_a_lock() -> None:
    """Its own check of the database fails as well; behind a lock it does not."""
    world = World()
    world.seconds(5)
    world.request()
    world.seconds(6, {"orders": blames("shop-db=TimeoutError", "TimeoutError"), "loadgen": USERS_FAIL})
    assert {target for _, target in acts(world.proposal().plan.tasks)} == {"orders"}


CACHE_REPORTS = (
    "products load slower than usual, cache maybe full?",
    "the catalog says OOM something about the cache",
    "cache does not take anything any more",
)


@pytest.mark.parametrize("text", CACHE_REPORTS)
def test_full_cache_is_waited_for_until_somebody_writes_into_it(text: str) -> None:
    """All products were cached in the same seconds, so nothing is written until they run out together."""
    world = World()
    world.seconds(5)
    world.request(text=text)
    world.seconds(27)
    assert not world.proposals()
    world.seconds(2, {"catalog": {"error_code": "OutOfMemoryError"}})
    assert acts(world.proposal().plan.tasks) == [("reconcile", "shop-cache")]


@pytest.mark.parametrize("text", CACHE_REPORTS)
def test_report_of_a_full_cache_that_is_none_is_answered_before_the_attempt_is_over(text: str) -> None:
    world = World()
    world.seconds(5)
    world.request(text=text)
    world.seconds(36)
    assert world.proposal().plan.hypothesis.fault_class == "none"


def test_what_a_service_only_remembers_of_its_cache_hides_no_trouble_of_now() -> None:
    """A service tells its last error for ten seconds, well or not."""
    remembers: Look = {"error_code": "OutOfMemoryError"}
    world = World()
    world.seconds(5, {"catalog": remembers})
    world.second({"catalog": remembers, "loadgen": USERS_FAIL})
    world.request(text="orders take forever and then fail")
    blame = blames("shop-db=TooManyConnectionsError", "TooManyConnectionsError")
    world.seconds(4, {"catalog": remembers, "orders": blame, "gateway": GATEWAY_500, "loadgen": USERS_FAIL})
    assert world.proposal().plan.hypothesis.target == "shop-db"


@pytest.mark.parametrize("text", ["the cache is fully broken!", "redis cache looks funny", "is the disk full?"])
def test_other_words_about_caches_are_not_waited_for(text: str) -> None:
    world = World()
    world.seconds(5)
    world.request(text=text)
    world.seconds(4)
    assert world.proposal().plan.hypothesis.fault_class == "none"


def test_two_slow_seconds_of_a_busy_machine_do_not_hide_what_a_service_says_a_moment_later() -> None:
    """A deployment costs processor time, so a neighbour waits for everything; then the new build fails its requests."""
    slow: Look = {"status": "WARN", "note": "slow:orders=240ms, slow:shop-mq=210ms"}
    world = World()
    world.seconds(5)
    world.second({"fulfilment": slow, "gateway": blames("catalog=ECONNREFUSED", "HTTPStatusError")})
    world.request(text="new catalog release looks broken")
    world.second({"fulfilment": slow, "gateway": GATEWAY_500, "loadgen": USERS_FAIL})
    assert not world.proposals()
    world.seconds(4, {"catalog": {"status": "ERROR", "error_code": "KeyError"}, "loadgen": USERS_FAIL})
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) == ("catalog", "config_drift")


@pytest.mark.parametrize(
    ("traffic", "restarts"),
    [
        (USERS_FAIL, True),
        ({**UNANSWERED, "error_code": "TIMEOUT"}, False),
        ({**USERS_FAIL, "success_ratio": None, "latency_ms": None, "status": "WARN"}, True),
    ],
    ids=["measured", "whoever measures is silent too", "nobody came"],
)
def test_nothing_is_restarted_for_being_silent_while_nobody_measures(traffic: Look, restarts: bool) -> None:
    """On a machine that starves every probe times out: the silence is not the device's alone (docs/adr/0027)."""
    looks: dict[str, Look] = {"catalog": {**UNANSWERED, "error_code": "TIMEOUT"}, "loadgen": traffic}
    assert (("restart", "catalog") in acts(planned(looks))) is restarts
    assert ("resume", "catalog") in acts(planned(looks))


def test_nothing_is_restarted_for_being_silent_when_nothing_was_heard_of_the_traffic_for_long() -> None:
    looks: dict[str, Look] = {"catalog": {**UNANSWERED, "error_code": "TIMEOUT"}}
    assert ("restart", "catalog") in acts(planned(looks))
    assert ("restart", "catalog") not in acts(planned(looks, skip=["loadgen"]))


def planned(looks: dict[str, Look], skip: Sequence[str] = ()) -> tuple[PlanTask, ...]:
    """Return the tasks of the plan that a planner makes as the role's shell makes it."""
    doubts = config().model_copy(update={"doubts_silence": True})
    world = World(PlannerMachine(doubts))
    world.seconds(5)
    for _ in range(8):
        world.second(looks, skip)
    world.request()
    for _ in range(6):
        world.second(looks, skip)
    return world.proposal().plan.tasks


def test_the_second_file_of_a_part_goes_on_where_the_first_ends() -> None:
    first = json.loads((SOURCE / "rules.json").read_text())
    more = json.loads((SOURCE / f"rules{MORE}.json").read_text())
    assert [rule.name for rule in load().rulebook.rules] == [item["name"] for item in (*first, *more)]


def test_a_damaged_second_file_is_named(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(SOURCE / f"{name}.json", tmp_path)
    (tmp_path / f"rules{MORE}.json").write_text("[{")
    with pytest.raises(RulebookError, match=rf"rules{MORE}\.json: line 1"):
        load(package=tmp_path)
