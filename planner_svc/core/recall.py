"""When a plan also asks for advice: a search of the runbooks and past incidents, beside what it does anyway.

Measured (docs/adr/0014): runbook text does not make a small model's first answer better, and the rulebook needs none.
It pays where both are at a loss: nothing explains what deviates, or the first plan did not help. There one search goes
along; nothing depends on it, and what it brings stands in the incident's record and in the next prompt.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.contracts import symptoms
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.plan import MAX_TASKS, Hypothesis, PlanRequested, PlanTask
from planner_svc.core.context import Picture
from planner_svc.core.prompt import one_line, order_of

TYPE = "search_runbook"
FIRST_REPLAN = 2
MAX_QUERY = 380
MAX_REPORT = 160
COST_MS = 100


def with_advice(
    picture: Picture, request: PlanRequested, hypothesis: Hypothesis, tasks: tuple[PlanTask, ...]
) -> tuple[PlanTask, ...]:
    """Return the tasks, with a search behind them if this plan is one that may need advice.

    A diagnosis looks at everything there is room for; its last look, at the least suspicious device, gives way.
    """
    target = picture.config.inventory.get(hypothesis.target)
    if not tasks or target is None or not _pays(picture, request, hypothesis):
        return tasks
    only_looks = not any(task.dependencies or CATALOGUE[task.type].changes_world for task in tasks)
    kept = tasks[: MAX_TASKS - 1] if only_looks else tasks
    if len(kept) >= MAX_TASKS:
        return tasks
    entry = CATALOGUE[TYPE]
    search = PlanTask(
        task_id=f"t{len(kept) + 1}",
        type=TYPE,
        target=target.name,
        args={"query": query(picture), **_looks(picture)},
        assigned_to=entry.agent,
        estimated_cost_ms=COST_MS,
    )
    taken = any(task.task_id == search.task_id for task in kept)
    return tasks if taken or entry.faults(search.args, target) else (*kept, search)


def _pays(picture: Picture, request: PlanRequested, hypothesis: Hypothesis) -> bool:
    """Tell whether advice is wanted and was not asked for in this incident yet."""
    if not picture.config.recalls or any(asked.type == TYPE for asked in picture.past.asked):
        return False
    return request.version == FIRST_REPLAN or (hypothesis.fault_class == "none" and picture.deviates)


def query(picture: Picture) -> str:
    """Return what is searched for: errors and signals, worst first, then the report's own words."""
    devices = sorted(picture.by_device.items(), key=lambda item: order_of(item[0], item[1]))
    signs = dict.fromkeys(
        f"{sign.device.kind} {sign.signal} {sign.error}" for _, shown in devices for sign in shown if sign.error
    )
    report = one_line(picture.report or picture.text, MAX_REPORT)
    words = one_line("; ".join(signs), MAX_QUERY - len(report) - 2)
    return f"{words}; {report}".strip("; ") or "something deviates"


def _looks(picture: Picture) -> dict[str, str]:
    """Return the vector of what telemetry shows as an argument; none if it shows nothing."""
    text = symptoms.encode(symptoms.vector(_keys(picture)))
    return {"symptoms": text} if text else {}


def _keys(picture: Picture) -> Iterable[str]:
    for view in picture.views.values():
        for sample in view.samples:
            yield from symptoms.keys_of(
                picture.config.inventory,
                view.device,
                status=sample.status,
                error_code=sample.error_code,
                note=sample.note,
                answers=sample.cpu_load is not None or sample.mem_usage is not None,
            )
