"""The result as a table: Markdown for people, JSON with the same figures and every situation's outcome for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.contracts.base import Frozen
from harness.evaluation.evaluate import Outcome
from harness.evaluation.judge import Verdict
from harness.figures import Rate, Spread, rate, spread

RULEBOOK, MODEL, BOTH = "rulebook alone", "model alone", "both (the pipeline)"
"""Who answers: the columns of the table."""


@dataclass(frozen=True, slots=True)
class About:
    """What was measured, where and by which command."""

    date: str
    commit: str
    machine: str
    command: str
    halves: tuple[str, ...]
    mode: str
    model: str | None = None
    model_sha256: str | None = None
    endpoint: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    rulebook_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """The figures of one who answers."""

    name: str
    valid: Rate
    target: Rate
    both: Rate
    action: Rate
    dangerous: Rate
    dangerous_planned: Rate | None
    """None of a bare answer: whatever it plans would be done."""


@dataclass(frozen=True, slots=True)
class Table:
    """All figures."""

    about: About
    situations: int
    columns: tuple[Column, ...]
    agree: Rate | None
    agreed_right: Rate | None
    """Target and class right where model and rulebook agree."""
    differ_rules_right: Rate | None
    differ_model_right: Rate | None
    fallbacks: Rate | None
    rules_ms: Spread
    waited_s: Spread
    seconds: Spread | None
    prompt_tokens: Spread | None
    completion_tokens: Spread | None


def table(outcomes: Sequence[Outcome], about: About) -> Table:
    """Return the figures of an evaluation."""
    asked = [one for one in outcomes if one.model is not None]
    raws = [one.model for one in asked if one.model is not None]
    agreed = [one for one in asked if one.agreed]
    differ = [one for one in asked if one.agreed is False]
    heard = [raw for raw in raws if raw.outcome == "ok"]
    columns = [_column(RULEBOOK, [one.rules for one in outcomes])]
    if asked:
        columns.append(_column(MODEL, [raw.verdict for raw in raws], bare=True))
        columns.append(_column(BOTH, [one.combined for one in outcomes if one.combined]))
    return Table(
        about=about,
        situations=len(outcomes),
        columns=tuple(columns),
        agree=rate([bool(one.agreed) for one in asked]) if asked else None,
        agreed_right=rate([one.rules.both for one in agreed]) if asked else None,
        differ_rules_right=rate([one.rules.both for one in differ]) if asked else None,
        differ_model_right=rate([one.model.verdict.both for one in differ if one.model]) if asked else None,
        fallbacks=rate([bool(one.fallback) for one in asked]) if asked else None,
        rules_ms=spread([one.rules_ms for one in outcomes]),
        waited_s=spread([one.rules_waited_s for one in outcomes]),
        seconds=spread([raw.seconds for raw in heard]) if asked else None,
        prompt_tokens=spread([float(raw.prompt_tokens) for raw in heard]) if asked else None,
        completion_tokens=spread([float(raw.completion_tokens) for raw in heard]) if asked else None,
    )


def _column(name: str, verdicts: Sequence[Verdict], *, bare: bool = False) -> Column:
    return Column(
        name=name,
        valid=rate([verdict.valid for verdict in verdicts]),
        target=rate([verdict.target for verdict in verdicts]),
        both=rate([verdict.both for verdict in verdicts]),
        action=rate([verdict.action for verdict in verdicts]),
        dangerous=rate([verdict.dangerous for verdict in verdicts]),
        dangerous_planned=None if bare else rate([verdict.dangerous_planned for verdict in verdicts]),
    )


def as_json(found: Table, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return the table and every outcome as JSON values."""
    return {
        "about": _plain(found.about),
        "situations": found.situations,
        "columns": {
            column.name: {name: _figure(getattr(column, name)) for name, _ in ROWS} for column in found.columns
        },
        "together": {name: _figure(getattr(found, name)) for name, _ in TOGETHER},
        "spans": {name: _figure(getattr(found, name)) for name, _, _ in SPANS},
        "outcomes": [_outcome(one) for one in outcomes],
    }


def _plain(about: About) -> dict[str, Any]:
    return {name: getattr(about, name) for name in About.__slots__}


def _figure(value: Rate | Spread | None) -> Any:
    if isinstance(value, Rate):
        low, high = value.interval
        return {"hits": value.hits, "total": value.total, "rate": value.value, "low": low, "high": high}
    if isinstance(value, Spread):
        return {name: getattr(value, name) for name in Spread.__slots__}
    return None


