"""Rulebook and model held against each other: who leads, what is confirmed first, how sure the plan is.

The rulebook always has an answer. Where it stands clearly above every other repair it leads; elsewhere the model does
(docs/adr/0012). Where both agree they are surer together; where they differ both causes are looked at before anything
acts.
"""

from __future__ import annotations

from typing import Literal

from broker.contracts.plan import DecisionTag, FaultClass, Hypothesis, PlanProposed, PlanRequested, PlanTask
from planner_svc.core.compile import Cause, acts_of, anyone, diagnosis, plan_of, tasks_for
from planner_svc.core.context import Picture
from planner_svc.core.recall import with_advice
from planner_svc.core.rulebook import HIGHEST, Candidate, is_contradicted, rank, was_tried

CLOSE = 0.9
"""A second candidate within this factor of the first is confirmed beside it."""
DISAGREED = 0.6
"""Factor for a model's confidence when the rulebook leads with something else."""
CALM_CONFIDENCE = 0.9
UNKNOWN_CONFIDENCE = 0.2
ADVISED = "a search of the runbooks goes along, added by code"
COMPILED = "every task was compiled by code from the hypothesis"


def by_rulebook(picture: Picture, request: PlanRequested, time_us: int, repairs: tuple[str, ...] = ()) -> PlanProposed:
    """Return the rulebook's proposal; `repairs` says why no model's answer is in it."""
    chosen = best(picture)
    if chosen is None:
        return proposed(picture, request, no_cause(picture), diagnosis(picture), "rulebook", time_us, repairs)
    candidate, tasks = chosen
    return proposed(picture, request, candidate.hypothesis(), tasks, "rulebook", time_us, repairs)


def best(picture: Picture) -> tuple[Candidate, tuple[PlanTask, ...]] | None:
    """Return the first candidate worth acting on that has a remedy, with its tasks."""
    enough = picture.config.suspect if picture.is_serious else picture.config.sure
    worthy = [candidate for candidate in rank(picture) if candidate.score >= enough]
    for position, candidate in enumerate(worthy):
        rival = _rival(picture, candidate, worthy[position + 1 :])
        tasks = tasks_for(picture, cause_of(candidate), rival)
        if tasks is not None:
            return candidate, tasks
    return None


def _rival(picture: Picture, candidate: Candidate, others: list[Candidate]) -> Cause | None:
    """Return the next candidate if it is nearly as likely and wants another remedy."""
    for other in others:
        if other.score < CLOSE * candidate.score:
            return None
        if not same_repair(picture, candidate, other.target.name, other.fault_class):
            return cause_of(other)
    return None


def same_repair(picture: Picture, candidate: Candidate, target: str, fault_class: FaultClass) -> bool:
    remedies = [picture.config.rulebook.remedy(name) for name in (candidate.fault_class, fault_class)]
    acts = [tuple(step.type for step in remedy.acts) if remedy else () for remedy in remedies]
    return candidate.target.name == target and acts[0] == acts[1]


def cause_of(candidate: Candidate) -> Cause:
    return Cause(candidate.target.name, candidate.fault_class, candidate.witness.name)


def no_cause(picture: Picture) -> Hypothesis:
    """Return the hypothesis that nothing is broken: sure of it if nothing deviates, else only at a loss."""
    if picture.deviates:
        evidence, confidence = "something deviates and no rule of the rulebook explains it", UNKNOWN_CONFIDENCE
    else:
        evidence, confidence = "no device deviates and the users' objective is met", CALM_CONFIDENCE
    return Hypothesis(target=anyone(picture), fault_class="none", confidence=confidence, evidence=(evidence,))


def is_spent(picture: Picture, cause: Cause) -> bool:
    tried = was_tried(picture, cause.target, cause.fault_class) > 0
    return tried or is_contradicted(picture, cause.target, cause.fault_class)


def differing(picture: Picture, leader: Candidate, cause: Cause) -> Cause | None:
    """Return the rulebook's cause if it wants another repair than the model's."""
    return None if same_repair(picture, leader, cause.target, cause.fault_class) else cause_of(leader)


