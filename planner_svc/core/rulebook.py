"""The rulebook's engine: signs and rules in, ranked hypotheses out.

Every rule that fits a sign speaks for one fault on one device, with a weight. What a dependency's own trouble explains
falls back, so the deepest device with trouble of its own leads: a walk down the dependency graph, without a path.
What was tried or seen not to be so falls back as well, and the next candidate leads. Ties are broken by name, so the
ranking depends on nothing but its input.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from broker.contracts.inventory import Device
from broker.contracts.plan import FaultClass, Hypothesis, Tried
from planner_svc.core.config import Rule, Signal, Words, matcher
from planner_svc.core.context import Picture, Sign

EXPLAINED = 0.35
"""Factor for a sign that a dependency's own trouble explains."""
HOST_BUSY = 0.6
"""Factor for waiting and silence while some device burns the processor they all share."""
FEW_SAMPLES = 0.7
FROM_LOG = 0.8
NOT_CURRENT = 0.5
"""Factor for a sign that the newest sample does not show any more: services report errors for a while after. And for
one that harms nobody, while somebody is harmed."""
TRIED = 0.2
CONTRADICTED = 0.1
"""Factor for a candidate whose confirmation an agent has already seen to fail."""
MENTIONED = 0.02
MAX_EVIDENCE = 4
HIGHEST = 0.99


class Candidate(NamedTuple):
    """A hypothesis with its score, and what it stands on."""

    target: Device
    fault_class: FaultClass
    score: float
    evidence: tuple[str, ...]
    signs: tuple[Sign, ...]
    witness: Device
    """The device that shows the trouble."""
    rule: str
    potential: float
    """The score it would have, had its sign been seen often enough."""

    def hypothesis(self) -> Hypothesis:
        """Return it as the plan carries it."""
        return Hypothesis(
            target=self.target.name,
            fault_class=self.fault_class,
            confidence=round(min(self.score, HIGHEST), 3),
            evidence=self.evidence,
        )


@lru_cache(maxsize=1)
def rank(picture: Picture) -> tuple[Candidate, ...]:
    """Return candidates, best first; empty if no rule fits anything that deviates.

    Whether to answer, what, and how sure it is: all of them ask this of one picture.
    """
    best: dict[tuple[str, FaultClass], Candidate] = {}
    signs: dict[Signal, list[Sign]] = {}
    for sign in picture.signs:
        signs.setdefault(sign.signal, []).append(sign)
    for signal, errors, kinds, rule in picture.config.rulebook.index if signs else ():
        for sign in signs.get(signal, ()):
            if (errors and sign.classes.isdisjoint(errors)) or (kinds and sign.device.kind not in kinds):
                continue  # most of all pairs: not worth a call
            candidate = _weigh(picture, rule, sign)
            if candidate is not None:
                key = (candidate.target.name, candidate.fault_class)
                best[key] = _join(best[key], candidate) if key in best else candidate
    judged = [_judge(picture, candidate) for candidate in best.values()]
    return tuple(sorted(judged, key=lambda c: (-c.score, c.target.name, c.fault_class)))


def _weigh(picture: Picture, rule: Rule, sign: Sign) -> Candidate | None:
    """Return what a rule makes of a sign of its signal, error classes and kinds, or None if it does not fit."""
    target = _target(picture, rule, sign) if _fits(picture, rule, sign) else None
    if target is None or not target.managed:
        return None
    score = rule.weight
    if sign.from_log or rule.log is not None:
        score *= FROM_LOG
    if (rule.now and not sign.current) or (rule.calm and picture.is_serious):
        score *= NOT_CURRENT
    if (rule.explainable and _explained(picture, sign)) or _comes_of_a_storm(picture, sign):
        score *= EXPLAINED
    if _host_is_busy(picture, sign):
        score *= HOST_BUSY
    seen_enough = score if sign.count >= rule.samples else score * FEW_SAMPLES
    dependency = (
        sign.dependency.name if sign.dependency else (target.name if target is not sign.device else "a dependency")
    )
    words = {"{device}": sign.device.name, "{dependency}": dependency, "{error}": printable(sign.error)}
    says = rule.says
    for placeholder, value in words.items():
        says = says.replace(placeholder, value)
    seen = f"{says}, seen in {sign.count} of {sign.total} samples" if sign.signal != "finding" else says
    return Candidate(target, rule.fault_class, seen_enough, (seen,), (sign,), sign.device, rule.name, score)


