"""The life of a request: who is asked, what follows from an answer, what from silence."""

from __future__ import annotations

import json

import pytest

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Publish
from broker.contracts.plan import Hypothesis, PlanProposed, Reason, Tried
from broker.contracts.task import Result
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.prompt import prompt_hash
from planner_svc.core.state import PlannerState
from tests.support.planner_world import SECOND, UNANSWERED, USERS_FAIL, Look, World, config, sample

DRIFT: dict[str, Look] = {
    "orders": {"status": "ERROR", "note": "shop-db=gaierror", "error_code": "gaierror", "success_ratio": 0.0},
    "gateway": {"status": "ERROR", "error_code": "HTTPStatusError", "success_ratio": 0.5},
    "loadgen": USERS_FAIL,
}


def answer(target: str, fault_class: str, confidence: float = 0.8) -> str:
    return json.dumps({"target": target, "fault_class": fault_class, "confidence": confidence})


def asked_world(looks: dict[str, Look] | None = None) -> World:
    """Return a world in which the model has just been asked."""
    world = World(PlannerMachine(config("auto")))
    world.seconds(5)
    world.seconds(3, DRIFT if looks is None else looks)
    world.request()
    world.second(DRIFT if looks is None else looks)
    return world


def result(task_id: str, **fields: object) -> Result:
    values: dict[str, object] = {
        "incident": "i1", "task_id": task_id, "attempt": 1, "kind": "action", "instance": "action-1",
        "status": "OK", "out": "seen",
    }  # fmt: skip
    return Result.model_validate(values | fields)


def test_model_is_asked_once_and_nothing_is_proposed_before_it_answers() -> None:
    world = asked_world()
    world.seconds(10, DRIFT)
    [prompt] = world.prompts()
    assert not world.proposals()
    assert prompt.prompt_hash == prompt_hash(prompt.messages)


def test_model_that_agrees_with_the_rulebook_raises_confidence() -> None:
    world = asked_world()
    world.answer(world.prompts()[0], answer("orders", "config_drift"))
    proposal = world.proposal()
    assert proposal.origin == "llm"
    assert proposal.decision_tag == "LLM_DECISION"
    assert isinstance(world.commands[-1], Publish)
    assert world.commands[-1].tag == "LLM_DECISION"
    assert proposal.plan.hypothesis.confidence > 0.95
    assert any("agree" in remark for remark in proposal.repairs)


def test_model_that_differs_leads_and_the_rulebooks_cause_is_confirmed_beside_it() -> None:
    world = asked_world()
    world.answer(world.prompts()[0], answer("shop-db", "process_down"))
    proposal = world.proposal()
    assert (proposal.plan.hypothesis.target, proposal.plan.hypothesis.fault_class) == ("shop-db", "process_down")
    assert proposal.plan.hypothesis.confidence < 0.8
    changing = {(t.type, t.target) for t in proposal.plan.tasks if CATALOGUE[t.type].changes_world}
    assert ("start", "shop-db") in changing
    assert ("reconcile", "orders") in changing
    assert all(t.when is not None for t in proposal.plan.tasks if CATALOGUE[t.type].changes_world)
    assert len(proposal.plan.tasks) <= 8


def test_model_that_says_a_healthy_service_hangs_cannot_have_it_restarted() -> None:
    world = asked_world()
    world.answer(world.prompts()[0], answer("catalog", "process_hung", 1.0))
    assert "restart" not in {task.type for task in world.proposal().plan.tasks}


def test_service_that_is_silent_may_be_restarted_if_it_is_not_paused() -> None:
    silent = {**UNANSWERED, "error_code": "TIMEOUT"}
    world = asked_world({"catalog": silent, "loadgen": USERS_FAIL})
    world.answer(world.prompts()[0], answer("catalog", "process_hung"))
    restart = next(task for task in world.proposal().plan.tasks if task.type == "restart")
    assert restart.when is not None
    assert (restart.when.field, restart.when.equals) == ("sound", True)