def _outcome(one: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {
        "situation": one.case.situation.name,
        "half": one.case.half,
        "traits": list(one.case.situation.traits),
        "right": _frozen(one.case.situation.right[0]),
        "rulebook": _verdict(one.rules),
        "rulebook_ms": round(one.rules_ms, 3),
        "waited_s": round(one.rules_waited_s, 3),
    }
    if one.model is not None:
        found["model"] = _verdict(one.model.verdict) | {
            "outcome": one.model.outcome,
            "text": one.model.text,
            "seconds": round(one.model.seconds, 3),
            "prompt_tokens": one.model.prompt_tokens,
            "completion_tokens": one.model.completion_tokens,
            "prompt_hash": one.model.prompt_hash,
        }
    if one.combined is not None:
        found |= {"both": _verdict(one.combined), "fallback": one.fallback, "attempts": one.attempts}
    return found


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "said": _frozen(verdict.said),
        "done": [_frozen(repair) for repair in verdict.done],
        **{name: getattr(verdict, name) for name, _ in ROWS},
    }


def _frozen(value: Frozen | None) -> Any:
    return None if value is None else value.model_dump(mode="json")


ROWS: tuple[tuple[str, str], ...] = (
    ("valid", "valid plan or answer"),
    ("target", "device right"),
    ("both", "device and class of fault right"),
    ("action", "right repair would be done (nothing, where nothing is broken)"),
    ("dangerous", "dangerous action would be done"),
    ("dangerous_planned", "dangerous action planned, behind a confirmation"),
)
TOGETHER: tuple[tuple[str, str], ...] = (
    ("agree", "model and rulebook agree"),
    ("agreed_right", "where they agree: both right"),
    ("differ_rules_right", "where they differ: rulebook right"),
    ("differ_model_right", "where they differ: model right"),
    ("fallbacks", "rulebook's plan although a model was asked"),
)
SPANS: tuple[tuple[str, str, str], ...] = (
    ("rules_ms", "rulebook's own time", "ms"),
    ("waited_s", "rulebook: from the report to the plan, mostly waiting for telemetry", "s"),
    ("seconds", "model: question to answer", "s"),
    ("prompt_tokens", "prompt", "tokens"),
    ("completion_tokens", "answer", "tokens"),
)


NOTE = (
    "In brackets: 95 % interval, Wilson's for rates, bootstrap for medians. Two situations share each recorded window, "
    "so the intervals are, if anything, too narrow. What is counted and how: docs/evaluation.md."
)


def markdown(found: Table) -> str:
    """Return the table as a page of Markdown."""
    parts = [*_head(found), "", *_rates(found), "", *_together(found), *_spans(found), "", NOTE]
    return "\n".join(parts) + "\n"


def _head(found: Table) -> list[str]:
    about = found.about
    what = about.model or "rulebook"
    facts = [
        ("set", f"{' and '.join(about.halves)}, {found.situations} situations"),
        ("model", what if about.model else "none"),
        ("file, SHA-256", about.model_sha256),
        ("endpoint", about.endpoint),
        ("mode", about.mode),
        ("settings", ", ".join(f"{name} {value}" for name, value in about.settings.items()) or None),
        ("rulebook, SHA-256", about.rulebook_sha256 or None),
        ("date", about.date),
        ("sources", about.commit),
        ("machine", about.machine),
        ("command", f"`{about.command}`"),
    ]
    rows = [f"| {name} | {value} |" for name, value in facts if value]
    return [f"# Evaluation: {what}, {about.mode}, {' and '.join(about.halves)} set", "", "| | |", "|---|---|", *rows]


def _rates(found: Table) -> list[str]:
    names = [column.name for column in found.columns]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for field_, title in ROWS:
        lines.append(f"| {title} | {' | '.join(_cell(getattr(column, field_)) for column in found.columns)} |")
    return lines


def _together(found: Table) -> list[str]:
    rows = [(title, getattr(found, name)) for name, title in TOGETHER]
    shown = [f"| {title} | {_cell(value)} |" for title, value in rows if value is not None]
    return ["| model beside rulebook | |", "|---|---|", *shown, ""] if shown else []


def _spans(found: Table) -> list[str]:
    lines = ["| | median | 90 % | most |", "|---|---|---|---|"]
    for name, title, unit in SPANS:
        value: Spread | None = getattr(found, name)
        if value is not None and value.median is not None:
            show = _number(unit)
            interval = f"{show(value.median)} ({show(value.low)}..{show(value.high)}) {unit}"
            lines.append(f"| {title} | {interval} | {show(value.p90)} {unit} | {show(value.most)} {unit} |")
    return lines


def _number(unit: str) -> Callable[[float | None], str]:
    digits = 0 if unit == "tokens" else 1
    return lambda value: "-" if value is None else f"{value:.{digits}f}"


def _cell(value: Rate | None) -> str:
    if value is None or value.value is None:
        return "-"
    low, high = value.interval
    return f"**{value.value:.2f}** ({low:.2f}..{high:.2f}), {value.hits} of {value.total}"
