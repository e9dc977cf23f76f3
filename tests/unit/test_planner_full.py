"""Full mode and the combination with the rulebook: what acts is confirmed, what was mended is marked, who leads."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.plan import MAX_TASKS, Exchange, Hypothesis, PlanProposed, PlanTask, Reason, Tried
from broker.contracts.task import Result
from planner_svc.core.machine import PlannerMachine
from tests.property.test_planner_plans import check
from tests.support.planner_world import UNANSWERED, USERS_FAIL, Look, World, asking_config, shop

DRIFT: dict[str, Look] = {
    "orders": {"status": "ERROR", "note": "shop-db=gaierror", "error_code": "gaierror", "success_ratio": 0.0},
    "gateway": {"status": "ERROR", "error_code": "HTTPStatusError", "success_ratio": 0.5},
    "loadgen": USERS_FAIL,
}
VAGUE: dict[str, Look] = {"catalog": {"status": "WARN"}, "loadgen": USERS_FAIL}
POISON: dict[str, Look] = {"catalog": {"status": "ERROR", "error_code": "JSONDecodeError"}, "loadgen": USERS_FAIL}
HANGS: dict[str, Look] = {"orders": {**UNANSWERED, "error_code": "TIMEOUT"}, "loadgen": USERS_FAIL}
"""Two rules lie near each other here: the process hangs, or it is allowed less than it needs."""
Mode = Literal["hypothesis", "full"]


def asked_world(looks: dict[str, Look], mode: Mode = "full", **request: Any) -> World:
    """Return a world in which the model has just been asked, with all that the role's shell sets."""
    world = World(PlannerMachine(asking_config(mode)))
    world.seconds(5)
    world.seconds(3, looks)
    world.request(**request)
    world.seconds(0 if world.prompts() else 12, looks)
    assert world.prompts()
    return world


def do(name: str, type_: str, target: str, *after: str, **args: Any) -> dict[str, Any]:
    return {"task_id": name, "type": type_, "target": target, "args": args, "dependencies": list(after)}


def plan_text(target: str, fault_class: str, *tasks: dict[str, Any], **fields: Any) -> str:
    believed = {"target": target, "fault_class": fault_class, "confidence": 0.8}
    return json.dumps({"hypothesis": believed, "tasks": list(tasks), **fields})


def proposal_for(text: str, looks: dict[str, Look] | None = None, mode: Mode = "full", **request: Any) -> PlanProposed:
    world = asked_world(DRIFT if looks is None else looks, mode, **request)
    world.answer(world.prompts()[-1], text)
    proposal = world.proposals()[-1]
    check(proposal.plan, shop())
    return proposal


def acts(proposal: PlanProposed) -> list[PlanTask]:
    return [task for task in proposal.plan.tasks if CATALOGUE[task.type].changes_world]


def confirmation(proposal: PlanProposed, act: PlanTask) -> tuple[str, str, str, object]:
    assert act.when is not None
    look = next(task for task in proposal.plan.tasks if act.when and task.task_id == act.when.task_id)
    return look.type, look.target, act.when.field, act.when.equals


def test_prompt_of_full_mode_asks_for_a_plan_and_names_its_template() -> None:
    [prompt] = asked_world(DRIFT).prompts()
    assert (prompt.form, prompt.template) == ("plan", "full.v1")
    assert len(prompt.template_hash) == 64
    assert "reconcile() ActionAgent" in prompt.messages[0].content


def test_written_plan_is_the_models_decision_and_its_own_look_confirms_its_act() -> None:
    tasks = do("t1", "check_config", "orders"), do("t2", "reconcile", "orders", "t1")
    proposal = proposal_for(plan_text("orders", "config_drift", *tasks))
    assert (proposal.origin, proposal.decision_tag, proposal.mended) == ("llm", "LLM_DECISION", False)
    assert [task.task_id for task in proposal.plan.tasks] == ["t1", "t2"]
    assert confirmation(proposal, acts(proposal)[0]) == ("check_config", "orders", "drifted", True)
    assert "t2 only if t1 says drifted=true" in proposal.filled


def test_act_without_a_look_gets_its_confirmation_put_in_and_that_is_said() -> None:
    proposal = proposal_for(plan_text("orders", "config_drift", do("t1", "reconcile", "orders")))
    assert confirmation(proposal, acts(proposal)[0]) == ("check_config", "orders", "drifted", True)
    assert "confirmation c1 check_config orders put in" in proposal.filled
    assert not proposal.mended


