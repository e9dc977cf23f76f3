"""Full mode: the model writes the plan, and code makes sure that it may be carried out (docs/adr/0012).

Text to draft is `draft.py`, draft to guarded tasks `guard.py`; here it is weighed like any hypothesis of a model.
"""

from __future__ import annotations

from broker.contracts.plan import ClarifyingTask, FaultClass, Hypothesis, PlanProposed, PlanRequested, PlanTask, Reason
from planner_svc.core.compile import Cause, Confirmation, acts_of, anyone, confirmation_of, tasks_for
from planner_svc.core.context import Picture
from planner_svc.core.draft import Draft, DraftTask, UnusablePlanError
from planner_svc.core.guard import guarded
from planner_svc.core.rulebook import Candidate
from planner_svc.core.weigh import (
    believed,
    best,
    cause_of,
    differing,
    is_clear,
    is_spent,
    no_cause,
    proposed,
    rulebook_leads,
)


def written(picture: Picture, request: PlanRequested, draft: Draft, time_us: int) -> PlanProposed:
    """Return the proposal for a plan that the model wrote (full mode).

    Raises:
        UnusablePlanError: it may not be carried out as it is meant; why, for the next try.
    """
    if draft.question is not None and not draft.tasks:
        return _asking(picture, request, draft, (), no_cause(picture), (), time_us)
    cause, filled = _meant(picture, draft)
    if cause.fault_class != "none" and is_spent(picture, cause):
        named = f"{cause.fault_class} of {cause.target} was tried, or seen not to be so"
        raise UnusablePlanError([Reason(code="ruled_out", detail=named)])
    chosen = best(picture)
    leader = chosen[0] if chosen else None
    agreed = leader is not None and (leader.target.name, leader.fault_class) == (cause.target, cause.fault_class)
    differs = leader if leader is not None and not agreed and differing(picture, leader, cause) else None
    if chosen is not None and differs is not None and is_clear(picture, differs, cause):
        return _led(rulebook_leads(picture, request, chosen, cause, draft.repairs.made, time_us), draft)
    _must_have_causes(picture, draft, cause)
    tasks, more = guarded(picture, draft, cause.fault_class, _other_look(picture, differs))
    hypothesis, remark = believed(cause, draft.confidence, leader, agreed)
    filled = (*filled, *more, "the goal is code's")
    if draft.question is not None:
        return _asking(picture, request, draft, tasks, hypothesis, filled, time_us)
    proposal = proposed(picture, request, hypothesis, tasks, "llm", time_us, (*draft.repairs.made, remark))
    rules = acts_of(tasks_for(picture, cause_of(leader)) or ()) if leader is not None else frozenset()
    both = bool(acts_of(tasks)) and acts_of(tasks) <= rules
    changes = {"filled": filled, "mended": draft.repairs.touched_meaning, "agreed": both}
    return proposal.model_copy(update=changes)


def _led(proposal: PlanProposed, draft: Draft) -> PlanProposed:
    """Return the rulebook's proposal with what of the model's is in it: its cause, perhaps mended, and its question.

    A question does not change who leads: the tasks count as soon as nobody may be asked any more.
    """
    has_part = proposal.decision_tag == "LLM_DECISION"
    led = proposal.model_copy(update={"mended": has_part and draft.repairs.touched_meaning})
    if draft.question is None:
        return led
    plan = led.plan.model_copy(update={"clarifying_task": _question(draft)})
    return led.model_copy(update={"plan": plan, "decision_tag": "LLM_DECISION"})


def _must_have_causes(picture: Picture, draft: Draft, cause: Cause) -> None:
    """Refuse actions without a cause, and those whose own cause was tried or seen not to be so: what is spent is not
    done again under another name.

    Raises:
        UnusablePlanError: naming each of them.
    """
    acts = [task for task in draft.tasks if task.acts]
    if cause.fault_class == "none" and acts:
        detail = f"{acts[0].task_id}: {acts[0].type} {acts[0].target}, though the hypothesis is that nothing is broken"
        raise UnusablePlanError([Reason(code="no_cause", detail=detail)])
    named = [(task, _cause_of_act(picture, task, cause)) for task in acts]
    spent = [
        Reason(
            code="ruled_out",
            detail=f"{task.task_id}: {task.type} {task.target}, but {own.fault_class} of {own.target} was tried, or "
            "seen not to be so",
        )
        for task, own in named
        if own is not None and is_spent(picture, own)
    ]
    if spent:
        raise UnusablePlanError(spent)


def _cause_of_act(picture: Picture, task: DraftTask, cause: Cause) -> Cause | None:
    """Return the cause on an action's own device that calls for it: the believed class of fault where its remedy has
    the action, else the first that has. None if no remedy has it; the guard refuses that by itself."""
    remedies = picture.config.rulebook.remedies
    calling = [item.fault_class for item in remedies if task.type in {step.type for step in item.acts}]
    chosen = cause.fault_class if cause.fault_class in calling else next(iter(calling), None)
    return None if chosen is None else Cause(task.target, chosen)


def _question(draft: Draft) -> ClarifyingTask:
    return ClarifyingTask(task_id="q1", question=draft.question or "")


def _asking(
    picture: Picture,
    request: PlanRequested,
    draft: Draft,
    tasks: tuple[PlanTask, ...],
    hypothesis: Hypothesis,
    filled: tuple[str, ...],
    time_us: int,
) -> PlanProposed:
    """Return a proposal that asks the operator; its tasks count only if nobody may be asked any more."""
    proposal = proposed(picture, request, hypothesis, tasks, "llm", time_us, draft.repairs.made)
    plan = proposal.plan.model_copy(update={"clarifying_task": _question(draft)})
    return proposal.model_copy(update={"plan": plan, "filled": filled, "mended": draft.repairs.touched_meaning})


def _meant(picture: Picture, draft: Draft) -> tuple[Cause, tuple[str, ...]]:
    """Return what the model believes; from what its plan does, where it does not say."""
    act = next((task for task in draft.tasks if task.acts), None)
    if draft.target is not None and draft.fault_class is not None:
        return Cause(draft.target, draft.fault_class), ()
    if act is None:
        return Cause(draft.target or anyone(picture), "none"), ("the hypothesis is code's: the plan only looks",)
    remedies = picture.config.rulebook.remedies
    remedy = next((item for item in remedies if act.type in {step.type for step in item.acts}), None)
    guess: FaultClass = remedy.fault_class if remedy else "none"
    target = draft.target or act.target
    return Cause(target, draft.fault_class or guess), (
        f"the hypothesis is code's, from the plan's action {act.type} {act.target}",
    )


def _other_look(picture: Picture, leader: Candidate | None) -> Confirmation | None:
    """Return the look that confirms the rulebook's cause, if it has one."""
    remedy = picture.config.rulebook.remedy(leader.fault_class) if leader else None
    acts = remedy.acts if remedy else ()
    found = (confirmation_of(picture, s.type, leader.target, leader.fault_class) for s in acts) if leader else iter(())
    return next((one for one in found if one is not None), None)