def printable(text: str) -> str:
    """Return text without control characters: whatever is not printable becomes a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _target(picture: Picture, rule: Rule, sign: Sign) -> Device | None:
    """Return the device a rule's hypothesis names for a sign."""
    if rule.target == "self":
        return sign.device
    inventory = picture.config.inventory
    names = (sign.dependency.name,) if sign.dependency else sign.device.depends_on
    devices = [device for name in names if (device := inventory.get(name)) is not None]
    if rule.dependency_kinds:
        devices = [device for device in devices if device.kind in rule.dependency_kinds]
    return devices[0] if devices else None


def _fits(picture: Picture, rule: Rule, sign: Sign) -> bool:
    if rule.field is not None and (sign.field, sign.value) != (rule.field, rule.equals):
        return False
    if not rule.at_least <= sign.share <= rule.at_most:
        return False
    if rule.at_least_ms and sign.milliseconds < rule.at_least_ms:
        return False
    if rule.at_least_own_ms and rule.at_least_own_ms > (_own_ms(picture, sign) or 0.0):
        return False
    if rule.log is not None and not _logged(picture, sign, rule.log):
        return False
    if rule.dependencies != "any" and (rule.dependencies == "several") != (_dependencies_with(picture, sign) > 1):
        return False
    return rule.clients == "any" or (rule.clients == "several") == (_clients_with(picture, sign) > 1)


def _own_ms(picture: Picture, sign: Sign) -> float | None:
    """Return how long the device's own probe waited for the newest answer."""
    view = picture.views.get(sign.device.name)
    return view.newest.latency_ms if view is not None else None


def _logged(picture: Picture, sign: Sign, pattern: str) -> bool:
    """Tell whether a log sample of the device holds a pattern."""
    view = picture.views.get(sign.device.name)
    samples = view.samples if view is not None else ()
    return any(s.log_sample and matcher(pattern).search(s.log_sample) for s in samples)


def _dependencies_with(picture: Picture, sign: Sign) -> int:
    """Count the dependencies towards which a device shows the same kind of sign, of the same classes."""
    alike = (s for s in picture.by_device[sign.device.name] if s.signal == sign.signal and s.classes == sign.classes)
    return len({s.dependency.name for s in alike if s.dependency is not None})


def _clients_with(picture: Picture, sign: Sign) -> int:
    """Count the devices that show the same kind of sign towards the same dependency."""
    alike = {s.device.name for s in picture.signs if s.signal == sign.signal and s.dependency is sign.dependency}
    return len(alike)


def _explained(picture: Picture, sign: Sign) -> bool:
    """Tell whether trouble of a dependency's own is enough to cause this sign."""
    names = (sign.dependency.name,) if sign.dependency else sign.device.depends_on
    return any(_is_cause(other, sign) for name in names for other in picture.by_device.get(name, ()))


def _is_cause(other: Sign, sign: Sign) -> bool:
    """Tell whether a dependency's sign can cause its client's. Slowness causes slowness, not broken connections."""
    if other.signal == "silent":
        return other.current or sign.signal == "error"
    if other.signal in ("blame", "error"):
        return other.device is not sign.device
    weak = sign.signal in ("slow", "degraded", "error") or bool(sign.classes & {"timeout", "upstream"})
    return other.signal in ("slow", "cpu", "degraded") and weak


def _comes_of_a_storm(picture: Picture, sign: Sign) -> bool:
    """Tell whether load, or what comes of load, is due to a client that asks again and again: it explains what is seen
    on itself and on whom it asks, against the direction of all other trouble (docs/adr/0029)."""
    is_load = sign.signal in ("cpu", "slow", "degraded") or bool(sign.classes & {"overloaded", "timeout", "upstream"})
    return is_load and any(
        s.signal == "storm" and s.current and sign.device in (s.device, s.dependency) for s in picture.signs
    )


def _host_is_busy(picture: Picture, sign: Sign) -> bool:
    waits = sign.signal in ("slow", "degraded") or "timeout" in sign.classes
    return waits and any(s.signal == "cpu" and s.current and s.device is not sign.device for s in picture.signs)


def _join(one: Candidate, other: Candidate) -> Candidate:
    """Join two reasons for the same hypothesis: the better one leads, the other adds its evidence."""
    first, second = (one, other) if one.score >= other.score else (other, one)
    evidence = tuple(dict.fromkeys((*first.evidence, *second.evidence)))[:MAX_EVIDENCE]
    return first._replace(evidence=evidence, signs=(*first.signs, *second.signs))


