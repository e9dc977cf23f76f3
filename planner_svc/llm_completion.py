"""From an endpoint's reply to a whole answer with its facts, wherever the server has put them.

A completion that was cut, holds nothing or no message is refused: half an answer is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from planner_svc.errors import ModelRefusedError
from planner_svc.llm_endpoint import Reply, clean

MAX_TEXT = 20_000
"""Longest answer kept, in characters."""
MAX_FACT = 200
_END_OF_THOUGHT = "</think>"
TEXT_FIELDS = ("content", "reasoning_content", "reasoning")
"""Where the answer may stand: with a schema, some servers put a reasoning model's answer beside an empty content."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    elapsed_ms: float
    """From the question to the answer, the search for the model included."""
    structured: bool
    """False: the endpoint would not take the schema and was asked without."""
    fingerprint: str = ""
    """What the server calls itself and its build (`system_fingerprint`)."""
    finish_reason: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    """What the server says of its work, as far as it does: prompt_ms, generation_ms, first_token_ms, cached_tokens."""


def completion(reply: Reply, *, asked: str, structured: bool, max_tokens: int, elapsed_ms: float) -> Completion:
    """Return the answer that a reply holds.

    Args:
        asked: the model that was asked, for servers that name none.
        max_tokens: the limit that was sent, for the sentence of a cut answer.

    Raises:
        ModelRefusedError: it holds none, or a part of one.
    """
    answer = reply.body
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ModelRefusedError("the endpoint's answer holds no message")
    if choice.get("finish_reason") == "length":
        raise ModelRefusedError(f"the answer was cut off after {max_tokens} tokens")
    text = _text(message)
    if not text:
        raise ModelRefusedError("the answer is empty")
    return Completion(
        text=_fitting(text),
        model=_fact(answer.get("model")) or asked,
        prompt_tokens=_count(answer.get("usage"), "prompt_tokens"),
        completion_tokens=_count(answer.get("usage"), "completion_tokens"),
        elapsed_ms=elapsed_ms,
        structured=structured,
        fingerprint=_fact(answer.get("system_fingerprint")),
        finish_reason=_fact(choice.get("finish_reason")),
        timings=_timings(answer),
    )


def _text(message: dict[str, Any]) -> str:
    """Return the first text of a message: content, text beside it, or the arguments of a tool call."""
    for name in TEXT_FIELDS:
        if text := _joined(message.get(name)):
            return text
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], dict) else {}
    function = call.get("function")
    return _joined(function.get("arguments")) if isinstance(function, dict) else ""


def _joined(value: Any) -> str:
    """Return a text that stands as such or in parts; nothing for blanks."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        value = "".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) and value.strip() else ""


def _fitting(text: str) -> str:
    """Return text that can be kept; long reasoning in front of an answer goes first."""
    text = clean(text)
    if len(text) > MAX_TEXT and _END_OF_THOUGHT in text:
        text = text.rpartition(_END_OF_THOUGHT)[2].strip() or text
    return text[:MAX_TEXT]


def _fact(value: Any) -> str:
    return clean(value)[:MAX_FACT] if isinstance(value, str) else ""


def _count(usage: Any, field: str) -> int:
    value = usage.get(field) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _timings(answer: dict[str, Any]) -> dict[str, float]:
    """Return the server's own timings under one set of names: llama.cpp's in milliseconds, LM Studio's in seconds."""
    llama, studio, usage = (_object(answer.get(name)) for name in ("timings", "stats", "usage"))
    details = _object(usage.get("prompt_tokens_details"))
    said = {
        "prompt_ms": _number(llama.get("prompt_ms")),
        "generation_ms": _number(llama.get("predicted_ms"), studio.get("generation_time"), 1_000),
        "first_token_ms": _number(None, studio.get("time_to_first_token"), 1_000),
        "cached_tokens": _number(llama.get("cache_n"), details.get("cached_tokens")),
    }
    return {name: round(value, 3) for name, value in said.items() if value is not None}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any, other: Any = None, factor: float = 1.0) -> float | None:
    """Return the first value, else the other one times a factor, if it is a number from 0 to below 2**53."""
    for candidate, times in ((value, 1.0), (other, factor)):
        # Bounded first: JSON knows whole numbers that no float can hold. NaN is in no bounds.
        if isinstance(candidate, int | float) and not isinstance(candidate, bool) and 0 <= candidate < 2**53 / times:
            return float(candidate * times)
    return None
