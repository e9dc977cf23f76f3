"""From a model's text to a hypothesis from closed lists. Tolerant in form, strict in meaning.

Form may be mended (fences, reasoning, spelling of a name's case), and every mending is named. Meaning is never guessed:
a target or fault class that is not on its list makes the answer worthless. Text is untrusted and may be huge or
hostile; what is looked at is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast, get_args

from broker.contracts.inventory import Inventory
from broker.contracts.plan import FaultClass
from planner_svc.core.repairs import NameT, Repairs, same_name

MAX_CHARS = 20_000
UNASKED_CONFIDENCE = 0.7
"""Of an answer in a template's words, which asks for none: small models say 0.9 of right and wrong answers alike. This
often the 1.5B named device and kind rightly on the tuning half (docs/evaluation.md)."""
MAX_TRIES = 20
"""So many opening braces are tried as the beginning of an object."""
FAULT_CLASSES: tuple[FaultClass, ...] = get_args(FaultClass)
SCHEMA_NAME = "hypothesis"
_THINK = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)


class UnusableAnswerError(ValueError):
    """The text holds no hypothesis; the message says why, in one clause."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model believes, and what had to be mended to read it."""

    target: str
    fault_class: FaultClass
    confidence: float
    repairs: tuple[str, ...]


Words = Mapping[FaultClass, str]
"""What an answer may say for a kind of fault, where a template has words of its own for it."""
NO_WORDS: Words = {}


def answer_schema(
    inventory: Inventory, words: Words = NO_WORDS, targets: Sequence[str] = (), kinds: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the JSON schema of an answer: the closed question. Only keywords that every endpoint understands.

    Args:
        words: the template's; if it has any, only the kinds that it has words for may be answered.
        targets: the devices that may be named; empty: all.
        kinds: the same of the kinds of fault.
    """
    offered = [name for name in words or FAULT_CLASSES if not kinds or name in kinds]
    properties: dict[str, Any] = {
        "target": {"type": "string", "enum": list(targets or inventory.names())},
        "fault_class": {"type": "string", "enum": [words.get(name, name) for name in offered]},
    }
    if not words:
        properties["confidence"] = {"type": "number"}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_answer(text: str, inventory: Inventory, words: Words = NO_WORDS) -> Answer:
    """Return the hypothesis that a model's text holds; a kind of fault may stand by its name or in the given words.

    Raises:
        UnusableAnswerError: no JSON object, or a target or fault class that is not on the closed list.
    """
    repairs = Repairs()
    value = first_object(unwrapped(text, repairs), repairs, ("target",))
    target = _choose(value.get("target"), inventory.names(), "target", repairs)
    fault_class = _kind(value.get("fault_class"), words, repairs)
    is_asked = not words or "confidence" in value
    confidence = repairs.confidence(value.get("confidence")) if is_asked else UNASKED_CONFIDENCE
    repairs.unasked(value, ("target", "fault_class", "confidence"))
    return Answer(target, fault_class, confidence, repairs.made)


def _kind(value: object, words: Words, repairs: Repairs) -> FaultClass:
    named = {text: name for name, text in words.items()}
    chosen = _choose(value, (*FAULT_CLASSES, *named), "fault_class", repairs)
    return named.get(chosen, cast(FaultClass, chosen))


def unwrapped(text: str, repairs: Repairs) -> str:
    """Return what is left of a text without reasoning and code fences, bounded."""
    if len(text) > MAX_CHARS:
        text = text[:MAX_CHARS]
        repairs.form(f"answer cut to {MAX_CHARS} characters")
    if re.search(r"<think>", text, re.IGNORECASE):
        text = _THINK.sub("", text)
        repairs.form("reasoning text split off")
    elif "</think>" in text:
        text = text.rpartition("</think>")[2]
        repairs.form("reasoning text split off")
    if "```" in text:
        text = text.replace("```json", "").replace("```", "")
        repairs.form("code fence removed")
    return text.strip()


def first_object(text: str, repairs: Repairs, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the first JSON object that has one of the wanted fields; deeper repair would be guessing.

    Raises:
        UnusableAnswerError: there is none.
    """
    decoder, start = json.JSONDecoder(parse_constant=_refuse_constant), -1
    for _ in range(MAX_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            break
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if any(name in value for name in wanted):
            if text[:start].strip() or text[end:].strip():
                repairs.form("text round the answer dropped")
            return cast(dict[str, Any], value)
    raise UnusableAnswerError(f"it holds no JSON object with a {' or '.join(wanted)}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _choose(value: object, allowed: Sequence[NameT], field: str, repairs: Repairs) -> NameT:
    if not isinstance(value, str):
        raise UnusableAnswerError(f"its {field} is missing or no text")
    for name in allowed:
        if name == value:
            return name
    chosen = same_name(value, allowed)
    if chosen is None:
        raise UnusableAnswerError(f"its {field} is not on the closed list")
    repairs.form(f"spelling of {field} mended to {chosen}")
    return chosen