def _judge(picture: Picture, candidate: Candidate) -> Candidate:
    """Weigh a candidate against words of the report, what was tried, and what agents have seen."""
    nudge = _nudge(picture, candidate)
    factor = TRIED ** was_tried(picture, candidate.target.name, candidate.fault_class)
    if is_contradicted(picture, candidate.target.name, candidate.fault_class):
        factor *= CONTRADICTED
    score, potential = (min(value + nudge, HIGHEST) * factor for value in (candidate.score, candidate.potential))
    return candidate._replace(score=score, potential=potential)


def _nudge(picture: Picture, candidate: Candidate) -> float:
    """Return the small bonus for words of the report: enough to break a tie among what telemetry shows."""
    text, bonus = picture.text, 0.0
    if _names(text, candidate.target.name):
        bonus += MENTIONED
    return bonus + hints_at(picture, candidate.fault_class)


@lru_cache(maxsize=256)
def _names(text: str, device: str) -> bool:
    """Tell whether a report names a device. While its request waits it is asked again and again."""
    return re.search(rf"(?<![a-z0-9_-]){re.escape(device)}(?![a-z0-9_-])", text, re.IGNORECASE) is not None


@lru_cache(maxsize=256)
def _says(text: str, pattern: str) -> bool:
    return matcher(pattern).search(text) is not None


def hints_at(picture: Picture, fault_class: FaultClass) -> float:
    """Return the bonus that the report's words give to a fault class; 0 if they do not hint at it."""
    words = picture.config.rulebook.words_for.get(fault_class, ())
    return max((hint.bonus for hint in words if is_said(picture, hint)), default=0.0)


def is_said(picture: Picture, words: Words) -> bool:
    """Tell whether these words stand in the report or in an operator's answer."""
    return _says(picture.text, words.pattern)


def was_tried(picture: Picture, target: str, fault_class: FaultClass) -> int:
    """Count how often the same remedy was tried on the same target in vain: other names for one remedy change nothing.
    What was well after it and is ill again has come back, and the remedy did help (docs/adr/0027)."""
    if not picture.tried:
        return 0
    same = _acts(picture, fault_class)
    alike = (one for one in picture.tried if one.hypothesis.target == target)
    return sum(_acts(picture, one.hypothesis.fault_class) == same and not _came_back(picture, one) for one in alike)


def _came_back(picture: Picture, tried: Tried) -> bool:
    """Tell whether a device that was healthy after a repair shows trouble of its own accord right now."""
    signs = (sign for name in tried.well for sign in picture.by_device.get(name, ()))
    return any(sign.current and sign.signal != "finding" for sign in signs)


def _acts(picture: Picture, fault_class: FaultClass) -> tuple[str, ...]:
    remedy = picture.config.rulebook.remedy(fault_class)
    return tuple(step.type for step in remedy.acts) if remedy else ()


def is_contradicted(picture: Picture, target: str, fault_class: FaultClass) -> bool:
    """Tell whether an agent has seen that none of the remedy's conditions holds on the target."""
    seen = {f.field: f.value for f in picture.past.findings if f.target == target}
    if not seen:
        return False
    remedy = picture.config.rulebook.remedy(fault_class)
    acts = remedy.acts if remedy else ()
    conditions = [(step.when_field, step.when_equals) for step in acts if step.on == "target"]
    return bool(conditions) and all(field in seen and seen[field] != value for field, value in conditions)


def is_settled(picture: Picture, candidate: Candidate) -> bool:
    """Tell whether the picture round a candidate has ripened.

    A client sees a dependency's death before the dependency's own probe does: the dependency counts as healthy only by
    a sample that is younger than the sign, and so do other clients of it (docs/state-machines/planner.md).
    """
    rule, sign = picture.config.rulebook.rule_of[candidate.rule], candidate.signs[0]
    patient = 0 if picture.is_serious or sign.signal == "finding" else picture.config.unhurried_samples
    if sign.count < rule.samples + patient:
        return False
    if not rule.explainable:
        return True
    since = sign.first_us + picture.config.settle_us
    return all(_is_known(picture, name, since) for name in _neighbours(picture, sign))


def _neighbours(picture: Picture, sign: Sign) -> set[str]:
    if sign.dependency is None:
        return set(sign.device.depends_on)
    return {sign.dependency.name, *picture.clients_of(sign.dependency.name)} - {sign.device.name}


def _is_known(picture: Picture, name: str, since_us: int) -> bool:
    """Tell whether a device has spoken since, or is known to be silent. Traffic that nobody measures is no reason to
    wait."""
    device, view = picture.config.inventory.get(name), picture.views.get(name)
    if device is None or device.kind == "traffic":
        return True
    return view is not None and (view.newest.time_us >= since_us or picture.is_silent(name))
