"""What a suite is to run: every scenario, seed and planner; and how long that may still take. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal
from urllib.parse import urlsplit

from harness.errors import BadScenarioError
from harness.scenario import Draw, Scenario, draw
from harness.scenario_checks import platforms_of
from harness.suite.result import RULEBOOK, Key

Mode = Literal["rulebook", "auto", "hypothesis", "full"]


@dataclass(frozen=True, slots=True)
class Planner:
    """Who plans."""

    name: str
    """As it stands in results: never with a user or a password."""
    mode: Mode
    url: str | None = None
    """Of the model's endpoint; None: the rulebook."""


@dataclass(frozen=True, slots=True)
class Item:
    """One run to be made."""

    key: Key
    draw: Draw
    planner: Planner


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """All runs in order, and what cannot be run here."""

    items: tuple[Item, ...]
    skipped: tuple[str, ...]
    """Scenarios whose faults cannot be made on this platform."""


def planners(words: Sequence[str], *, mode: str = "auto", model: str | None = None) -> tuple[Planner, ...]:
    """Return the planners of `rulebook` and URLs.

    Args:
        mode: how a model is asked, where it is; `model`: which one of the endpoint's, if that is set.

    Raises:
        BadScenarioError: a word is neither, or there are two of the same.
    """
    found = [_planner(part.strip(), mode, model) for word in words for part in word.split(",") if part.strip()]
    if not found:
        raise BadScenarioError("no planner was given; give rulebook, or the URL of a model's endpoint")
    names = [planner.name for planner in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadScenarioError(f"the planner {twice} was given twice")
    return tuple(found)


def _planner(word: str, mode: str, model: str | None) -> Planner:
    if word == RULEBOOK:
        return Planner(RULEBOOK, "rulebook")
    try:
        parts = urlsplit(word)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or any(c.isspace() for c in word):
        raise BadScenarioError(
            f"a planner is rulebook or the URL of a model's endpoint (http://localhost:1234/v1), not {word[:60]!r}"
        )
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    asked: Mode = "full" if mode == "full" else "auto"
    extras = [extra for extra in (model, asked if asked == "full" else None) if extra]
    return Planner(f"{shown} ({', '.join(extras)})" if extras else shown, asked, word)


def plan(scenarios: Iterable[Scenario], seeds: int, who: Iterable[Planner], *, platform: str, commit: str) -> SuitePlan:
    """Return what is to be run: planner by planner, so that a stack changes its planner as seldom as possible.

    Args:
        seeds: so many of each scenario, 1, 2, 3, …
    """
    wanted = list(scenarios)
    here = [scenario for scenario in wanted if platform in platforms_of(scenario)]
    items = [
        Item(_key(scenario, seed, planner, platform, commit), draw(scenario, seed=seed), planner)
        for planner in who
        for scenario in here
        for seed in range(1, seeds + 1)
    ]
    return SuitePlan(tuple(items), tuple(scenario.name for scenario in wanted if scenario not in here))


def _key(scenario: Scenario, seed: int, planner: Planner, platform: str, commit: str) -> Key:
    digest = hashlib.sha256(scenario.encode()).hexdigest()[:12]
    return Key(scenario=scenario.name, seed=seed, planner=planner.name, commit=commit, platform=platform, digest=digest)


def remaining(walls: Sequence[float], left: int) -> float | None:
    """Return how long `left` more runs may take, by the median of those that were made, seconds; None before any."""
    return left * median(walls) if walls else None
