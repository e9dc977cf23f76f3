"""From a model's text to a hypothesis from closed lists. Tolerant in form, strict in meaning.

Form may be mended (fences, reasoning, spelling of a name's case), and every mending is named. Meaning is never guessed:
a target or fault class that is not on its list makes the answer worthless. Text is untrusted and may be huge or
hostile; what is looked at is bounded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn, cast, get_args

from broker.contracts.inventory import Inventory
from broker.contracts.plan import FaultClass

MAX_CHARS = 20_000
MAX_TRIES = 20
"""So many opening braces are tried as the beginning of an object."""
FAULT_CLASSES: tuple[FaultClass, ...] = get_args(FaultClass)
DEFAULT_CONFIDENCE = 0.5
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


def answer_schema(inventory: Inventory) -> dict[str, Any]:
    """Return the JSON schema of an answer: the closed question. Only keywords that every endpoint understands."""
    return {
        "type": "object",
        "properties": {
            "target": {"type": "string", "enum": list(inventory.names())},
            "fault_class": {"type": "string", "enum": list(FAULT_CLASSES)},
            "confidence": {"type": "number"},
        },
        "required": ["target", "fault_class", "confidence"],
        "additionalProperties": False,
    }


def read_answer(text: str, inventory: Inventory) -> Answer:
    """Return the hypothesis that a model's text holds.

    Raises:
        UnusableAnswerError: no JSON object, or a target or fault class that is not on the closed list.
    """
    repairs: list[str] = []
    value = _first_object(_without_wrapping(text, repairs), repairs)
    target = _choose(value.get("target"), inventory.names(), "target", repairs)
    fault_class = cast(FaultClass, _choose(value.get("fault_class"), FAULT_CLASSES, "fault_class", repairs))
    confidence = _confidence(value.get("confidence"), repairs)
    extra = sorted(str(key) for key in set(value) - {"target", "fault_class", "confidence"})
    if extra:
        repairs.append(f"{len(extra)} unasked field(s) dropped")
    return Answer(target, fault_class, confidence, tuple(repairs))


def _without_wrapping(text: str, repairs: list[str]) -> str:
    if len(text) > MAX_CHARS:
        text = text[:MAX_CHARS]
        repairs.append(f"answer cut to {MAX_CHARS} characters")
    if re.search(r"<think>", text, re.IGNORECASE):
        text = _THINK.sub("", text)
        repairs.append("reasoning text split off")
    elif "</think>" in text:
        text = text.rpartition("</think>")[2]
        repairs.append("reasoning text split off")
    if "```" in text:
        text = text.replace("```json", "").replace("```", "")
        repairs.append("code fence removed")
    return text.strip()


def _first_object(text: str, repairs: list[str]) -> dict[str, Any]:
    """Return the first JSON object that names a target; deeper repair would be guessing."""
    decoder, start = json.JSONDecoder(parse_constant=_refuse_constant), -1
    for _ in range(MAX_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            break
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if "target" in value:
            if text[:start].strip() or text[end:].strip():
                repairs.append("text round the answer dropped")
            return cast(dict[str, Any], value)
    raise UnusableAnswerError("it holds no JSON object with a target")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _choose(value: object, allowed: tuple[str, ...], field: str, repairs: list[str]) -> str:
    if not isinstance(value, str):
        raise UnusableAnswerError(f"its {field} is missing or no text")
    if value in allowed:
        return value
    plain = {_plain(name): name for name in allowed}
    chosen = plain.get(_plain(value[:100]))
    if chosen is None:
        raise UnusableAnswerError(f"its {field} is not on the closed list")
    repairs.append(f"spelling of {field} mended to {chosen}")
    return chosen


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _confidence(value: object, repairs: list[str]) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0:
        return float(value)
    repairs.append(f"confidence missing or not in 0..1, taken as {DEFAULT_CONFIDENCE}")
    return DEFAULT_CONFIDENCE
