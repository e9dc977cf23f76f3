"""From a model's text to a draft: what is repaired, what that is called, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.contracts.plan import MAX_QUESTION
from planner_svc.core.draft import Draft, UnusablePlanError, plan_schema, read_draft
from planner_svc.core.repairs import Repairs, distance, nearest
from tests.support.planner_world import shop

LOOK = {"task_id": "t1", "type": "check_config", "target": "orders", "args": {}, "dependencies": []}
ACT = {"task_id": "t2", "type": "reconcile", "target": "orders", "args": {}, "dependencies": ["t1"]}
BELIEVED = {"target": "orders", "fault_class": "config_drift", "confidence": 0.8}


def written(*tasks: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"hypothesis": BELIEVED, "tasks": list(tasks), **fields})


def read(text: str) -> Draft:
    return read_draft(text, shop())


def edges(draft: Draft) -> dict[str, tuple[str, ...]]:
    return {task.task_id: task.dependencies for task in draft.tasks}


def reasons(text: str) -> list[str]:
    with pytest.raises(UnusablePlanError) as caught:
        read(text)
    return [reason.code for reason in caught.value.reasons]


def test_plan_as_asked_for_needs_no_repair() -> None:
    draft = read(written({**LOOK, "assigned_to": "ActionAgent"}, {**ACT, "assigned_to": "ActionAgent"}))
    assert draft.repairs.made == ()
    assert (draft.target, draft.fault_class, draft.confidence) == ("orders", "config_drift", 0.8)
    assert edges(draft) == {"t1": (), "t2": ("t1",)}


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        (f"```json\n{written(LOOK)}\n```", "code fence removed"),
        (f"<think>hm {{}} hm</think>{written(LOOK)}", "reasoning text split off"),
        (f"Here you are: {written(LOOK)} Good luck!", "text round the answer dropped"),
        (written({**LOOK, "type": "Check-Config"}), "spelling of type of t1 mended to check_config"),
        (written({**LOOK, "why": "because"}), "1 unasked field(s) dropped"),
        (written(LOOK, mood="good"), "1 unasked field(s) dropped"),
        (written({**LOOK, "task_id": "Step 1"}), "task id 'Step 1' written as t1"),
        (written({k: v for k, v in LOOK.items() if k != "task_id"}), "task id '' written as t1"),
        (written({**LOOK, "assigned_to": "LogAgent"}), "t1 assigned to ActionAgent, as the catalogue says"),
    ],
)
def test_form_is_mended_and_named_and_leaves_the_meaning_alone(text: str, repair: str) -> None:
    draft = read(text)
    assert repair in draft.repairs.made
    assert not draft.repairs.touched_meaning
    assert [task.type for task in draft.tasks] == ["check_config"]


@pytest.mark.parametrize(
    ("text", "repair", "graph"),
    [
        (written(LOOK, {**ACT, "task_id": "t1"}), "doubled task id 't1' renamed to t2", {"t1": (), "t2": ("t1",)}),
        (written(LOOK, {**ACT, "dependencies": ["t1", "t9"]}), "dependency of t2 on 't9'", {"t1": (), "t2": ("t1",)}),
        (written(LOOK, {**ACT, "dependencies": ["t2", "t1"]}), "t2 on itself", {"t1": (), "t2": ("t1",)}),
        (written({**LOOK, "dependencies": ["t2"]}, ACT), "cycle broken: t1 no longer", {"t1": (), "t2": ("t1",)}),
        (written({**LOOK, "target": "order"}), "target of t1 taken for orders", {"t1": ()}),
        (written({**LOOK, "type": "check_confg"}), "type of t1 taken for check_config", {"t1": ()}),
    ],
)
def test_meaning_is_repaired_where_one_reading_is_nearest_and_that_is_marked(
    text: str, repair: str, graph: dict[str, tuple[str, ...]]
) -> None:
    draft = read(text)
    assert any(repair in made for made in draft.repairs.made)
    assert draft.repairs.touched_meaning
    assert edges(draft) == graph


@pytest.mark.parametrize("name", ["Step 1", None])
def test_id_that_only_code_gave_is_no_dependency_that_the_model_meant(name: str | None) -> None:
    first = {**LOOK, "task_id": name} if name else {key: value for key, value in LOOK.items() if key != "task_id"}
    draft = read(written(first, {**ACT, "task_id": "zz!", "dependencies": ["t1", ""]}))
    assert edges(draft) == {"t1": (), "t2": ()}
    assert draft.repairs.touched_meaning
    assert "dependency of t2 on 't1', which is no task dropped" in draft.repairs.made


def test_dependency_by_the_id_as_it_was_written_is_kept() -> None:
    draft = read(written({**LOOK, "task_id": "Step 1"}, {**ACT, "dependencies": ["Step 1"]}))
    assert edges(draft) == {"t1": (), "t2": ("t1",)}
    assert not draft.repairs.touched_meaning


def test_two_hundred_tasks_are_cut_to_the_first_eight() -> None:
    look = {"type": "check_config", "target": "orders"}
    tasks = [{**look, "task_id": f"t{n}", "dependencies": ["t150"] if n else []} for n in range(200)]
    draft = read(json.dumps({"tasks": tasks}, separators=(",", ":")))
    assert [task.task_id for task in draft.tasks] == [f"t{n}" for n in range(8)]
    assert "200 tasks cut to the first 8" in draft.repairs.made
    assert draft.repairs.touched_meaning


def test_longer_cycle_is_broken_once_in_the_order_of_writing() -> None:
    tasks = [{**LOOK, "task_id": f"t{n}", "dependencies": [f"t{(n + 1) % 4}"]} for n in range(4)]
    draft = read(written(*tasks))
    assert edges(draft) == {"t0": (), "t1": ("t2",), "t2": ("t3",), "t3": ("t0",)}
    assert [made for made in draft.repairs.made if "cycle" in made] == ["cycle broken: t0 no longer waits for t1"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_plan"),
        ("I am sorry, I cannot help with that.", "no_plan"),
        (written(LOOK)[:-9], "no_plan"),
        ('{"tasks":"restart everything"}', "no_plan"),
        ('{"tasks":["restart"]}', "no_plan"),
        ('{"tasks":[]}', "no_tasks"),
        (written({**LOOK, "type": "rm -rf /"}), "unknown_type"),
        (written({**LOOK, "type": "search_runbook"}), "unknown_type"),
        (written({**LOOK, "target": "shop-xyz"}), "unknown_target"),
        (written({**LOOK, "target": "shop-bq"}), "unknown_target"),
        (written({**LOOK, "target": None}), "unknown_target"),
        (written({**LOOK, "args": {"x": {"y": 1}}}), "bad_argument"),
        (written({**LOOK, "args": {"x": "\ud800"}}), "bad_argument"),
        (written({**LOOK, "args": {"x": 1e300}}), "bad_argument"),
        (written(LOOK).replace('"args": {}', '"args": {"x": 1e999}'), "bad_argument"),
        ("Перезапустите всё немедленно", "no_plan"),
        ('{"tasks":' * 400, "no_plan"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_a_code(text: str, code: str) -> None:
    assert code in reasons(text)


def test_every_unknown_name_is_told_at_once_so_that_one_more_try_may_do() -> None:
    text = written({**LOOK, "type": "fix"}, {**ACT, "target": "the database"})
    assert reasons(text) == ["unknown_type", "unknown_target"]


def test_question_alone_is_an_answer() -> None:
    asks = {"task_id": "q1", "question": "Was anything\ndeployed today?"}
    draft = read(json.dumps({"tasks": [], "clarifying_task": asks}))
    assert (draft.question, draft.tasks) == ("Was anything deployed today?", ())


@pytest.mark.parametrize("words", ["Log in as root and run rm -rf /", "?" * (MAX_QUESTION + 1), " ", 7, None])
def test_what_asks_nothing_is_passed_on_to_nobody(words: object) -> None:
    assert reasons(json.dumps({"tasks": [], "clarifying_task": {"task_id": "q1", "question": words}})) == ["no_tasks"]
    assert read(written(LOOK, clarifying_task={"task_id": "q1", "question": words})).question is None


def test_schema_is_closed_and_uses_only_what_every_endpoint_understands() -> None:
    schema = plan_schema(shop())
    task = schema["properties"]["tasks"]["items"]
    assert task["properties"]["target"]["enum"] == list(shop().names())
    assert "success_ratio" in task["properties"]["args"]["properties"]["metric"]["enum"]
    assert "search_runbook" not in task["properties"]["type"]["enum"]
    known = {"type", "properties", "required", "additionalProperties", "items", "maxItems", "maxLength", "enum"}

    def keywords(node: Any) -> set[str]:
        if not isinstance(node, dict):
            return set()
        inner = [*node.get("properties", {}).values(), node.get("items")]
        return set(node).union(*(keywords(item) for item in inner))

    assert keywords(schema) <= known


@pytest.mark.parametrize(
    ("one", "other", "steps"), [("", "", 0), ("orders", "order", 1), ("ab", "ba", 1), ("kitten", "sitting", 3)]
)
def test_distance_counts_slips(one: str, other: str, steps: int) -> None:
    assert distance(one, other) == distance(other, one) == steps


def test_name_between_two_others_is_not_guessed() -> None:
    repairs = Repairs()
    assert nearest("shop-dq", ("shop-db", "shop-mq"), "target", repairs) is None
    assert nearest("db", ("db1", "mq1"), "target", repairs) is None
    assert nearest("shop_db", ("shop-db", "shop-mq"), "target", repairs) == "shop-db"
    assert not repairs.touched_meaning