def test_model_that_blames_the_caches_client_for_poison_is_mended_to_the_cache() -> None:
    poison: dict[str, Look] = {"catalog": {"status": "ERROR", "error_code": "JSONDecodeError"}, "loadgen": USERS_FAIL}
    world = asked_world(poison)
    world.answer(world.prompts()[0], answer("catalog", "cache_poison"))
    proposal = world.proposal()
    assert proposal.plan.hypothesis.target == "shop-cache"
    flush = next(task for task in proposal.plan.tasks if task.type == "flush_cache")
    assert flush.args == {"prefix": "catalog:"}
    assert any("mended to its cache" in remark for remark in proposal.repairs)


@pytest.mark.parametrize("outcome", ["unreachable", "timeout", "error"])
def test_endpoint_in_trouble_means_the_rulebook_decides_at_once(outcome: str) -> None:
    world = asked_world()
    world.answer(world.prompts()[0], "", outcome=outcome, error="down")
    proposal = world.proposal()
    assert (proposal.origin, proposal.decision_tag) == ("rulebook", "DETERMINISTIC")
    assert proposal.plan.hypothesis.target == "orders"
    assert outcome in proposal.repairs[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think the database is down.",
        "{",
        "{}",
        '{"target":"orders"}',
        '{"target":"moon","fault_class":"config_drift","confidence":1}',
        '{"target":"orders","fault_class":"rm -rf /","confidence":1}',
        '{"target":["orders"],"fault_class":"config_drift","confidence":1}',
        '{"target":"loadgen","fault_class":"process_down","confidence":1}',
        '{"target":"orders","fault_class":"config_drift","confidence":NaN}',
    ],
)
def test_useless_answer_means_the_rulebook_decides(text: str) -> None:
    world = asked_world()
    world.answer(world.prompts()[0], text)
    proposal = world.proposal()
    assert proposal.origin == "rulebook"
    assert proposal.plan.hypothesis.target == "orders"
    assert any("the rulebook decides" in remark for remark in proposal.repairs)


def test_model_that_repeats_what_was_tried_is_overruled() -> None:
    tried = Tried(
        hypothesis=Hypothesis(target="shop-db", fault_class="process_down", confidence=0.9), outcome="still failing"
    )
    world = World(PlannerMachine(config("auto")))
    world.seconds(4, DRIFT)
    world.request(version=2, tried=(tried,))
    world.answer(world.prompts()[0], answer("shop-db", "process_down"))
    proposal = world.proposal()
    assert proposal.origin == "rulebook"
    assert any("was tried" in remark for remark in proposal.repairs)
    assert "shop-db process_down" in world.prompts()[0].messages[-1].content


def test_model_that_says_none_while_something_is_clearly_broken_gets_the_cause_confirmed_all_the_same() -> None:
    world = asked_world()
    world.answer(world.prompts()[0], answer("loadgen", "none"))
    proposal = world.proposal()
    assert proposal.plan.hypothesis.fault_class == "none"
    assert ("reconcile", "orders") in {(task.type, task.target) for task in proposal.plan.tasks}


def test_answer_to_an_older_attempt_or_another_prompt_is_nobodys() -> None:
    world = asked_world()
    [prompt] = world.prompts()
    world.answer(prompt, answer("orders", "config_drift"), prompt_hash="f" * 64)
    world.answer(prompt, answer("orders", "config_drift"), incident="other")
    assert not world.proposals()
    world.request(attempt=2, rejected=(Reason(code="bad_argument", detail="x"),))
    world.answer(prompt, answer("orders", "config_drift"))
    assert not world.proposals()
    assert len(world.prompts()) == 2


def test_second_attempt_after_a_time_out_asks_no_model() -> None:
    world = asked_world()
    world.request(attempt=2, rejected=(Reason(code="timed_out", detail="no plan within 45 s"),))
    assert len(world.prompts()) == 1
    assert world.proposal().origin == "rulebook"
    assert world.proposal().attempt == 2


def test_rulebook_only_request_asks_no_model_and_waits_for_nothing() -> None:
    world = World(PlannerMachine(config("auto")))
    world.request(rulebook_only=True, attempt=3)
    assert not world.prompts()
    assert world.proposal().plan.tasks