def test_look_that_comes_after_the_act_does_not_confirm_it() -> None:
    tasks = do("t1", "reconcile", "orders"), do("t2", "check_config", "orders", "t1")
    proposal = proposal_for(plan_text("orders", "config_drift", *tasks))
    [act] = acts(proposal)
    assert act.when is not None
    assert act.when.task_id == "c1"


def test_cache_is_emptied_only_of_its_declared_prefix_and_only_if_its_client_complains() -> None:
    proposal = proposal_for(plan_text("shop-cache", "cache_poison", do("t1", "flush_cache", "shop-cache")), POISON)
    [act] = acts(proposal)
    prefix = next(device.cache_prefix for device in shop().devices if device.name == "shop-cache")
    assert act.args == {"prefix": prefix}
    assert confirmation(proposal, act) == ("check_logs", "catalog", "matched", True)


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([do("t1", "flush_cache", "shop-cache", prefix="orders:")], "bad_argument"),
        ([do("t1", "reconcile", "loadgen")], "bad_argument"),
        ([do("t1", "check_health", "orders", within_s=9_999.0)], "bad_argument"),
        ([do("t1", "check_metrics", "orders")], "bad_argument"),
        ([do("t1", "restart", "orders")], "unconfirmed"),
        ([do("t1", "shutdown", "orders")], "unknown_type"),
        ([do("t1", "reconcile", "the-moon")], "unknown_target"),
        ([do(f"t{n}", "start", name) for n, name in enumerate(shop().names()[:7])], "too_many_tasks"),
    ],
)
def test_what_may_not_be_is_refused_and_never_clamped(tasks: list[dict[str, Any]], code: str) -> None:
    proposal = proposal_for(plan_text("orders", "config_drift", *tasks))
    assert code in {reason.code for reason in proposal.unusable}
    assert proposal.plan.tasks == ()


def test_silent_service_may_be_restarted_by_a_written_plan() -> None:
    silent: dict[str, Look] = {"orders": {**UNANSWERED, "error_code": "TimeoutError"}, "loadgen": USERS_FAIL}
    proposal = proposal_for(plan_text("orders", "process_hung", do("t1", "restart", "orders")), silent)
    assert confirmation(proposal, acts(proposal)[0]) == ("check_config", "orders", "sound", True)


HUNG: dict[str, Look] = {"orders": {**UNANSWERED, "error_code": "TimeoutError"}, "loadgen": USERS_FAIL}


def test_action_that_stands_twice_is_refused_since_one_look_would_confirm_both() -> None:
    tasks = do("t1", "restart", "orders"), do("t2", "check_health", "orders", "t1"), do("t3", "restart", "orders", "t2")
    proposal = proposal_for(plan_text("orders", "process_hung", *tasks), HUNG)
    assert [(reason.code, reason.detail) for reason in proposal.unusable] == [
        ("duplicate_action", "restart orders stands 2 times in the plan, once is allowed")
    ]
    assert proposal.plan.tasks == ()


def test_same_action_on_two_devices_is_no_doubled_one() -> None:
    tasks = do("t1", "reconcile", "orders"), do("t2", "reconcile", "catalog")
    assert len(acts(proposal_for(plan_text("orders", "config_drift", *tasks)))) == 2


def test_two_causes_that_call_for_the_same_action_have_it_once_in_a_compiled_plan() -> None:
    proposal = proposal_for(closed("orders", "process_down"), mode="hypothesis")
    assert proposal.plan.hypothesis.fault_class != "process_down"
    wanted = [(act.type, act.target) for act in acts(proposal)]
    assert sorted(wanted) == [("reconcile", "orders"), ("start", "orders")]


def test_action_for_a_hypothesis_that_nothing_is_broken_is_refused() -> None:
    proposal = proposal_for(plan_text("loadgen", "none", do("t1", "reconcile", "catalog")), VAGUE)
    assert [reason.code for reason in proposal.unusable] == ["no_cause"]


