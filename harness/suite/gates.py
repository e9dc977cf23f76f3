"""Gates: bounds that the figures of a suite must keep, such as `SR=0.9` or `MTTR=20`. Pure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import BadScenarioError
from harness.suite.tally import NAMES, Figure


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound: at least for figures of which more is better, at most for the others."""

    name: str
    bound: float


@dataclass(frozen=True, slots=True)
class Held:
    """A gate held against one planner's figure."""

    planner: str
    gate: Gate
    ok: bool
    sentence: str


def parse(texts: Sequence[str]) -> tuple[Gate, ...]:
    """Return the gates of `NAME=NUMBER` texts.

    Raises:
        BadScenarioError: no such figure (names the nearest), no number, or one figure twice.
    """
    found = [_gate(text) for text in texts]
    twice = next((gate.name for n, gate in enumerate(found) if gate.name in {other.name for other in found[:n]}), None)
    if twice is not None:
        raise BadScenarioError(f"the gate {twice} was given twice; give one bound")
    return tuple(found)


def _gate(text: str) -> Gate:
    name, given, value = text.partition("=")
    known = name.strip().upper().replace("-", "_")
    if known not in NAMES:
        near = difflib.get_close_matches(known, NAMES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(NAMES)}"
        raise BadScenarioError(f"there is no figure {name[:40]!r} to hold a gate against; {hint}")
    try:
        bound = float(value)
    except ValueError:
        bound = math.nan
    if not given or not math.isfinite(bound):
        raise BadScenarioError(f"a gate is NAME=NUMBER, such as SR=0.9, not {text[:60]!r}")
    return Gate(known, bound)


def hold(gates: Sequence[Gate], tallies: Mapping[str, Sequence[Figure]]) -> tuple[Held, ...]:
    """Hold every gate against every planner's figures. What could not be measured passes no gate."""
    return tuple(
        _held(planner, gate, next(figure for figure in figures if figure.name == gate.name))
        for planner, figures in tallies.items()
        for gate in gates
    )


def _held(planner: str, gate: Gate, figure: Figure) -> Held:
    wanted = f"{'at least' if figure.better == 'more' else 'at most'} {gate.bound:g}"
    if figure.value is None:
        what = f"{planner}: {gate.name} has no value ({figure.detail}), {wanted} is asked for"
        return Held(planner, gate, figure.absent_is_good, what)
    ok = figure.value >= gate.bound if figure.better == "more" else figure.value <= gate.bound
    return Held(
        planner, gate, ok, f"{planner}: {gate.name} is {figure.value:.3g} ({figure.detail}), {wanted} is asked for"
    )
