"""The gates of an evaluation: which of its table's figures they bound, such as `TOGETHER_FAULT=0.85`. Pure.

Bounds, never golden text (docs/evaluation.md): another build of the same engine may word an answer otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness import gates
from harness.evaluation.table import BOTH, MODEL, RULEBOOK, Column, Table
from harness.figures import Rate, Spread
from harness.gates import Better, Gate, Held

COLUMNS = (("RULEBOOK", RULEBOOK), ("MODEL", MODEL), ("TOGETHER", BOTH))
RATES: tuple[tuple[str, str, Better], ...] = (
    ("VALID", "valid", "more"),
    ("DEVICE", "target", "more"),
    ("FAULT", "both", "more"),
    ("REPAIR", "action", "more"),
    ("DANGEROUS", "dangerous", "less"),
)
OTHERS = ("AGREED_FAULT", "FALLBACKS", "RULEBOOK_MS", "MODEL_S", "PROMPT_TOKENS")
NAMES = tuple(f"{who}_{what}" for who, _ in COLUMNS for what, _, _ in RATES) + OTHERS


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of the table."""

    name: str
    better: Better
    value: float | None
    detail: str
    absent_is_good: bool = False


def parse(texts: Sequence[str]) -> tuple[Gate, ...]:
    """Return the gates of `NAME=NUMBER` texts.

    Raises:
        BadScenarioError: no such figure (names the nearest), no number, or one figure twice.
    """
    return gates.parse(texts, NAMES)


def hold(wanted: Sequence[Gate], found: Table) -> tuple[Held, ...]:
    """Hold gates against a table. What was not measured (a model's figures without a model) passes no gate."""
    measured = tuple(figures(found))
    return tuple(gates.held(found.about.model or "rulebook", gate, measured) for gate in wanted)


def figures(found: Table) -> Iterator[Measured]:
    """Give every figure that a gate can bound: rates, medians of times (s, ms), the longest prompt (tokens)."""
    columns = {column.name: column for column in found.columns}
    for who, title in COLUMNS:
        for what, field, better in RATES:
            yield _share(f"{who}_{what}", better, _of(columns.get(title), field))
    yield _share("AGREED_FAULT", "more", found.agreed_right)
    yield _share("FALLBACKS", "less", found.fallbacks)
    yield _median("RULEBOOK_MS", found.rules_ms)
    yield _median("MODEL_S", found.seconds)
    longest = None if found.prompt_tokens is None else found.prompt_tokens.most
    yield Measured("PROMPT_TOKENS", "less", longest, "the longest prompt")


def _of(column: Column | None, field: str) -> Rate | None:
    rate: Rate | None = None if column is None else getattr(column, field)
    return rate


def _share(name: str, better: Better, rate: Rate | None) -> Measured:
    if rate is None:
        return Measured(name, better, None, "nobody was asked")
    return Measured(name, better, rate.value, f"{rate.hits} of {rate.total}")


def _median(name: str, spread: Spread | None) -> Measured:
    return Measured(name, "less", None if spread is None else spread.median, "median")
