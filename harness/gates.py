"""Gates: bounds that measured figures must keep, such as `SR=0.9` or `MTTR=20`. Pure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.errors import BadScenarioError

Better = Literal["more", "less"]


class Gated(Protocol):
    """A figure that a gate can be held against."""

    @property
    def name(self) -> str:
        """What a gate calls it."""

    @property
    def better(self) -> Better:
        """Which way is up."""

    @property
    def value(self) -> float | None:
        """None: there is nothing to make it of."""

    @property
    def detail(self) -> str:
        """Of what it is made, in words."""

    @property
    def absent_is_good(self) -> bool:
        """Whether no value means that nothing went wrong, rather than that nothing was measured."""


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


def parse(texts: Sequence[str], known: Sequence[str]) -> tuple[Gate, ...]:
    """Return the gates of `NAME=NUMBER` texts.

    Args:
        known: the names of the figures there are.

    Raises:
        BadScenarioError: no such figure (names the nearest), no number, or one figure twice.
    """
    found = [_gate(text, known) for text in texts]
    twice = next((gate.name for n, gate in enumerate(found) if gate.name in {other.name for other in found[:n]}), None)
    if twice is not None:
        raise BadScenarioError(f"the gate {twice} was given twice; give one bound")
    return tuple(found)


def _gate(text: str, known: Sequence[str]) -> Gate:
    given, sign, value = text.partition("=")
    name = given.strip().upper().replace("-", "_")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise BadScenarioError(f"there is no figure {given[:40]!r} to hold a gate against; {hint}")
    try:
        bound = float(value)
    except ValueError:
        bound = math.nan
    if not sign or not math.isfinite(bound):
        raise BadScenarioError(f"a gate is NAME=NUMBER, such as {known[0]}=0.9, not {text[:60]!r}")
    return Gate(name, bound)


def held(planner: str, gate: Gate, figures: Sequence[Gated]) -> Held:
    """Hold a gate against one planner's figures, of which one has its name. What was not measured passes no gate."""
    figure = next(figure for figure in figures if figure.name == gate.name)
    wanted = f"{'at least' if figure.better == 'more' else 'at most'} {gate.bound:g} is asked for"
    if figure.value is None:
        what = f"{planner}: {gate.name} has no value ({figure.detail}), {wanted}"
        return Held(planner, gate, figure.absent_is_good, what)
    ok = figure.value >= gate.bound if figure.better == "more" else figure.value <= gate.bound
    return Held(planner, gate, ok, f"{planner}: {gate.name} is {figure.value:.3g} ({figure.detail}), {wanted}")