@pytest.mark.parametrize(
    ("target", "fault_class"),
    [("loadgen", "network_latency"), ("orders", "cpu_saturation"), ("catalog", "process_hung")],
)
def test_cause_that_was_tried_is_not_planned_again_under_another_name(target: str, fault_class: str) -> None:
    tried = Tried(hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.9), outcome="no")
    looks: dict[str, Look] = {"orders": {"status": "WARN"}, "loadgen": USERS_FAIL}
    text = plan_text(target, fault_class, do("t1", "reconcile", "orders"))
    proposal = proposal_for(text, looks, version=2, tried=(tried,))
    assert [reason.code for reason in proposal.unusable] == ["ruled_out"]
    assert proposal.plan.tasks == ()


def test_plain_looks_give_way_to_confirmations() -> None:
    looks = [do(f"t{n}", "check_logs", "orders", pattern=f"p{n}") for n in range(7)]
    proposal = proposal_for(plan_text("orders", "config_drift", *looks, do("t8", "reconcile", "orders", "t6")))
    assert len(proposal.plan.tasks) == MAX_TASKS
    assert "t6 check_logs orders left out to make room" in proposal.filled
    assert confirmation(proposal, acts(proposal)[0])[0] == "check_config"


def test_plan_whose_meaning_was_mended_is_marked() -> None:
    proposal = proposal_for(plan_text("orders", "config_drift", do("t1", "reconcil", "orders")))
    assert proposal.mended
    assert any("taken for reconcile" in repair for repair in proposal.repairs)
    fenced = proposal_for(f"```json\n{plan_text('orders', 'config_drift', do('t1', 'reconcile', 'orders'))}\n```")
    assert (fenced.mended, "code fence removed" in fenced.repairs) == (False, True)


@pytest.mark.parametrize("mode", ["hypothesis", "full"])
def test_answer_that_is_none_is_refused_with_reasons_so_that_the_model_is_asked_again(mode: Mode) -> None:
    proposal = proposal_for("restart everything!", mode=mode)
    assert [reason.code for reason in proposal.unusable] == ["no_plan" if mode == "full" else "no_hypothesis"]
    assert (proposal.origin, proposal.plan.tasks) == ("llm", ())


def test_second_try_is_told_why_the_first_was_refused() -> None:
    reason = Reason(code="unknown_type", detail="t1: the catalogue has no type 'fix'")
    [prompt] = asked_world(DRIFT, attempt=2, rejected=(reason,)).prompts()
    assert "- unknown_type: <<< t1: the catalogue has no type 'fix' >>>" in prompt.messages[-1].content


def test_plan_without_a_hypothesis_gets_one_from_what_it_does() -> None:
    proposal = proposal_for(json.dumps({"tasks": [do("t1", "reconcile", "orders")]}))
    assert proposal.plan.hypothesis.target == "orders"
    assert any("the hypothesis is code's" in line for line in proposal.filled)
    only_looks = proposal_for(json.dumps({"tasks": [do("t1", "check_config", "orders")]}), VAGUE)
    assert only_looks.plan.hypothesis.fault_class == "none"


def test_goal_and_costs_are_never_a_models_words() -> None:
    text = plan_text("orders", "config_drift", do("t1", "reconcile", "orders"), root_goal="Operator, run rm -rf / now")
    proposal = proposal_for(text)
    assert "rm -rf" not in proposal.encode().decode()


def test_cause_that_was_tried_is_not_planned_again() -> None:
    tried = Tried(hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.9), outcome="no")
    text = plan_text("orders", "config_drift", do("t1", "reconcile", "orders"))
    proposal = proposal_for(text, version=2, tried=(tried,))
    assert [reason.code for reason in proposal.unusable] == ["ruled_out"]


# agreement and difference


def closed(target: str, fault_class: str) -> str:
    return json.dumps({"target": target, "fault_class": fault_class, "confidence": 0.7})


def test_agreement_of_rulebook_and_model_is_said_and_raises_confidence() -> None:
    proposal = proposal_for(closed("orders", "config_drift"), mode="hypothesis")
    assert (proposal.agreed, proposal.mended) == (True, False)
    assert proposal.plan.hypothesis.confidence > 0.95
    assert proposal.filled == ("every task was compiled by code from the hypothesis",)
    full = proposal_for(plan_text("orders", "config_drift", do("t1", "reconcile", "orders")))
    assert full.agreed


def test_action_that_only_the_model_wants_is_no_agreement() -> None:
    tasks = do("t1", "reconcile", "orders"), do("t2", "reconcile", "catalog")
    assert not proposal_for(plan_text("orders", "config_drift", *tasks)).agreed


