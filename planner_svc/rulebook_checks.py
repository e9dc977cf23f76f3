"""What a rulebook's parts must keep beyond their shape: patterns that compile, sentences whose places exist, remedies
within the catalogue's bounds. The same for the package's own files and the user's. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE
from planner_svc.core.config import ErrorClass, Remedy, Rule, Step, Words

Finding = tuple[str, str]
"""Place inside the file, and reason."""
MAX_PATTERN = 400
SAYS = frozenset({"device", "dependency", "error"})
GOAL = frozenset({"target"})
FILLED = frozenset({"{success_ratio}", "{latency_ms}", "{cpu_cores}", "{cache_prefix}"})
"""Arguments that the compiler fills in (`core/compile.py`)."""
_PLACE = re.compile(r"\{([^{}]*)\}")


def faults_of_parts(
    errors: Sequence[ErrorClass], rules: Sequence[Rule], remedies: Sequence[Remedy], words: Sequence[Words]
) -> Iterator[Finding]:
    """Give everything that is wrong, with its place."""
    for n, error in enumerate(errors):
        yield from _of_pattern(f"errors[{n}] ({error.name}).pattern", error.pattern)
    for n, word in enumerate(words):
        yield from _of_pattern(f"words[{n}] ({word.fault_class}).pattern", word.pattern)
    for n, rule in enumerate(rules):
        yield from _of_rule(f"rules[{n}] ({rule.name})", rule)
    for n, remedy in enumerate(remedies):
        yield from _of_remedy(f"remedies[{n}] ({remedy.fault_class})", remedy)


def _of_pattern(place: str, pattern: str) -> Iterator[Finding]:
    if len(pattern) > MAX_PATTERN:
        yield place, f"is longer than {MAX_PATTERN} characters"
        return
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        yield place, f"is no regular expression: {error}"
        return
    if compiled.search(""):
        yield place, "matches everything: it finds even an empty text"


def _of_rule(place: str, rule: Rule) -> Iterator[Finding]:
    yield from _of_places(f"{place}.says", rule.says, SAYS)
    if rule.log is not None:
        yield from _of_pattern(f"{place}.log", rule.log)
    if rule.at_least > rule.at_most:
        yield f"{place}.at_least", f"is more than at_most: {rule.at_least:g} > {rule.at_most:g}"
    if rule.signal == "finding" and (rule.field is None or rule.equals is None):
        yield place, "speaks of a finding, and does not say of which: field and equals are missing"
    if rule.signal != "finding" and rule.field is not None:
        yield f"{place}.field", "only a rule on findings looks at a field"
    if rule.dependency_kinds and rule.target != "dependency":
        yield f"{place}.dependency_kinds", "only counts where the target is the dependency"


def _of_remedy(place: str, remedy: Remedy) -> Iterator[Finding]:
    yield from _of_places(f"{place}.goal", remedy.goal, GOAL)
    seen: dict[str, Step] = {}
    for n, step in enumerate(remedy.steps):
        where = f"{place}.steps[{n}] ({step.id})"
        entry = CATALOGUE.get(step.type)
        if entry is None:
            yield f"{where}.type", f"{step.type[:60]} is not in the catalogue"
        else:
            yield from _of_arguments(where, step)
            if step.role == "act" and not entry.changes_world:
                yield f"{where}.role", f"{step.type} changes nothing: its role is look or confirm"
            if step.role != "act" and entry.changes_world:
                yield f"{where}.role", f"{step.type} changes the world: its role is act, behind a confirmation"
        yield from _of_order(where, step, seen)
        seen[step.id] = step


def _of_order(where: str, step: Step, seen: dict[str, Step]) -> Iterator[Finding]:
    if step.id in seen:
        yield f"{where}.id", "stands twice in this remedy"
    for name in step.after:
        if name not in seen:
            yield f"{where}.after", f"{name} is no earlier step"
    if step.role == "act" and step.when_step is None:
        yield where, "acts without a confirmation: when_step, when_field and when_equals are missing"
    if step.when_step is None:
        return
    look = seen.get(step.when_step)
    if look is None:
        yield f"{where}.when_step", f"{step.when_step} is no earlier step"
        return
    if step.when_field is None or step.when_equals is None:
        yield where, "has half a condition: when_field and when_equals belong to when_step"
        return
    entry = CATALOGUE.get(look.type)
    if entry is not None and step.when_field not in entry.meta:
        known = ", ".join(entry.meta) or "nothing"
        yield f"{where}.when_field", f"{look.type} does not tell {step.when_field}; it tells {known}"


def _of_arguments(where: str, step: Step) -> Iterator[Finding]:
    entry = CATALOGUE[step.type]
    for name, value in step.args.items():
        argument = entry.arguments.get(name)
        if argument is None:
            known = ", ".join(entry.arguments) or "none"
            yield f"{where}.args", f"{step.type} takes no argument {name[:40]!r}; it takes {known}"
        elif not _is_filled(value) and (fault := argument.fault(name, value)):
            yield f"{where}.args.{name}", fault
    for name, argument in entry.arguments.items():
        if argument.required and name not in step.args:
            yield f"{where}.args", f"{step.type} needs the argument {name}"
    pattern = step.args.get("pattern")
    if isinstance(pattern, str):
        yield from _of_pattern(f"{where}.args.pattern", pattern)


def _is_filled(value: Scalar) -> bool:
    return isinstance(value, str) and value in FILLED


def _of_places(place: str, text: str, known: frozenset[str]) -> Iterator[Finding]:
    for name in _PLACE.findall(text):
        if name not in known:
            yield place, f"{{{name[:40]}}} stands for nothing; known are {', '.join(sorted(known))}"
