"""Which scenarios a suite runs, and to which family a fault belongs.

`suites.json` names sets and families; a scenario may name sets itself (its field `sets`), a fault its family (its
attribute `family`), and that counts too. The set `full` is every scenario that comes with the project.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from broker.contracts.base import Frozen, Token
from harness.errors import BadScenarioError, NotFoundError
from harness.scenario import Draw, Scenario, load, names
from injector.registry import FAULTS

FILE = Path(__file__).parents[1] / "suites.json"
FULL = "full"
NO_FAULT = "no fault"
SEVERAL = "several"
OTHER = "other"


class Suites(Frozen):
    """The file."""

    sets: dict[Token, Annotated[tuple[Token, ...], Field(min_length=1)]]
    families: dict[Token, tuple[Token, ...]]
    """Family -> faults."""


def read(path: Path = FILE) -> Suites:
    """Read the file of sets and families."""
    return Suites.decode(path.read_bytes())


def chosen(wish: str, suites: Suites) -> tuple[Scenario, ...]:
    """Return the scenarios of a set, or of several sets and names with commas between them, each once, in order.

    Raises:
        NotFoundError: there is no such set or scenario; names the nearest. BadScenarioError: one cannot be run, or
            nothing was named.
    """
    words = [word.strip() for word in wish.split(",") if word.strip()]
    if not words:
        raise BadScenarioError("the suite has no scenarios; name a set or scenarios, such as --set nightly")
    known = {name: load(name) for name in names()}
    found: dict[str, Scenario] = {}
    for word in words:
        for scenario in _of(word, known, suites):
            found.setdefault(scenario.name, scenario)
    return tuple(found.values())


def _of(word: str, known: dict[str, Scenario], suites: Suites) -> list[Scenario]:
    if word == FULL:
        return list(known.values())
    members = [load(name) for name in suites.sets.get(word, ())]
    members += [one for one in known.values() if word in _own_sets(one) and one not in members]
    if members:
        return members
    if word in known or Path(word).is_file():
        return [known[word] if word in known else load(word)]
    everything = sorted({FULL, *suites.sets, *known, *(name for one in known.values() for name in _own_sets(one))})
    near = difflib.get_close_matches(word, everything, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(everything)}"
    raise NotFoundError(f"there is no set or scenario {word[:80]!r}; {hint}")


def _own_sets(scenario: Scenario) -> Iterable[str]:
    return getattr(scenario, "sets", ())


def family(drawn: Draw, suites: Suites) -> str:
    """Return the family of a drawn scenario's faults: `no fault`, `several`, or `other` where nobody names one."""
    found = {_family_of(step.fault, suites) for step in drawn.faults}
    if not found:
        return NO_FAULT
    return SEVERAL if len(found) > 1 else found.pop()


def _family_of(fault: str, suites: Suites) -> str:
    own = getattr(FAULTS.get(fault), "family", None)
    if isinstance(own, str) and own:
        return own
    return next((name for name, faults in suites.families.items() if fault in faults), OTHER)