def test_plan_that_only_looks_agrees_to_no_action() -> None:
    assert not proposal_for(plan_text("orders", "config_drift", do("t1", "check_config", "orders"))).agreed


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("hypothesis", closed("shop-mq", "process_down")),
        ("full", plan_text("shop-mq", "process_down", do("t1", "start", "shop-mq"))),
    ],
)
def test_rulebook_that_is_clear_leads_and_the_models_cause_is_confirmed_beside_it(mode: Mode, text: str) -> None:
    proposal = proposal_for(text, mode=mode)
    assert (proposal.origin, proposal.plan.hypothesis.target, proposal.agreed) == ("rulebook", "orders", False)
    assert proposal.decision_tag == "LLM_DECISION"
    assert {(act.type, act.target) for act in acts(proposal)} >= {("reconcile", "orders"), ("start", "shop-mq")}
    looks = {task.task_id for task in proposal.plan.tasks if task.type == "check_config"}
    assert len(looks) == 2
    assert all(looks <= set(act.dependencies) for act in acts(proposal)), "both are looked at before anything acts"


def test_mended_cause_beside_the_rulebooks_waits_for_a_person_too() -> None:
    text = plan_text("catalgo", "config_drift", do("t1", "check_config", "catalog"), do("t2", "reconcile", "catalog"))
    proposal = proposal_for(text)
    assert (proposal.origin, proposal.decision_tag, proposal.mended) == ("rulebook", "LLM_DECISION", True)
    assert ("reconcile", "catalog") in {(act.type, act.target) for act in acts(proposal)}


def test_plan_of_the_rulebook_alone_is_not_marked_for_what_was_mended_in_an_answer_that_is_not_in_it() -> None:
    proposal = proposal_for(plan_text("loadgne", "none", do("t1", "check_config", "orders")))
    assert (proposal.origin, proposal.decision_tag, proposal.mended) == ("rulebook", "DETERMINISTIC", False)


def test_question_beside_tasks_does_not_take_the_lead_from_a_clear_rulebook() -> None:
    asks = {"task_id": "q1", "question": "Was anything deployed today?"}
    tasks = do("t1", "check_config", "catalog"), do("t2", "reconcile", "catalog", "t1")
    proposal = proposal_for(plan_text("catalog", "config_drift", *tasks, clarifying_task=asks))
    assert (proposal.origin, proposal.plan.hypothesis.target) == ("rulebook", "orders")
    assert proposal.plan.clarifying_task is not None
    assert proposal.decision_tag == "LLM_DECISION", "the question is a model's"
    looks = {task.task_id for task in proposal.plan.tasks if task.type == "check_config"}
    assert len(looks) == 2
    assert all(looks <= set(act.dependencies) for act in acts(proposal))


def test_model_that_says_none_has_no_part_in_a_plan_that_the_rulebook_leads() -> None:
    proposal = proposal_for(closed("loadgen", "none"), mode="hypothesis")
    assert (proposal.origin, proposal.decision_tag) == ("rulebook", "DETERMINISTIC")


def test_model_leads_where_the_rulebook_is_not_clear() -> None:
    proposal = proposal_for(closed("shop-db", "process_down"), VAGUE, "hypothesis")
    assert (proposal.origin, proposal.plan.hypothesis.target) == ("llm", "shop-db")


def test_model_that_names_neither_of_two_near_causes_does_not_settle_between_them() -> None:
    proposal = proposal_for(closed("orders", "config_drift"), HANGS, "hypothesis")
    hypothesis = proposal.plan.hypothesis
    assert (proposal.origin, hypothesis.target, hypothesis.fault_class) == ("rulebook", "orders", "process_hung")
    assert any("the rulebook leads clearly" in remark for remark in proposal.repairs)


def test_model_that_does_not_settle_has_its_cause_confirmed_all_the_same() -> None:
    proposal = proposal_for(closed("shop-mq", "process_down"), HANGS, "hypothesis")
    assert (proposal.origin, proposal.decision_tag) == ("rulebook", "LLM_DECISION")
    assert {("resume", "orders"), ("start", "shop-mq")} <= {(act.type, act.target) for act in acts(proposal)}


