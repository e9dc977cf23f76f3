"""From picture to proposal: the rulebook alone, or a model's answer weighed against it.

The rulebook always has an answer. A model's answer is taken if it can be carried out and was not tried already; where
both agree they are surer together, where they differ the plan confirms both causes before it acts on either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from broker.contracts.plan import FaultClass, Hypothesis, PlanAnswered, PlanProposed, PlanRequested, PlanTask
from planner_svc.core.answer import Answer, UnusableAnswerError, read_answer
from planner_svc.core.compile import Cause, anyone, diagnosis, plan_of, tasks_for
from planner_svc.core.context import Picture
from planner_svc.core.rulebook import HIGHEST, Candidate, hints_at, is_contradicted, is_settled, rank, was_tried

CLOSE = 0.9
"""A second candidate within this factor of the first is confirmed beside it."""
DISAGREED = 0.6
"""Factor for a model's confidence when the rulebook leads with something else."""
CALM_CONFIDENCE = 0.9
UNKNOWN_CONFIDENCE = 0.2


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a request has waited so far."""

    elapsed_us: int
    traffic_samples: int


def is_ripe(picture: Picture, request: PlanRequested, waiting: Waiting) -> bool:
    """Tell whether to answer now. Symptoms come from downstream to upstream within seconds, and a plan made too early
    costs a whole round of verification; a later attempt has waited enough."""
    config = picture.config
    if request.attempt > 1 or request.rulebook_only:
        return True
    if _is_conclusive(picture):
        return True
    if picture.deviates:
        return waiting.elapsed_us >= (config.patience_us if picture.lasts else config.long_patience_us)
    enough = config.rare_samples if hints_at(picture, "network_loss") else config.calm_samples
    return waiting.traffic_samples >= enough


def _is_conclusive(picture: Picture) -> bool:
    """Tell whether one candidate leads, has ripened, and none is on its way that may overtake it."""
    candidates = rank(picture)
    if not candidates or candidates[0].score < picture.config.sure:
        return False
    rivals = (candidate for candidate in candidates if candidate.potential >= candidates[0].score)
    return all(is_settled(picture, candidate) for candidate in (candidates[0], *rivals))


def by_rulebook(picture: Picture, request: PlanRequested, time_us: int, repairs: tuple[str, ...] = ()) -> PlanProposed:
    """Return the rulebook's proposal; `repairs` says why no model's answer is in it."""
    chosen = _best(picture)
    if chosen is None:
        return _proposed(picture, request, _no_cause(picture), diagnosis(picture), "rulebook", time_us, repairs)
    candidate, tasks = chosen
    return _proposed(picture, request, candidate.hypothesis(), tasks, "rulebook", time_us, repairs)


def _best(picture: Picture) -> tuple[Candidate, tuple[PlanTask, ...]] | None:
    """Return the first candidate worth acting on that has a remedy, with its tasks."""
    enough = picture.config.suspect if picture.is_serious else picture.config.sure
    worthy = [candidate for candidate in rank(picture) if candidate.score >= enough]
    for position, candidate in enumerate(worthy):
        rival = _rival(picture, candidate, worthy[position + 1 :])
        tasks = tasks_for(picture, _cause(candidate), rival)
        if tasks is not None:
            return candidate, tasks
    return None


def _rival(picture: Picture, candidate: Candidate, others: list[Candidate]) -> Cause | None:
    """Return the next candidate if it is nearly as likely and wants another remedy."""
    for other in others:
        if other.score < CLOSE * candidate.score:
            return None
        if not _same_repair(picture, candidate, other.target.name, other.fault_class):
            return _cause(other)
    return None


def _same_repair(picture: Picture, candidate: Candidate, target: str, fault_class: FaultClass) -> bool:
    remedies = [picture.config.rulebook.remedy(name) for name in (candidate.fault_class, fault_class)]
    acts = [tuple(step.type for step in remedy.acts) if remedy else () for remedy in remedies]
    return candidate.target.name == target and acts[0] == acts[1]


def _cause(candidate: Candidate) -> Cause:
    return Cause(candidate.target.name, candidate.fault_class, candidate.witness.name)


def _no_cause(picture: Picture) -> Hypothesis:
    """Return the hypothesis that nothing is broken: sure of it if nothing deviates, else only at a loss."""
    if picture.deviates:
        evidence, confidence = "something deviates and no rule of the rulebook explains it", UNKNOWN_CONFIDENCE
    else:
        evidence, confidence = "no device deviates and the users' objective is met", CALM_CONFIDENCE
    return Hypothesis(target=anyone(picture), fault_class="none", confidence=confidence, evidence=(evidence,))


def by_model(picture: Picture, request: PlanRequested, answered: PlanAnswered, time_us: int) -> PlanProposed:
    """Return the proposal that follows from a model's answer, or the rulebook's if the answer is of no use."""
    if answered.outcome != "ok":
        why = f"the model's endpoint gave no answer ({answered.outcome}): the rulebook decides"
        return by_rulebook(picture, request, time_us, (why,))
    try:
        answer = read_answer(answered.response, picture.config.inventory)
    except UnusableAnswerError as error:
        return by_rulebook(
            picture, request, time_us, (f"the model's answer is unusable, {error}: the rulebook decides",)
        )
    return _weighed(picture, request, answer, time_us)


def _weighed(picture: Picture, request: PlanRequested, answer: Answer, time_us: int) -> PlanProposed:
    cause, repairs = _mended(picture, answer)
    named = f"{cause.target} {cause.fault_class}"
    if cause.fault_class != "none" and _is_spent(picture, cause):
        why = f"the model named {named}, which was tried or seen not to be so: the rulebook decides"
        return by_rulebook(picture, request, time_us, (*repairs, why))
    chosen = _best(picture)
    leader = chosen[0] if chosen else None
    agreed = leader is not None and (leader.target.name, leader.fault_class) == (cause.target, cause.fault_class)
    rival = None if agreed or leader is None else _differing(picture, leader, cause)
    tasks = diagnosis(picture) if cause.fault_class == "none" and rival is None else tasks_for(picture, cause, rival)
    if not tasks:
        why = f"the model named {named}, against which nothing in the catalogue applies: the rulebook decides"
        return by_rulebook(picture, request, time_us, (*repairs, why))
    hypothesis, remark = _hypothesis(cause, answer, leader, agreed)
    repairs = (*repairs, "the plan was compiled from the hypothesis", remark)
    return _proposed(picture, request, hypothesis, tasks, "llm", time_us, repairs)


def _mended(picture: Picture, answer: Answer) -> tuple[Cause, tuple[str, ...]]:
    """Return the cause a model means: damaged cache entries are repaired in the cache, whoever stumbles over them."""
    inventory = picture.config.inventory
    device = inventory.get(answer.target)
    if answer.fault_class != "cache_poison" or device is None or device.kind == "cache":
        return Cause(answer.target, answer.fault_class), answer.repairs
    caches = [name for name in device.depends_on if (d := inventory.get(name)) is not None and d.kind == "cache"]
    if not caches:
        return Cause(answer.target, answer.fault_class), answer.repairs
    note = f"target {answer.target} mended to its cache {caches[0]}"
    return Cause(caches[0], answer.fault_class, answer.target), (*answer.repairs, note)


def _is_spent(picture: Picture, cause: Cause) -> bool:
    tried = was_tried(picture, cause.target, cause.fault_class) > 0
    return tried or is_contradicted(picture, cause.target, cause.fault_class)


def _differing(picture: Picture, leader: Candidate, cause: Cause) -> Cause | None:
    """Return the rulebook's cause if it wants another repair than the model's."""
    return None if _same_repair(picture, leader, cause.target, cause.fault_class) else _cause(leader)


def _hypothesis(cause: Cause, answer: Answer, leader: Candidate | None, agreed: bool) -> tuple[Hypothesis, str]:
    """Return the model's hypothesis with the confidence that the rulebook leaves it, and a remark on both."""
    said = f"the model names {cause.target} {cause.fault_class} with confidence {answer.confidence:.2f}"
    if agreed and leader is not None:
        confidence = 1.0 - (1.0 - answer.confidence) * (1.0 - min(leader.score, HIGHEST))
        evidence, remark = (said, *leader.evidence), "model and rulebook agree: confidence raised"
    elif leader is not None:
        confidence = answer.confidence * DISAGREED
        rules = f"the rulebook leads with {leader.target.name} {leader.fault_class} ({leader.score:.2f})"
        evidence, remark = (said, rules), f"{rules}: confidence lowered, both are confirmed before anything is done"
    else:
        confidence, evidence = answer.confidence, (said,)
        remark = "the rulebook has no candidate: the model's hypothesis stands alone"
    hypothesis = Hypothesis(
        target=cause.target,
        fault_class=cause.fault_class,
        confidence=round(min(confidence, HIGHEST), 3),
        evidence=evidence,
    )
    return hypothesis, remark


def _proposed(
    picture: Picture,
    request: PlanRequested,
    hypothesis: Hypothesis,
    tasks: tuple[PlanTask, ...],
    origin: Literal["rulebook", "llm"],
    time_us: int,
    repairs: tuple[str, ...],
) -> PlanProposed:
    return PlanProposed(
        incident=request.incident,
        version=request.version,
        attempt=request.attempt,
        plan=plan_of(picture, request, hypothesis, tasks, origin=origin, time_us=time_us),
        origin=origin,
        decision_tag="LLM_DECISION" if origin == "llm" else "DETERMINISTIC",
        repairs=repairs,
    )
