"""Scenarios: read, checked and drawn.

A field that may hold a list holds choices: the seed draws one, so that five seeds are five different runs and the same
seed is always the same one. How to write a scenario: docs/scenarios.md.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from broker.contracts.base import Frozen, describe
from harness.errors import BadScenarioError, NotFoundError
from harness.scenario_checks import contradictions
from harness.scenario_model import (
    Cause,
    Draw,
    Expectation,
    FaultStep,
    KillStep,
    ReportStep,
    Said,
    Scenario,
    SetName,
)

__all__ = [
    "Cause",
    "Draw",
    "Expectation",
    "FaultStep",
    "KillStep",
    "ReportStep",
    "Scenario",
    "SetName",
    "draw",
    "load",
    "names",
]

FOLDER = Path(__file__).parent / "scenarios"


def draw(scenario: Scenario, *, seed: int | None = None, noise: float | None = None) -> Draw:
    """Make every choice of a scenario by its seed (or the one given)."""
    number = scenario.seed if seed is None else seed
    generator = random.Random(f"{scenario.name}/{number}")
    faults = tuple(step.model_copy(update={"target": _pick(generator, step.target)}) for step in scenario.faults)
    said = [Said(text=_pick(generator, step.text), at_s=step.at_s + generator.random()) for step in _reports(scenario)]
    first = said[0] if scenario.report is not None else None
    return Draw(
        scenario=scenario,
        seed=number,
        noise=scenario.noise if noise is None else noise,
        faults=faults,
        text=None if first is None else first.text,
        report_at_s=None if first is None else first.at_s,
        reports=tuple(sorted(said[1:], key=lambda item: item.at_s)),
    )


def _reports(scenario: Scenario) -> tuple[ReportStep, ...]:
    return () if scenario.report is None else (scenario.report, *scenario.reports)


def _pick(generator: random.Random, choice: str | tuple[str, ...]) -> str:
    return choice if isinstance(choice, str) else generator.choice(choice)


def names(set_name: SetName = "full") -> tuple[str, ...]:
    """Return the names of the scenarios of a set that come with the project.

    Raises:
        BadScenarioError: one of them cannot be run.
    """
    found = sorted(path.stem for path in FOLDER.glob("*.json"))
    return tuple(found) if set_name == "full" else tuple(name for name in found if load(name).is_in(set_name))


def load(name: str) -> Scenario:
    """Read a scenario by path, file name or name.

    Raises:
        NotFoundError: there is none; names the nearest. BadScenarioError: it cannot be run; names file, field, reason.
    """
    path = _locate(name)
    try:
        scenario = Scenario.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadScenarioError(f"the scenario {path.name} cannot be run: {_explain(error)}") from error
    except OSError as error:
        raise NotFoundError(f"the scenario {path} cannot be read: {error.strerror}") from error
    if wrong := tuple(contradictions(scenario)):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BadScenarioError(f"the scenario {path.name} cannot be run: {wrong[0]}{more}")
    return scenario


def _locate(name: str) -> Path:
    for path in (Path(name), FOLDER / name, FOLDER / f"{name}.json"):
        if path.is_file():
            return path
    near = difflib.get_close_matches(Path(name).stem, names(), n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names())}"
    raise NotFoundError(f"there is no scenario {name[:80]!r}; {hint}")


def _explain(error: ValidationError) -> str:
    extra = [fault for fault in error.errors() if fault["type"] == "extra_forbidden"]
    if not extra:
        return describe(error)
    where = extra[0]["loc"]
    known = _fields(where[:-1])
    near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown key {'.'.join(str(part) for part in where)!r}; {hint}"


def _fields(path: Iterable[int | str]) -> list[str]:
    sections: dict[str, type[Frozen]] = {
        "faults": FaultStep,
        "report": ReportStep,
        "reports": ReportStep,
        "kills": KillStep,
        "expect": Expectation,
        "causes": Cause,
    }
    model: type[Frozen] = Scenario
    for part in path:
        model = sections.get(str(part), model)
    return list(model.model_fields)
