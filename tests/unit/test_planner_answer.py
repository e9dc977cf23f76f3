"""Reading a model's text: form may be mended and is named, meaning is never guessed."""

from __future__ import annotations

import json

import pytest

from planner_svc.core.answer import MAX_CHARS, UnusableAnswerError, answer_schema, read_answer
from tests.support.planner_world import shop

PLAIN = '{"target":"orders","fault_class":"config_drift","confidence":0.9}'


def test_plain_answer_needs_no_repair() -> None:
    read = read_answer(PLAIN, shop())
    assert (read.target, read.fault_class, read.confidence, read.repairs) == ("orders", "config_drift", 0.9, ())


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        (f"```json\n{PLAIN}\n```", "code fence removed"),
        (f"Sure! Here it is:\n{PLAIN}\nHope that helps.", "text round the answer dropped"),
        (f"<think>It could be {{shop-db}}…</think>{PLAIN}", "reasoning text split off"),
        (f"it could be the database</think>\n{PLAIN}", "reasoning text split off"),
        (PLAIN.replace("config_drift", "Config Drift"), "spelling of fault_class mended to config_drift"),
        (PLAIN.replace('"orders"', '"ORDERS"'), "spelling of target mended to orders"),
        (PLAIN.replace("0.9", '"high"'), "confidence missing or not in 0..1, taken as 0.5"),
        (PLAIN.replace("0.9", "90"), "confidence missing or not in 0..1, taken as 0.5"),
        (PLAIN.replace("}", ',"tasks":[{"type":"restart","target":"shop-db"}]}'), "1 unasked field(s) dropped"),
        ('{"note":1} ' + PLAIN, "text round the answer dropped"),
        ('{"answer":' + PLAIN + "}", "text round the answer dropped"),
    ],
)
def test_form_is_mended_and_the_mending_named(text: str, repair: str) -> None:
    read = read_answer(text, shop())
    assert (read.target, read.fault_class) == ("orders", "config_drift")
    assert repair in read.repairs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        "{" * 30_000,
        '{"a":' * 30_000,
        "[" * 30_000,
        PLAIN[:-10],
        f"<think>{PLAIN}",
        "null",
        '"orders"',
        PLAIN.replace("orders", "order-service"),
        PLAIN.replace("config_drift", "drift"),
        PLAIN.replace('"orders"', "null"),
        PLAIN.replace("0.9", "Infinity"),
        "\x00\x1b[2J",
    ],
)
def test_meaning_is_never_guessed(text: str) -> None:
    with pytest.raises(UnusableAnswerError):
        read_answer(text, shop())


def test_answer_behind_a_wall_of_text_is_not_looked_for() -> None:
    with pytest.raises(UnusableAnswerError):
        read_answer(" " * MAX_CHARS + PLAIN, shop())


def test_schema_is_the_closed_question() -> None:
    schema = answer_schema(shop())
    assert schema["properties"]["target"]["enum"] == list(shop().names())
    assert "none" in schema["properties"]["fault_class"]["enum"]
    assert schema["additionalProperties"] is False
    assert json.loads(json.dumps(schema)) == schema