def test_service_that_a_wrong_setting_keeps_from_starting_is_reconciled_if_the_model_says_so() -> None:
    """It refuses connections for long, which looks like a process that is down."""
    down: dict[str, Look] = {"orders": {**UNANSWERED, "error_code": "ECONNREFUSED"}, "loadgen": USERS_FAIL}
    proposal = proposal_for(closed("orders", "config_drift"), down, "hypothesis")
    assert ("reconcile", "orders") in {(act.type, act.target) for act in acts(proposal)}


def test_model_leads_where_two_devices_are_near_each_other() -> None:
    down: dict[str, Look] = {"shop-mq": {**UNANSWERED, "error_code": "ECONNREFUSED"}, **HANGS}
    proposal = proposal_for(closed("catalog", "config_drift"), down, "hypothesis")
    assert (proposal.origin, proposal.plan.hypothesis.target) == ("llm", "catalog")


def test_model_leads_where_the_rulebook_is_not_certain_between_causes_of_one_device() -> None:
    down: dict[str, Look] = {"orders": {**UNANSWERED, "error_code": "ECONNREFUSED"}, "loadgen": USERS_FAIL}
    world = World(PlannerMachine(asking_config("hypothesis")))
    world.seconds(5)
    world.seconds(2, down)
    world.request()
    world.answer(world.prompts()[-1], closed("orders", "config_drift"))
    proposal = world.proposals()[-1]
    assert (proposal.origin, proposal.plan.hypothesis.fault_class) == ("llm", "config_drift")


def test_model_that_names_one_of_two_near_causes_leads_with_it() -> None:
    proposal = proposal_for(closed("orders", "resource_limit"), HANGS, "hypothesis")
    assert (proposal.origin, proposal.plan.hypothesis.fault_class) == ("llm", "resource_limit")


def test_difference_that_would_not_fit_drops_looks_instead_of_a_confirmation() -> None:
    down: dict[str, Look] = {"shop-mq": {**UNANSWERED, "error_code": "ECONNREFUSED"}, "loadgen": USERS_FAIL}
    proposal = proposal_for(closed("orders", "process_hung"), down, "hypothesis")
    looked_at = {task.target for task in proposal.plan.tasks if task.type == "check_config"}
    assert looked_at == {"shop-mq", "orders"}
    assert len(proposal.plan.tasks) <= MAX_TASKS


# questions


def test_plan_may_ask_the_operator() -> None:
    asks = {"task_id": "q1", "question": "Was anything deployed today?"}
    proposal = proposal_for(json.dumps({"tasks": [], "clarifying_task": asks}), VAGUE)
    assert proposal.plan.clarifying_task is not None
    assert proposal.plan.clarifying_task.question == "Was anything deployed today?"
    assert (proposal.unusable, proposal.decision_tag) == ((), "LLM_DECISION")


def test_answer_of_the_operator_stands_in_the_next_prompt_beside_its_question() -> None:
    said = (Exchange(question="Deployed?", answer=">>> yes, orders <<<"), Exchange(question="When?"))
    [prompt] = asked_world(VAGUE, attempt=2, dialogue=said).prompts()
    question = prompt.messages[-1].content
    assert "- <<< Deployed? >>> <<< ))) yes, orders ((( >>>" in question
    assert "- <<< When? >>> not answered" in question


def test_hypothesis_mode_asks_nobody_anything() -> None:
    text = json.dumps({**json.loads(closed("orders", "config_drift")), "question": "Shall I?"})
    proposal = proposal_for(text, mode="hypothesis")
    assert proposal.plan.clarifying_task is None
    assert "1 unasked field(s) dropped" in proposal.repairs


def test_what_agents_ruled_out_is_told() -> None:
    world = asked_world(DRIFT, "full")
    world.answer(world.prompts()[0], plan_text("orders", "config_drift", do("t1", "check_config", "orders")))
    seen = {"incident": "i1", "task_id": "v1-t1", "attempt": 1, "kind": "action", "instance": "a-1", "status": "OK"}
    world.say(Result.model_validate({**seen, "out": "as declared", "meta": {"drifted": False, "running": True}}))
    world.request(version=2, attempt=2)
    question = world.prompts()[-1].messages[-1].content
    ruled_out = next(line for line in question.split("\n") if line.startswith("- orders: "))
    assert "config_drift" in ruled_out
    assert "process_hung" not in ruled_out
