"""What deviates, in plain words: each error once, with the words of its class, and no flood of logs."""

from __future__ import annotations

import re

import pytest

from planner_svc.config import newest_templates
from planner_svc.core import plain
from planner_svc.core.answer import FAULT_CLASSES, read_answer
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
    assert said(looks, looks, looks) == [f"orders (service): cannot use shop-db: {words}"]


def test_every_class_of_the_rulebook_has_words() -> None:
    assert {item.name for item in rulebook().errors} <= plain.CLASSES.keys()


def test_what_comes_and_goes_says_so() -> None:
    broken: dict[str, Look] = {"gateway": {"status": "WARN", "note": "orders=ECONNRESET"}}
    [line] = said(broken, {}, {}, broken, {})
    assert line == "gateway (service): cannot use orders: connection broken (ECONNRESET) now and then (2 of 5 samples)"


def test_silent_device_and_waiting_one_and_the_users() -> None:
    looks: dict[str, Look] = {
        "shop-db": {**UNANSWERED, "error_code": "TimeoutError"},
        "gateway": {"status": "WARN", "note": "slow:orders=420ms"},
        "loadgen": USERS_FAIL,
    }
    assert said(*[looks] * 3) == [
        "shop-db (database): its own probe: no answer in time (TimeoutError)",
        "gateway (service): waits for orders 420ms",
        "loadgen (traffic): success 0.50, p95 4 ms",
    ]


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


def test_solved_examples_have_the_form_of_a_real_question_and_answers_that_count() -> None:
    form = re.compile(r"(?P<name>[a-z-]+) \((?P<kind>[a-z]+)\): .+|nothing deviates")
    kinds = {device.name: device.kind for device in shop().devices}
    for example in template().examples:
        for line in example.deviations:
            found = form.fullmatch(line)
            assert found is not None, line
            assert found["name"] is None or kinds[found["name"]] == found["kind"]
        assert read_answer(example.answer, shop(), template().answers).repairs == ()


def test_every_kind_of_fault_is_told_in_the_templates_own_words() -> None:
    known = {name for name in FAULT_CLASSES if rulebook().remedy(name) is not None}
    assert set(template().kinds) == set(template().answers) == known
