"""From picture to proposal: when to answer, and what follows from a model's answer.

What the model's and the rulebook's words weigh against each other is `weigh.py`; a plan written by a model, `full.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.contracts.plan import PlanAnswered, PlanProposed, PlanRequested, PromptForm, Reason
from planner_svc.core.answer import NO_WORDS, Answer, UnusableAnswerError, read_answer
from planner_svc.core.compile import Cause, anyone, diagnosis, tasks_for
from planner_svc.core.context import Picture
from planner_svc.core.draft import UnusablePlanError, read_draft
from planner_svc.core.full import written
from planner_svc.core.rulebook import hints_at, is_said, is_settled, rank
from planner_svc.core.weigh import (
    COMPILED,
    believed,
    best,
    by_rulebook,
    differing,
    is_clear,
    is_spent,
    no_cause,
    proposed,
    rulebook_leads,
    wanted_by_both,
)

__all__ = ["Waiting", "by_model", "by_rulebook", "is_ripe", "unusable"]


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
    return waiting.traffic_samples >= _calm_for(picture)


def _calm_for(picture: Picture) -> int:
    """Return how many calm samples of the users' traffic a report is waited for."""
    config = picture.config
    usual = config.rare_samples if hints_at(picture, "network_loss") else config.calm_samples
    rare = (one.calm_samples for one in config.rulebook.words if one.calm_samples and is_said(picture, one))
    return max(usual, *rare, 0)


def _is_conclusive(picture: Picture) -> bool:
    """Tell whether one candidate leads, has ripened, and none is on its way that may overtake it."""
    candidates = rank(picture)
    if not candidates or candidates[0].score < picture.config.sure:
        return False
    rivals = (candidate for candidate in candidates if candidate.potential >= candidates[0].score)
    return all(is_settled(picture, candidate) for candidate in (candidates[0], *rivals))


def by_model(
    picture: Picture, request: PlanRequested, answered: PlanAnswered, time_us: int, form: PromptForm = "hypothesis"
) -> PlanProposed:
    """Return the proposal that follows from a model's answer; if the answer is of no use, the reasons for another try,
    or the rulebook's proposal."""
    if answered.outcome != "ok":
        why = f"the model's endpoint gave no answer ({answered.outcome}): the rulebook decides"
        return by_rulebook(picture, request, time_us, (why,))
    try:
        if form == "plan":
            return written(picture, request, read_draft(answered.response, picture.config.inventory), time_us)
        template = picture.config.template("hypothesis")
        words = NO_WORDS if template is None else template.answers
        return _weighed(picture, request, read_answer(answered.response, picture.config.inventory, words), time_us)
    except UnusableAnswerError as error:
        if picture.config.asks_again:
            return unusable(picture, request, error, form, time_us)
        why = f"the model's answer is unusable, {error}: the rulebook decides"
        return by_rulebook(picture, request, time_us, (why,))


def unusable(
    picture: Picture, request: PlanRequested, error: UnusableAnswerError, form: PromptForm, time_us: int
) -> PlanProposed:
    """Return a proposal that only says why a model's answer is no plan: the scheduler refuses it by these reasons, asks
    once more, and the second time tells the rulebook to answer (spec 12)."""
    known = error.reasons if isinstance(error, UnusablePlanError) else ()
    reasons = known or (Reason(code=f"no_{form}", detail=f"the answer is unusable: {error}"),)
    proposal = proposed(picture, request, no_cause(picture), (), "llm", time_us, ())
    return proposal.model_copy(update={"unusable": reasons})


def _weighed(picture: Picture, request: PlanRequested, answer: Answer, time_us: int) -> PlanProposed:
    """Return the proposal for a model's hypothesis, compiled, held against the rulebook's."""
    cause, repairs = _mended(picture, answer)
    named = f"{cause.target} {cause.fault_class}"
    if cause.fault_class != "none" and is_spent(picture, cause):
        why = f"the model named {named}, which was tried or seen not to be so: the rulebook decides"
        return by_rulebook(picture, request, time_us, (*repairs, why))
    if cause.fault_class != "none" and not picture.deviates and picture.config.clear_margin is not None:
        why = f"the model named {named}, and nothing deviates: the rulebook leads clearly, and only looks"
        return by_rulebook(picture, request, time_us, (*repairs, why))
    chosen = best(picture)
    leader = chosen[0] if chosen else None
    agreed = leader is not None and (leader.target.name, leader.fault_class) == (cause.target, cause.fault_class)
    if chosen is not None and not agreed and is_clear(picture, chosen[0], cause):
        return rulebook_leads(picture, request, chosen, cause, repairs, time_us)
    rival = None if agreed or leader is None else differing(picture, leader, cause)
    tasks = diagnosis(picture) if cause.fault_class == "none" and rival is None else tasks_for(picture, cause, rival)
    if not tasks:
        why = f"the model named {named}, against which nothing in the catalogue applies: the rulebook decides"
        return by_rulebook(picture, request, time_us, (*repairs, why))
    hypothesis, remark = believed(cause, answer.confidence, leader, agreed)
    repairs = (*repairs, "the plan was compiled from the hypothesis", remark)
    proposal = proposed(picture, request, hypothesis, tasks, "llm", time_us, repairs)
    if picture.config.clear_margin is None:
        return proposal
    both = wanted_by_both(picture, tasks, cause, leader)
    return proposal.model_copy(update={"filled": (COMPILED,), "agreed": both})


def _mended(picture: Picture, answer: Answer) -> tuple[Cause, tuple[str, ...]]:
    """Return the cause a model means: damaged cache entries are repaired in the cache, whoever stumbles over them, and
    that nothing is broken is said of the users' traffic."""
    inventory = picture.config.inventory
    device = inventory.get(answer.target)
    if answer.fault_class == "none" and answer.target != anyone(picture) and picture.config.clear_margin is not None:
        note = f"target {answer.target} mended to {anyone(picture)}: nothing is broken there or anywhere"
        return Cause(anyone(picture), "none"), (*answer.repairs, note)
    if answer.fault_class != "cache_poison" or device is None or device.kind == "cache":
        return Cause(answer.target, answer.fault_class), answer.repairs
    caches = [name for name in device.depends_on if (d := inventory.get(name)) is not None and d.kind == "cache"]
    if not caches:
        return Cause(answer.target, answer.fault_class), answer.repairs
    note = f"target {answer.target} mended to its cache {caches[0]}"
    return Cause(caches[0], answer.fault_class, answer.target), (*answer.repairs, note)
