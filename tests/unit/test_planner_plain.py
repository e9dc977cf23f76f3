"""What deviates, in plain words: each error once, with the words of its class, and no flood of logs."""

from __future__ import annotations

import json
import re

import pytest

from broker.contracts.plan import PlanPrompted
from planner_svc.config import newest_templates
from planner_svc.core import plain
from planner_svc.core.answer import FAULT_CLASSES, answer_schema, read_answer
from planner_svc.core.config import PlannerConfig, PromptTemplate
from planner_svc.core.context import look
from planner_svc.core.machine import PlannerMachine
from tests.support.planner_world import UNANSWERED, USERS_FAIL, Look, World, rulebook, shop


def said(*seconds: dict[str, Look]) -> list[str]:
    """Return what is told after a calm while and then these seconds."""
    config = PlannerConfig(inventory=shop(), rulebook=rulebook(), mode="hypothesis", templates=newest_templates())
    world = World(PlannerMachine(config))
    world.seconds(5)
    for looks in seconds:
        world.seconds(1, looks)
    return plain.deviations(look(config, world.state, world.request(attempt=2)))


def named_by(looks: dict[str, Look]) -> tuple[str, ...]:
    """Return the devices that a model may name after three such seconds."""
    return prompted(looks).targets


def prompted(looks: dict[str, Look]) -> PlanPrompted:
    """Return what a model is asked after three such seconds."""
    config = PlannerConfig(inventory=shop(), rulebook=rulebook(), mode="hypothesis", templates=newest_templates())
    world = World(PlannerMachine(config))
    world.seconds(5)
    world.seconds(3, looks)
    world.request(attempt=2)
    return world.prompts()[-1]


def blaming(error: str) -> Look:
    return {"status": "ERROR", "note": f"shop-db={error}", "error_code": error}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("gaierror", "host name unknown (gaierror)"),
        ("InvalidPasswordError", "login refused (InvalidPasswordError)"),
        ("ECONNREFUSED", "connection refused (ECONNREFUSED)"),
        ("TimeoutError", "no answer in time (TimeoutError)"),
        ("ECONNRESET", "connection broken (ECONNRESET)"),
        ("SomethingNewError", "SomethingNewError"),
    ],
)
def test_error_stands_once_with_the_words_of_its_class(error: str, words: str) -> None:
    looks: dict[str, Look] = {"orders": blaming(error)}
    assert said(looks, looks, looks) == [f"orders (service): cannot use healthy shop-db: {words}"]


def test_every_class_of_the_rulebook_has_words() -> None:
    assert {item.name for item in rulebook().errors} <= plain.CLASSES.keys()


def test_what_comes_and_goes_says_so() -> None:
    broken: dict[str, Look] = {"gateway": {"status": "WARN", "note": "orders=ECONNRESET"}}
    [line] = said(broken, {}, {}, broken, {})
    assert (
        line
        == "gateway (service): cannot use healthy orders: connection broken (ECONNRESET) now and then (2 of 5 samples)"
    )


def test_silent_device_and_waiting_one_and_the_users() -> None:
    looks: dict[str, Look] = {
        "shop-db": {**UNANSWERED, "error_code": "TimeoutError"},
        "gateway": {"status": "WARN", "note": "slow:orders=420ms"},
        "loadgen": USERS_FAIL,
    }
    assert said(*[looks] * 3) == [
        "shop-db (database): its own probe: no answer in time (TimeoutError)",
        "gateway (service): waits for healthy orders 420ms",
        "loadgen (traffic): success 0.50, p95 4 ms",
    ]


def test_share_of_requests_that_succeed_is_told_of_a_device_that_serves_some() -> None:
    looks: dict[str, Look] = {"gateway": {"status": "WARN", "note": "orders=ECONNRESET", "success_ratio": 0.93}}
    [line] = said(looks, looks)
    assert line.endswith("connection broken (ECONNRESET); success 0.93")


def test_only_what_deviates_or_is_blamed_or_cannot_be_read_may_be_named() -> None:
    assert named_by({"orders": blaming("gaierror")}) == ("orders", "shop-db")
    assert named_by({"catalog": {"status": "ERROR", "error_code": "JSONDecodeError"}}) == (
        "catalog",
        "shop-db",
        "shop-cache",
    )
    assert named_by({}) == ("loadgen",)


def test_only_kinds_for_which_a_rule_speaks_may_be_named() -> None:
    asked = prompted({"orders": blaming("InvalidPasswordError")})
    assert "bad_credentials" in asked.fault_classes
    assert "cpu_saturation" not in asked.fault_classes
    assert prompted({}).fault_classes == ("none",)


def test_answer_is_held_to_the_suspects_and_to_the_templates_words() -> None:
    words = template().answers
    schema = answer_schema(shop(), words, ("orders", "shop-db"))
    assert schema["properties"]["target"]["enum"] == ["orders", "shop-db"]
    assert schema["properties"]["fault_class"]["enum"] == list(words.values())
    said_so = read_answer('{"target":"orders","fault_class":"wrong setting","confidence":0.9}', shop(), words)
    assert (said_so.target, said_so.fault_class) == ("orders", "config_drift")
    by_name = read_answer('{"target":"orders","fault_class":"config_drift","confidence":0.9}', shop(), words)
    assert by_name == said_so


def test_log_lines_are_told_only_of_a_device_that_says_nothing_else() -> None:
    flood: Look = {"log_sample": "something odd happened to request 4711"}
    looks: dict[str, Look] = {"orders": {**blaming("gaierror"), **flood}, "catalog": {"status": "WARN", **flood}}
    orders, catalog = said(*[looks] * 2)
    assert "log:" not in orders
    assert catalog == "catalog (service): gives no reason; log: <<< something odd happened to request # >>> x2"


def test_error_that_was_read_from_a_log_stands_between_marks() -> None:
    looks: dict[str, Look] = {"catalog": {"status": "WARN", "log_sample": "connection refused by order of the board"}}
    [line] = said(looks, looks)
    assert "reports connection refused (<<< connection refused by order of the board >>>)" in line


def template() -> PromptTemplate:
    return next(item for item in newest_templates() if item.form == "hypothesis")


def test_solved_examples_have_the_form_of_a_real_question_and_answer_in_the_templates_words() -> None:
    form = re.compile(r"[a-z-]+ \((service|database|cache|queue|traffic)\): .+|nothing deviates")
    for example in template().examples:
        assert all(form.fullmatch(line) for line in example.deviations), example
        answer = json.loads(example.answer)
        assert answer["fault_class"] in template().answers.values()
        assert set(answer) == {"target", "fault_class"}


def test_solved_examples_are_about_another_system_so_that_no_device_of_the_shop_is_tied_to_a_fault() -> None:
    words = {
        word for example in template().examples for line in example.deviations for word in re.findall("[a-z-]+", line)
    }
    assert not words & set(shop().names())


def test_every_kind_of_fault_is_told_in_the_templates_own_words() -> None:
    known = {name for name in FAULT_CLASSES if rulebook().remedy(name) is not None}
    assert set(template().kinds) == set(template().answers) == known