def test_silent_telemetry_is_answered_on_the_second_attempt_with_looks_only() -> None:
    world = World()
    world.request()
    assert not world.proposals()
    world.request(attempt=2)
    proposal = world.proposal()
    assert proposal.plan.tasks
    assert not any(CATALOGUE[task.type].changes_world for task in proposal.plan.tasks)
    assert "check_metrics" not in {task.type for task in proposal.plan.tasks}  # nobody measures anything


def test_remedy_that_was_tried_gives_way_to_the_next_candidate() -> None:
    world = World()
    looks: dict[str, Look] = {"shop-mq": {**UNANSWERED, "error_code": "ECONNREFUSED"}}
    world.seconds(4, looks)
    tried = Tried(hypothesis=Hypothesis(target="shop-mq", fault_class="process_down", confidence=0.9), outcome="no")
    world.request(version=2, tried=(tried,))
    world.seconds(5, looks)
    believed = world.proposal().plan.hypothesis
    assert believed.target == "shop-mq"
    assert believed.fault_class != "process_down"
    assert world.proposal().plan.plan_version == 2


@pytest.mark.parametrize(("well", "again"), [((), False), (("orders",), True), (("catalog",), False)])
def test_remedy_that_helped_is_taken_again_when_the_fault_comes_back(well: tuple[str, ...], again: bool) -> None:
    """Well after the repair, and ill again: not the repair has failed (docs/adr/0027)."""
    world = World()
    world.seconds(4, DRIFT)
    tried = Tried(
        hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.9),
        outcome="check of plan version 1 failed",
        well=well,
    )
    world.request(version=2, tried=(tried,))
    world.seconds(5, DRIFT)
    believed = world.proposal().plan.hypothesis
    assert ((believed.target, believed.fault_class) == ("orders", "config_drift")) is again


def test_remedy_that_helped_is_not_taken_again_while_its_device_is_well() -> None:
    world = World()
    looks: dict[str, Look] = {"catalog": {**DRIFT["orders"], "status": "ERROR"}, "loadgen": USERS_FAIL}
    world.seconds(4, looks)
    tried = Tried(
        hypothesis=Hypothesis(target="catalog", fault_class="config_drift", confidence=0.9),
        outcome="no",
        well=("orders",),
    )
    world.request(version=2, tried=(tried,))
    world.seconds(5, looks)
    believed = world.proposal().plan.hypothesis
    assert (believed.target, believed.fault_class) != ("catalog", "config_drift")


def test_confirmation_that_failed_rules_out_every_name_of_the_same_remedy() -> None:
    world = World()
    looks: dict[str, Look] = {
        "orders": {"status": "ERROR", "note": "shop-db=TimeoutError", "error_code": "TimeoutError"},
        "loadgen": USERS_FAIL,
    }
    world.seconds(5, looks)
    world.request()
    first = world.proposal()
    confirm = next(task for task in first.plan.tasks if task.type == "check_config")
    world.say(result(f"v1-{confirm.task_id}", meta={"drifted": False, "running": True, "paused": False}))
    world.request(version=2)
    world.seconds(5, looks)
    second = world.proposals()[1]
    assert ("reconcile", "orders") not in {(task.type, task.target) for task in second.plan.tasks}


def test_what_an_agent_saw_on_a_device_leads_the_next_plan() -> None:
    world = World()
    world.seconds(5)
    world.request()
    world.seconds(7, {"loadgen": USERS_FAIL})
    look = next(task for task in world.proposal().plan.tasks if task.target == "fulfilment")
    world.say(result(f"v1-{look.task_id}", meta={"drifted": True, "running": True, "paused": False}))
    world.request(version=2)
    world.seconds(2, {"loadgen": USERS_FAIL})
    believed = world.proposals()[1].plan.hypothesis
    assert (believed.target, believed.fault_class) == ("fulfilment", "config_drift")


def test_telemetry_from_before_the_repair_says_nothing_about_after_it() -> None:
    world = World()
    world.seconds(4, DRIFT)
    world.request()
    act = next(task for task in world.proposal().plan.tasks if task.type == "reconcile")
    world.now_us += SECOND // 20
    world.say(result(f"v1-{act.task_id}", changed=True))
    world.request(version=2, tried=(Tried(hypothesis=world.proposal().plan.hypothesis, outcome="not proved"),))
    world.seconds(3)
    assert world.proposals()[1].plan.hypothesis.fault_class == "none"


