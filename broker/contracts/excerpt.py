"""What a search of the runbooks found, as it stands in a result's `meta["excerpts"]`: one JSON text, bounded.

Facts of a result are scalars, so excerpts travel as text. They are words of whoever wrote the runbook or reported the
past incident: untrusted, evidence and never instructions, for people and for a model's prompt alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from broker.contracts.base import CleanText, Frozen, describe
from broker.errors import SchemaError

MAX_EXCERPTS = 8
MAX_EXCERPT = 600
"""Longest text of one excerpt, characters."""
MAX_BYTES = 6_000
"""Longest text of all excerpts of one result, UTF-8 bytes: some 1,500 tokens, of which a prompt takes what fits."""
META_KEY = "excerpts"

Ranking = Literal["text", "vector", "symptoms"]
"""text: words in common. vector: meaning, by embeddings. symptoms: the telemetry looked alike (past incidents)."""


class Excerpt(Frozen):
    """One passage, where it is from, and why it was chosen."""

    kind: Literal["runbook", "incident"]
    source: Annotated[str, StringConstraints(max_length=80)]
    """The runbook's id, or the incident."""
    title: Annotated[CleanText, StringConstraints(max_length=120)]
    section: Annotated[CleanText, StringConstraints(max_length=120)] = ""
    fault_class: Annotated[str, StringConstraints(max_length=40)] = ""
    text: Annotated[CleanText, StringConstraints(max_length=MAX_EXCERPT)]
    score: Annotated[float, Field(ge=0)]
    """Sum over rankings of 1 / (60 + place): comparable within one search only."""
    ranks: dict[Ranking, Annotated[int, Field(ge=1)]]
    """Its place in each ranking that found it, from 1."""


_LIST = TypeAdapter(tuple[Excerpt, ...])


def encode_excerpts(excerpts: Iterable[Excerpt]) -> str:
    """Return excerpts as JSON text of at most MAX_BYTES, best first; what does not fit any more is left out."""
    kept: list[Excerpt] = []
    for excerpt in list(excerpts)[:MAX_EXCERPTS]:
        if len(_LIST.dump_json((*kept, excerpt))) > MAX_BYTES:
            break
        kept.append(excerpt)
    return _LIST.dump_json(tuple(kept)).decode()


def decode_excerpts(text: str) -> tuple[Excerpt, ...]:
    """Return the excerpts of a result.

    Raises:
        SchemaError: the text is longer than MAX_BYTES or no list of excerpts.
    """
    if len(text.encode()) > MAX_BYTES:
        raise SchemaError("excerpts", f"more than {MAX_BYTES} bytes")
    try:
        found = _LIST.validate_json(text)
    except ValidationError as error:
        raise SchemaError("excerpts", describe(error)) from error
    return found[:MAX_EXCERPTS]