def believed(cause: Cause, sure: float, leader: Candidate | None, agreed: bool) -> tuple[Hypothesis, str]:
    """Return the model's hypothesis with the confidence that the rulebook leaves it, and a remark on both."""
    said = f"the model names {cause.target} {cause.fault_class} with confidence {sure:.2f}"
    if agreed and leader is not None:
        confidence = 1.0 - (1.0 - sure) * (1.0 - min(leader.score, HIGHEST))
        evidence, remark = (said, *leader.evidence), "model and rulebook agree: confidence raised"
    elif leader is not None:
        confidence = sure * DISAGREED
        rules = f"the rulebook leads with {leader.target.name} {leader.fault_class} ({leader.score:.2f})"
        evidence, remark = (said, rules), f"{rules}: confidence lowered, both are confirmed before anything is done"
    else:
        confidence, evidence = sure, (said,)
        remark = "the rulebook has no candidate: the model's hypothesis stands alone"
    hypothesis = Hypothesis(
        target=cause.target,
        fault_class=cause.fault_class,
        confidence=round(min(confidence, HIGHEST), 3),
        evidence=evidence,
    )
    return hypothesis, remark


def is_clear(picture: Picture, leader: Candidate, cause: Cause) -> bool:
    """Tell whether the rulebook's cause leads against a model's that differs (docs/adr/0012): it stands far above every
    other repair. If it is certain, another repair of the same device counts only if the model names it: what is wrong
    with a device is not settled between two causes by naming a third."""
    margin = picture.config.clear_margin
    if margin is None or leader.score < picture.config.sure:
        return False
    others = [c for c in rank(picture) if not same_repair(picture, leader, c.target.name, c.fault_class)]
    if picture.config.certain is not None and leader.score >= picture.config.certain:
        named = (cause.target, cause.fault_class)
        others = [c for c in others if c.target != leader.target or (c.target.name, c.fault_class) == named]
    return leader.score - max((other.score for other in others), default=0.0) >= margin


def rulebook_leads(
    picture: Picture,
    request: PlanRequested,
    chosen: tuple[Candidate, tuple[PlanTask, ...]],
    cause: Cause,
    repairs: tuple[str, ...],
    time_us: int,
) -> PlanProposed:
    """Return the rulebook's plan with the model's cause confirmed beside it, in place of a near one of its own: one
    that it named itself comes with the next plan. The tag says if a model had a part."""
    leader, own = chosen
    rival = None if cause.fault_class == "none" or differing(picture, leader, cause) is None else cause
    tasks = own if rival is None else tasks_for(picture, cause_of(leader), rival) or own
    has_part = tasks != own
    said = f"the model names {cause.target} {cause.fault_class}"
    part = "its cause is confirmed beside" if has_part else "it has no part in the plan"
    remark = f"{said}; the rulebook leads clearly ({leader.score:.2f}): {part}"
    both = wanted_by_both(picture, tasks, cause, leader)
    proposal = proposed(picture, request, leader.hypothesis(), tasks, "rulebook", time_us, (*repairs, remark))
    tag: DecisionTag = "LLM_DECISION" if has_part else "DETERMINISTIC"
    return proposal.model_copy(update={"decision_tag": tag, "filled": (COMPILED,), "agreed": both})


def wanted_by_both(picture: Picture, tasks: tuple[PlanTask, ...], cause: Cause, leader: Candidate | None) -> bool:
    """Tell whether every action of a plan follows from the model's cause and from the rulebook's, each for itself."""
    if leader is None:
        return False
    own, rules = (acts_of(tasks_for(picture, one) or ()) for one in (cause, cause_of(leader)))
    return bool(acts_of(tasks)) and acts_of(tasks) <= own & rules


def proposed(
    picture: Picture,
    request: PlanRequested,
    hypothesis: Hypothesis,
    tasks: tuple[PlanTask, ...],
    origin: Literal["rulebook", "llm"],
    time_us: int,
    repairs: tuple[str, ...],
) -> PlanProposed:
    advised = with_advice(picture, request, hypothesis, tasks)
    if advised != tasks:
        tasks, repairs = advised, (*repairs, ADVISED)
    return PlanProposed(
        incident=request.incident,
        version=request.version,
        attempt=request.attempt,
        plan=plan_of(picture, request, hypothesis, tasks, origin=origin, time_us=time_us),
        origin=origin,
        decision_tag="LLM_DECISION" if origin == "llm" else "DETERMINISTIC",
        repairs=repairs,
    )