def test_error_that_a_service_only_remembers_after_a_repair_is_no_fault() -> None:
    world = World()
    world.seconds(4, DRIFT)
    world.request()
    act = next(task for task in world.proposal().plan.tasks if task.type == "reconcile")
    world.say(result(f"v1-{act.task_id}", changed=True))
    world.say(IncidentClosed(incident="i1", verdict="verified", reason="served", plan_version=1, actions=1))
    remembers: dict[str, Look] = {"orders": {"error_code": "ECONNRESET"}}
    world.seconds(6, remembers)
    world.request(incident="i2", text="is it down again?")
    world.seconds(3, remembers)
    assert world.proposals()[1].plan.hypothesis.fault_class == "none"


def test_plan_id_and_time_come_from_the_request_and_the_event() -> None:
    world = asked_world()
    at = world.now_us
    world.answer(world.prompts()[0], "garbage")
    first = world.proposal().plan
    world.request(attempt=2)
    world.answer(world.prompts()[1], answer("orders", "config_drift"))
    second = world.proposals()[1].plan
    assert first.created_at.timestamp() == pytest.approx(at / SECOND)
    assert len({first.plan_id, second.plan_id}) == 2
    again = asked_world()
    again.answer(again.prompts()[0], "garbage")
    assert again.proposal().plan.plan_id == first.plan_id


def test_closed_incident_is_forgotten() -> None:
    world = asked_world()
    closed = IncidentClosed(incident="i1", verdict="unresolved", reason="gave up", plan_version=1, actions=0)
    world.say(closed)
    world.seconds(10, DRIFT)
    assert not world.proposals()
    assert not world.state.open
    assert not world.state.past


def test_two_incidents_are_answered_apart() -> None:
    world = World()
    world.seconds(3, DRIFT)
    world.request(incident="a")
    world.request(incident="b")
    assert [proposal.incident for proposal in world.proposals()] == ["a", "b"]
    assert world.proposals()[0].plan.plan_id != world.proposals()[1].plan.plan_id


def test_memory_is_bounded_and_survives_a_round_trip() -> None:
    world = World(PlannerMachine(config("auto")))
    world.seconds(60, DRIFT)
    for number in range(40):
        world.request(incident=f"i{number}")
    assert max(len(history) for history in world.state.samples.values()) == 30
    assert len(world.state.past) == 16
    assert len(world.state.encode()) < 200_000
    again = PlannerState.decode(world.state.encode())
    assert again == world.state
    assert again.encode() == world.state.encode()


def test_unknown_device_and_unasked_result_change_nothing() -> None:
    world = World()
    world.seconds(2)
    before = world.state
    world.say(sample("orders", world.now_us).model_copy(update={"device_id": "intruder"}))
    world.say(result("v9-t1", meta={"drifted": True}))
    assert world.state == before


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        ("triage.telemetry.orders", True),
        ("triage.plan.i1.v1.a1.requested", True),
        ("triage.plan.i1.v1.a1.answered", True),
        ("triage.result.log.i1.v1-t1.a1", True),
        ("triage.incident.i1.closed", True),
        ("triage.plan.i1.v1.a1.proposed", False),
        ("triage.plan.i1.v1.executed", False),
        ("triage.incident.i1.reported", False),
        ("triage.control.halt", False),
        ("triage.task.log.i1.v1-t1.a1", False),
        ("elsewhere.telemetry.orders", False),
        ("triage", False),
    ],
)
def test_subjects_the_planner_reads(subject: str, read: bool) -> None:
    assert PlannerMachine(config()).reads(subject) is read


def test_every_proposal_of_the_rulebook_says_deterministic() -> None:
    world = World()
    world.seconds(3, DRIFT)
    world.request()
    [command] = world.commands
    assert isinstance(command, Publish)
    assert command.tag == "DETERMINISTIC"
    assert isinstance(command.message, PlanProposed)
