"""What a scenario file says that cannot be so: unknown faults and targets, times and cues that contradict each other,
expectations that nothing could meet. Pure: a scenario in, sentences out, each `place: reason`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from harness.errors import RefusedError
from harness.scenario_model import CUES_OF_A_KIND, Chosen, FaultStep, KillStep, Scenario
from injector.errors import InjectorError
from injector.fault import EVERYWHERE, Platform, Spec
from injector.registry import FAULTS, check, find


def platforms_of(scenario: Scenario) -> tuple[Platform, ...]:
    """Return the platforms on which every fault of a checked scenario can be made."""
    return tuple(p for p in EVERYWHERE if all(p in find(step.fault).platforms for step in scenario.faults))


def require_here(scenario: Scenario, platform: Platform) -> None:
    """Raise RefusedError unless every fault of a checked scenario can be made on a platform."""
    for n, step in enumerate(scenario.faults):
        if platform not in (places := find(step.fault).platforms):
            raise RefusedError(
                f"{scenario.name} cannot be run on the {platform} platform: faults.{n}: {step.fault} can be made on "
                f"{' and '.join(places)}"
            )


def contradictions(scenario: Scenario) -> Iterator[str]:
    """Yield everything that cannot be so, `place: reason`; nothing for a scenario that can be run."""
    for n, step in enumerate(scenario.faults):
        yield from (f"faults.{n}{reason}" for reason in _of_fault(step, scenario))
    yield from _twice(scenario.faults)
    yield from _of_reports(scenario)
    for n, kill in enumerate(scenario.kills):
        yield from (f"kills.{n}.{reason}" for reason in _of_kill(kill))
    yield from _of_cues(scenario)
    yield from (f"expect.{reason}" for reason in _of_expectation(scenario))


def targets_of(choice: Chosen) -> tuple[str, ...]:
    """Return every target that a seed may draw."""
    return (choice,) if isinstance(choice, str) else choice


def _of_fault(step: FaultStep, scenario: Scenario) -> Iterator[str]:
    if not targets_of(step.target):
        yield ".target: no target is given to choose from"
    for target in targets_of(step.target):
        try:
            check(Spec(step.fault, target, step.args))
        except InjectorError as error:
            yield f": {error}"
    if step.when is not None and step.at_s > 0:
        yield f".at_s: it is to happen at {step.at_s:g} s and at the cue {step.when!r}; give one of them"
    if step.kind is not None and step.when not in CUES_OF_A_KIND:
        yield f".kind: only the cues {', '.join(CUES_OF_A_KIND)} belong to an agent kind"
    if step.at_s >= scenario.timeout_s:
        yield f".at_s: at {step.at_s:g} s the run is over, for timeout_s is {scenario.timeout_s:g}"


def _twice(steps: tuple[FaultStep, ...]) -> Iterator[str]:
    for (_, one), (n, other) in combinations(enumerate(steps), 2):
        same = (one.fault, one.at_s, one.when, one.kind) == (other.fault, other.at_s, other.when, other.kind)
        shared = set(targets_of(one.target)) & set(targets_of(other.target))
        if same and shared:
            yield f"faults.{n}: {other.fault} on {sorted(shared)[0]} may be in the world already, from the same moment"


def _of_reports(scenario: Scenario) -> Iterator[str]:
    first = scenario.report
    if first is None:
        if scenario.reports:
            yield "reports: there is no first report; give it as report"
        if not scenario.faults:
            yield "faults: nothing is broken and nobody reports, so nothing would happen"
        return
    timed = [step.at_s for step in scenario.faults if step.when is None]
    if scenario.faults and not any(at <= first.at_s for at in timed):
        yield f"report.at_s: at {first.at_s:g} s nothing is broken yet"
    for place, step in (("report", first), *((f"reports.{n}", item) for n, item in enumerate(scenario.reports))):
        if step.at_s >= scenario.timeout_s:
            yield f"{place}.at_s: at {step.at_s:g} s the run is over, for timeout_s is {scenario.timeout_s:g}"
        if step.at_s < first.at_s:
            yield f"{place}.at_s: {step.at_s:g} s is before the first report at {first.at_s:g} s"
        if not step.text:
            yield f"{place}.text: no text is given to choose from"


def _of_kill(step: KillStep) -> Iterator[str]:
    if step.victim == "claimant" and step.when != "claim":
        yield f"victim: only the cue 'claim' has a claimant, not {step.when!r}"
    if step.kind is not None and step.when not in CUES_OF_A_KIND:
        yield f"kind: only the cues {', '.join(CUES_OF_A_KIND)} belong to an agent kind"


def _of_cues(scenario: Scenario) -> Iterator[str]:
    """A cue comes out of an incident; without a timed fault or a report there is none."""
    if scenario.report is None and scenario.faults and all(step.when is not None for step in scenario.faults):
        yield "faults: all of them wait for a cue, and nothing would start an incident"


def _of_expectation(scenario: Scenario) -> Iterator[str]:
    expect = scenario.expect
    if expect.verdict == "no_fault":
        if scenario.faults:
            yield "verdict: something is broken, so the verdict no_fault would be wrong"
        if expect.max_actions:
            yield f"max_actions: where nothing is broken nothing is to be done, so 0 and not {expect.max_actions}"
    elif not scenario.faults:
        yield "verdict: nothing is broken, so there is no repair to be verified"
    elif not expect.max_actions:
        yield "max_actions: a repair is expected, and no action is allowed"
    if expect.within_s is not None and expect.within_s > scenario.timeout_s:
        yield f"within_s: the run ends after {scenario.timeout_s:g} s, before the {expect.within_s:g} s are over"
    places = {end for fault in FAULTS.values() for target in fault.targets for end in target.split("--")}
    for n, cause in enumerate(expect.causes):
        if cause.target not in places:
            yield f"causes.{n}.target: there is no workload {cause.target!r}; there are {', '.join(sorted(places))}"
