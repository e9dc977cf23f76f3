"""Scenario files: which faults, when, with which noise and seed, what a person reports, and what must come out.

A field that may hold a list holds choices: the seed draws one, so that five seeds are five different runs and the same
seed is always the same one. Times are seconds after the scenario's start.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from broker.contracts.base import Frozen, Scalar, Token, UnitInterval, describe
from broker.contracts.incident import IncidentText
from broker.contracts.plan import AgentKind
from harness.errors import BadScenarioError, NotFoundError

FOLDER = Path(__file__).parent / "scenarios"
Seconds = Annotated[float, Field(ge=0.0, le=3_600.0)]
Chosen = str | tuple[str, ...]


class FaultStep(Frozen):
    """Inject one fault."""

    at_s: Seconds = 0.0
    fault: str
    target: Chosen
    args: dict[str, Scalar] = Field(default_factory=dict)


class ReportStep(Frozen):
    """A person reports, in messy words. Without it the monitor has to notice by itself."""

    at_s: Seconds
    text: IncidentText | tuple[IncidentText, ...]


class KillStep(Frozen):
    """Kill a process of the control plane when something is seen in the journal."""

    when: Literal["claim", "task", "plan.requested", "plan.accepted", "result", "plan.executed"]
    kind: AgentKind | None = None
    """Restricts `claim`, `task` and `result` to one agent kind."""
    victim: Literal["claimant", "planner", "scheduler", "monitor", "sensors", "auditor", "broker"]
    signal: Literal["KILL", "STOP"] = "KILL"


class Expectation(Frozen):
    """What must come out, or the run has failed."""

    verdict: Literal["verified", "no_fault"]
    max_actions: Annotated[int, Field(ge=0)]
    """Tasks that changed the world."""


class Scenario(Frozen):
    """One scenario file."""

    name: Token
    summary: str
    seed: Annotated[int, Field(ge=0)] = 42
    noise: UnitInterval = 0.0
    faults: tuple[FaultStep, ...] = ()
    report: ReportStep | None = None
    kills: tuple[KillStep, ...] = ()
    expect: Expectation
    timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0


class Draw(Frozen):
    """A scenario with every choice made."""

    scenario: Scenario
    seed: int
    noise: float
    faults: tuple[FaultStep, ...]
    text: str | None
    report_at_s: float | None


def draw(scenario: Scenario, *, seed: int | None = None, noise: float | None = None) -> Draw:
    """Make every choice of a scenario by its seed (or the one given)."""
    number = scenario.seed if seed is None else seed
    generator = random.Random(f"{scenario.name}/{number}")
    faults = tuple(step.model_copy(update={"target": _pick(generator, step.target)}) for step in scenario.faults)
    report = scenario.report
    return Draw(
        scenario=scenario,
        seed=number,
        noise=scenario.noise if noise is None else noise,
        faults=faults,
        text=None if report is None else _pick(generator, report.text),
        report_at_s=None if report is None else report.at_s + generator.random(),
    )


def _pick(generator: random.Random, choice: str | tuple[str, ...]) -> str:
    return choice if isinstance(choice, str) else generator.choice(choice)


def names() -> tuple[str, ...]:
    """Return the names of the scenarios that come with the project."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def load(name: str) -> Scenario:
    """Read a scenario by path, file name or name.

    Raises:
        NotFoundError: there is none; names the nearest. BadScenarioError: it cannot be run; names the wrong field.
    """
    path = _locate(name)
    try:
        scenario = Scenario.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadScenarioError(f"the scenario {path.name} cannot be run: {_explain(error)}") from error
    except OSError as error:
        raise NotFoundError(f"the scenario {path} cannot be read: {error.strerror}") from error
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
        "kills": KillStep,
        "expect": Expectation,
    }
    model: type[Frozen] = Scenario
    for part in path:
        model = sections.get(str(part), model)
    return list(model.model_fields)
