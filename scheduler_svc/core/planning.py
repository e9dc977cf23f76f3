"""Proposals: hold them while halted, refuse them with reasons, commit to the best.

A proposal is judged once. One that answers an earlier attempt of the version still being planned is as good as any:
the first that holds is taken. One that comes after its version was committed, or given up, is refused as `superseded`.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.contracts.machine import Command, Publish
from broker.contracts.plan import Hypothesis, PlanAccepted, PlanProposed, PlanRejected, PlanTask, Reason
from scheduler_svc.core import asking, flap, graph, questions, repeat, tie, validate
from scheduler_svc.core.execution import advance
from scheduler_svc.core.state import Commitment, Flap, Incident, TaskState, clip
from scheduler_svc.core.turn import Change, Turn, cancel

MAX_EVIDENCE = 5


def on_proposed(turn: Turn, incident: Incident, proposal: PlanProposed) -> Change:
    """Judge a proposal that was asked for, or hold it while halted; another one is counted and left alone."""
    version, attempt = proposal.version, proposal.attempt
    was_asked = version <= len(incident.asked) and attempt <= incident.asked[version - 1]
    seen = (version, attempt) in incident.judged or any(
        (one.version, one.attempt) == (version, attempt) for one in incident.held
    )
    if seen or not was_asked:
        ignored = incident.ignored.model_copy(update={"proposals": incident.ignored.proposals + 1})
        return incident.model_copy(update={"ignored": ignored}), ()
    if incident.phase != "planning" or version != incident.version + 1:
        late = validate.reason("superseded", f"version {incident.version} is committed, this was for {version}")
        return _with_judged(incident, proposal), (_rejection(proposal, (late,)),)
    if turn.halted:
        return incident.model_copy(update={"held": (*incident.held, proposal)}), ()
    return _judge(turn, incident, (proposal,))


def on_planning_timeout(turn: Turn, incident: Incident) -> Change:
    """The newest attempt brought no plan in time. With a proposal in hand that only the halt holds back, wait."""
    if incident.held:
        return incident.model_copy(update={"timer_id": ""}), ()
    return asking.ask_again(turn, incident, (_no_plan_in_time(turn, incident),))


def judge_held(turn: Turn, incident: Incident) -> Change:
    """After the halt: commit to the best of what was held (spec 6, tie-break); go on asking if none will do."""
    if not incident.held:
        return incident, ()
    return _judge(turn, incident.model_copy(update={"held": ()}), incident.held)


def _judge(turn: Turn, incident: Incident, proposals: Sequence[PlanProposed]) -> Change:
    winner: PlanProposed | None = None
    asks: PlanProposed | None = None
    said: list[Command] = []
    of_newest: tuple[Reason, ...] = ()
    for proposal in tie.prefer(proposals):
        if asks is None and questions.may_ask(turn, incident, proposal):
            asks, incident = proposal, _with_judged(incident, proposal)
            continue
        reasons, incident = _reasons(turn, _with_judged(incident, proposal), proposal)
        if not reasons and winner is None:
            winner = proposal
            continue
        reasons = reasons or (_lost_to(winner),)
        said.append(_rejection(proposal, reasons))
        if proposal.attempt == incident.asked[-1]:
            of_newest = reasons
    if winner is None and asks is not None:
        change, commands = questions.pose(turn, incident, asks)
        return change, (*said, *commands)
    said += [_rejection(asks, (_lost_to(winner),))] if asks is not None else []
    change, commands = _commit(turn, incident, winner) if winner else _none_will_do(turn, incident, of_newest)
    return change, (*said, *commands)


def _reasons(turn: Turn, incident: Incident, proposal: PlanProposed) -> tuple[tuple[Reason, ...], Incident]:
    """Return why not, and the incident with the plan difference remembered if the plan as such is sound."""
    found = proposal.unusable or _faults(turn, incident, proposal)
    if found:
        return found, incident
    window_s, origin = turn.config.anti_flap_s, proposal.origin
    mark = flap.fingerprint(_committed(incident), proposal.plan.tasks)
    if flap.repeats(incident.flaps, mark, origin, turn.now_us, window_s):
        detail = f"{origin} brought the same change of the plan less than {window_s:g} s ago"
        found = (validate.reason("flapping", detail),)
    flaps = flap.remember(incident.flaps, Flap(fingerprint=mark, origin=origin, time_us=turn.now_us), window_s)
    return found, incident.model_copy(update={"flaps": flaps})


def _faults(turn: Turn, incident: Incident, proposal: PlanProposed) -> tuple[Reason, ...]:
    """Return why the plan cannot be carried out. One that asks what may not be asked is judged by its tasks."""
    plan = proposal.plan
    may_not = questions.why_not(turn, incident, proposal)
    if may_not is not None and not plan.tasks:
        return (may_not,)
    found = validate.faults(plan, turn.config.inventory, proposal.version)
    if not found and turn.config.refuses_doubled and proposal.origin == "llm":
        found = validate.doubled(plan)
    if not found and turn.config.remembers_failed and repeat.has_failed(incident.failed, proposal):
        believed = f"{plan.hypothesis.fault_class} of {plan.hypothesis.target}"
        return (validate.reason("failed_before", f"the same actions for {believed} were tried and did not help"),)
    return found


def _commit(turn: Turn, incident: Incident, proposal: PlanProposed) -> Change:
    """Commit: the plan version grows by one, and what is ready goes out at once."""
    version, plan = incident.version + 1, proposal.plan
    order = graph.generations(plan.tasks)
    accepted = PlanAccepted(
        incident=incident.incident, version=version, attempt=proposal.attempt, plan_id=plan.plan_id, order=order
    )
    by_name = {task.task_id: task for task in plan.tasks}
    tasks = tuple(TaskState(plan_task=by_name[name], task_id=f"v{version}-{name}") for layer in order for name in layer)
    commitment = Commitment(
        plan_id=plan.plan_id,
        tag=proposal.decision_tag,
        hypothesis=_brief(plan.hypothesis),
        tasks=tasks,
        agreed=proposal.agreed,
        mended=clip("; ".join(proposal.repairs) or "it does not say how") if proposal.mended else "",
    )
    stop = cancel(incident.timer_id)
    changed = {
        "phase": "executing", "version": version, "commitment": commitment, "timer_id": "",
        "rejected": (), "refusals": 0, "deviations": (), "open_question": 0, "unanswered": False,
    }  # fmt: skip
    change, said = advance(turn, incident.model_copy(update=changed))
    return change, (Publish(accepted), *said, *stop)


def _none_will_do(turn: Turn, incident: Incident, of_newest: tuple[Reason, ...]) -> Change:
    """Ask again if the newest attempt was refused, or timed out during the halt; else it is still being waited for."""
    if of_newest:
        stop = cancel(incident.timer_id)
        change, said = asking.ask_again(turn, incident.model_copy(update={"timer_id": ""}), of_newest)
        return change, said + stop
    if not incident.timer_id:
        return asking.ask_again(turn, incident, (_no_plan_in_time(turn, incident),))
    return incident, ()


def _brief(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis with little of its evidence: every later request carries it, and frames are bounded."""
    evidence = tuple(clip(line) for line in hypothesis.evidence[:MAX_EVIDENCE])
    return hypothesis.model_copy(update={"evidence": evidence})


def _committed(incident: Incident) -> tuple[PlanTask, ...]:
    return tuple(task.plan_task for task in incident.commitment.tasks) if incident.commitment else ()


def _with_judged(incident: Incident, proposal: PlanProposed) -> Incident:
    return incident.model_copy(update={"judged": (*incident.judged, (proposal.version, proposal.attempt))})


def _rejection(proposal: PlanProposed, reasons: tuple[Reason, ...]) -> Publish:
    return Publish(
        PlanRejected(
            incident=proposal.incident,
            version=proposal.version,
            attempt=proposal.attempt,
            plan_id=proposal.plan.plan_id,
            reasons=reasons,
        )
    )


def _lost_to(winner: PlanProposed | None) -> Reason:
    taken = winner.plan.plan_id if winner else "none"
    return validate.reason("lost_tie", f"plan {taken} was taken: it stands first by version and plan id")


def _no_plan_in_time(turn: Turn, incident: Incident) -> Reason:
    seconds = turn.config.planning_timeout_s
    return validate.reason("timed_out", f"attempt {incident.asked[-1]} brought no plan within {seconds:g} s")
