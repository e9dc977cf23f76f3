"""Answers that come as a stream of server-sent events although none was asked for: gathered into the plain form.

Some servers and gateways stream whatever the request says. Only what a completion needs is kept; bytes and text are
bounded, so that a stream without end is left as soon as it is longer than any answer may be.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from planner_svc.errors import ModelRefusedError

EVENT_STREAM = "text/event-stream"
MAX_STREAM_BYTES = 8_388_608
"""A token comes wrapped in some 250 bytes."""
MAX_LINE = 262_144
MAX_STREAM_TEXT = 100_000
"""Characters of text or reasoning after which nobody listens any longer."""
PARTS = ("content", "reasoning_content", "reasoning")
DONE = "[DONE]"


@dataclass(slots=True)
class _Gathered:
    texts: dict[str, list[str]] = field(default_factory=dict)
    length: int = 0
    finish_reason: Any = None
    outer: dict[str, Any] = field(default_factory=dict)
    done: bool = False


async def gather(chunks: AsyncIterator[bytes]) -> dict[str, Any]:
    """Return the completion, or the error object, that a stream of events holds.

    Raises:
        ModelRefusedError: it is too long, holds no proper event, or ended before the answer did.
    """
    got, size, rest = _Gathered(), 0, b""
    async for chunk in chunks:
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _take(got, line)
        if got.done:
            break
        if size > MAX_STREAM_BYTES or len(rest) > MAX_LINE or got.length > MAX_STREAM_TEXT:
            raise ModelRefusedError(f"the endpoint streams without end; it was left after {size} bytes")
    else:
        _take(got, rest)
    return _whole(got)


def _take(got: _Gathered, line: bytes) -> None:
    """Add one line; comments, event names and blank lines say nothing."""
    name, _, value = line.decode(errors="replace").strip().partition(":")
    if name != "data" or got.done:
        return
    value = value.strip()
    if value == DONE:
        got.done = True
        return
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        raise ModelRefusedError("the endpoint streams events that are no JSON") from None
    if not isinstance(event, dict):
        return
    got.done = bool(event.get("error"))
    got.outer |= {key: item for key, item in event.items() if key not in ("choices", "object") and item is not None}
    choices = event.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        _take_choice(got, choices[0])


def _take_choice(got: _Gathered, choice: dict[str, Any]) -> None:
    delta = choice.get("delta")
    said = delta if isinstance(delta, dict) else {}
    for part in PARTS:
        text = said.get(part)
        if isinstance(text, str) and text:
            got.texts.setdefault(part, []).append(text)
            got.length += len(text)
    if choice.get("finish_reason") is not None:
        got.finish_reason = choice["finish_reason"]


def _whole(got: _Gathered) -> dict[str, Any]:
    if got.outer.get("error"):
        return got.outer
    if not got.done and got.finish_reason is None:
        raise ModelRefusedError("the endpoint's stream ended before the answer did")
    message = {"role": "assistant", **{part: "".join(texts) for part, texts in got.texts.items()}}
    return {**got.outer, "choices": [{"message": message, "finish_reason": got.finish_reason}]}
