"""The gates of a suite: which of its figures they bound, and how they are held against every planner's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import gates
from harness.gates import Gate, Held
from harness.suite.tally import NAMES, Figure


def parse(texts: Sequence[str]) -> tuple[Gate, ...]:
    """Return the gates of `NAME=NUMBER` texts.

    Raises:
        BadScenarioError: no such figure (names the nearest), no number, or one figure twice.
    """
    return gates.parse(texts, NAMES)


def hold(wanted: Sequence[Gate], tallies: Mapping[str, Sequence[Figure]]) -> tuple[Held, ...]:
    """Hold every gate against every planner's figures. What could not be measured passes no gate."""
    return tuple(gates.held(planner, gate, figures) for planner, figures in tallies.items() for gate in wanted)
