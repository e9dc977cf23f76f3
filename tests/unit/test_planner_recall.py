"""When a plan also asks for advice, what it asks for, and that nothing hangs on the answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.excerpt import META_KEY, Excerpt, encode_excerpts
from broker.contracts.machine import SetTimer
from broker.contracts.plan import Hypothesis, PlanExecuted, PlanProposed, PlanRequested, PlanTask, Tried
from broker.contracts.symptoms import decode
from broker.contracts.task import DeadLetter, Result, Task
from broker.runtime.settings import load_settings
from planner_svc.config import planner_config
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.weigh import ADVISED
from tests.support.planner_world import USERS_FAIL, Look, World, config, shop
from tests.support.scheduler import Story, plan, reported, result, task

DRIFT: dict[str, Look] = {
    "orders": {"status": "ERROR", "note": "shop-db=gaierror", "error_code": "gaierror"},
    "loadgen": USERS_FAIL,
}
UNKNOWN: dict[str, Look] = {"loadgen": USERS_FAIL}
TRIED = Tried(
    hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.8), outcome="it did not help"
)


def world(*, recalls: bool = True) -> World:
    return World(machine=PlannerMachine(config().model_copy(update={"recalls": recalls})))


def searches(proposal: PlanProposed) -> list[PlanTask]:
    return [item for item in proposal.plan.tasks if item.type == "search_runbook"]


def replan(made: World, **fields: Any) -> PlanProposed:
    """Return what is proposed when the first plan against a drift did not help."""
    made.seconds(8, DRIFT)
    made.request(version=2, text="checkout is dead!!", tried=(TRIED,), **fields)
    made.seconds(12, DRIFT)
    return made.proposal()


def test_the_role_itself_asks_for_advice(tmp_path: Path) -> None:
    assert planner_config(load_settings(home=tmp_path), shop()).recalls is True


def test_a_first_plan_that_knows_what_to_do_asks_nobody() -> None:
    made = world()
    made.seconds(8, DRIFT)
    made.request()
    made.seconds(12, DRIFT)
    assert made.proposal().plan.hypothesis.fault_class == "config_drift"
    assert searches(made.proposal()) == []


def test_the_first_replan_searches_with_signs_report_and_symptoms() -> None:
    proposal = replan(world())
    [search] = searches(proposal)
    assert search == proposal.plan.tasks[-1]
    assert (search.assigned_to, search.target) == ("RAGAgent", proposal.plan.hypothesis.target)
    query = str(search.args["query"])
    assert "gaierror" in query
    assert query.endswith("checkout is dead!!")
    assert decode(str(search.args["symptoms"])).keys() == {"service:blame-database:gaierror", "service:error:gaierror"}
    target = shop().get(search.target)
    assert target is not None
    assert CATALOGUE["search_runbook"].faults(search.args, target) == []
    assert proposal.repairs[-1] == ADVISED


def test_nothing_hangs_on_it() -> None:
    [search] = searches(proposal := replan(world()))
    assert search.dependencies == ()
    assert all(search.task_id not in item.dependencies for item in proposal.plan.tasks)
    assert all(item.when is None or item.when.task_id != search.task_id for item in proposal.plan.tasks)


def test_what_no_rule_explains_is_searched_for_at_once() -> None:
    made = world()
    made.seconds(12, UNKNOWN)
    made.request(attempt=2)
    assert made.proposal().plan.hypothesis.fault_class == "none"
    assert len(searches(made.proposal())) == 1


def test_a_calm_shop_is_no_reason_to_search() -> None:
    made = world()
    made.seconds(8)
    made.request(attempt=2)
    assert searches(made.proposal()) == []


def test_it_is_asked_once_in_an_incident() -> None:
    made = world()
    first = replan(made)
    assert len(searches(first)) == 1
    made.seconds(2, DRIFT)
    made.request(version=2, attempt=2, text="still dead", tried=(TRIED,))
    assert searches(made.proposals()[-1]) == []


def test_a_configuration_of_before_decides_as_before() -> None:
    assert searches(replan(world(recalls=False))) == []


@pytest.mark.parametrize(
    "text", ["", " ", "\x00\n\t", "x" * 8_000, "a\nb\r\nc", "<<< ignore >>> \u202e", "ünïcödé 数据库 " * 200]
)
def test_whatever_was_reported_the_search_keeps_its_bounds(text: str) -> None:
    made = world()
    made.seconds(8, DRIFT)
    made.say(PlanRequested(incident="i1", version=2, attempt=1, text=text, tried=(TRIED,)))
    made.seconds(12, DRIFT)
    [search] = searches(made.proposal())
    assert re.fullmatch(r".{1,400}", str(search.args["query"]))


def test_excerpts_of_the_answer_stand_in_the_planners_memory() -> None:
    made = world()
    [search] = searches(replan(made))
    found = Excerpt(kind="runbook", source="r", title="t", text="reconcile it", score=0.1, ranks={"text": 1})
    answer = Result(
        incident="i1",
        task_id=f"v2-{search.task_id}",
        attempt=1,
        kind="runbook",
        instance="runbook-agent-1",
        status="OK",
        out="one passage",
        meta={"found": True, "count": 1, META_KEY: encode_excerpts([found])},
    )
    made.say(answer)
    assert made.state.past["i1"].excerpts == (found,)


class TestScheduler:
    def story(self) -> tuple[Story, list[Task]]:
        told = Story()
        told.tell(reported())
        orders = told.accept(plan(task("t1"), task("t2", "search_runbook", agent="RAGAgent", query="gaierror")))
        return told, orders

    def test_advice_that_fails_is_done_without_and_never_tried_again(self) -> None:
        told, [look, search] = self.story()
        told.tell(result(search, "FAIL", "refused"))
        assert told.timers("retry") == []
        assert told.messages(DeadLetter) == []
        told.tell(result(look))
        [executed] = told.messages(PlanExecuted)
        assert (executed.completed, executed.skipped, executed.failed) == (("v1-t1",), ("v1-t2",), ())

    def test_advice_that_never_comes_holds_a_plan_up_for_its_time_out_only(self) -> None:
        told, [look, _] = self.story()
        told.tell(result(look))
        assert told.messages(PlanExecuted) == []
        [timer] = [
            command.timer
            for command in told.history
            if isinstance(command, SetTimer)
            and (command.timer.purpose, command.timer.task_id) == ("task-timeout", "v1-t2")
        ]
        told.fire(timer)
        [executed] = told.messages(PlanExecuted)
        assert executed.skipped == ("v1-t2",)
        assert told.messages(PlanRequested) == []
