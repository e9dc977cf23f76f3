"""Why a plan cannot be carried out. Every reason has a stable code and a sentence with the facts.

| code | what it says |
|---|---|
| `wrong_version` | the plan was made for another version than the one asked for |
| `no_tasks` | the plan has no task |
| `too_many_tasks` | more than eight (spec 4); nothing else is looked at then |
| `bad_task_id` | the id is too long to stand in a subject |
| `duplicate_task` | two tasks have the same id |
| `unknown_dependency` | a dependency is no task of the plan |
| `cycle` | the dependencies form a cycle; it is named |
| `unknown_type` | the catalogue has no such type of task |
| `wrong_agent` | the type is not that agent's |
| `unknown_target` | the inventory has no such device |
| `bad_argument` | an argument, or the target's kind, lies outside the catalogue's bounds |
| `duplicate_action` | a model's plan does the same to the same device twice (`doubled`) |
| `bad_condition` | `when` asks a task that need not have ended, or a fact its type does not give |

Further codes are given elsewhere: `flapping` (flap.py), `lost_tie`, `superseded` and `failed_before` (planning.py,
repeat.py), `no_more_questions` and `asked_before` (questions.py). A planner that could make no plan of a model's answer
says why itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import Inventory
from broker.contracts.plan import MAX_TASKS, Plan, PlanTask, Reason
from scheduler_svc.core import graph
from scheduler_svc.core.state import clip

MAX_REASONS = 20
MAX_TASK_ID = 56
"""Characters of a plan's task id, so that `v<version>-<id>` still is a token."""


def reason(code: str, detail: str) -> Reason:
    """Return a reason whose sentence is of bounded length."""
    return Reason(code=code, detail=clip(detail))


def faults(plan: Plan, inventory: Inventory, version: int) -> tuple[Reason, ...]:
    """Return why the plan cannot be carried out as version `version`; empty if it can. Never raises."""
    count = len(plan.tasks)
    if count > MAX_TASKS:
        return (reason("too_many_tasks", f"the plan has {count} tasks, at most {MAX_TASKS} are allowed"),)
    found: list[Reason] = []
    if plan.plan_version != version:
        found.append(reason("wrong_version", f"the plan is version {plan.plan_version}, version {version} was asked"))
    if not count:
        found.append(reason("no_tasks", "the plan has no task"))
    found += _of_names(plan)
    found += _of_graph(plan)
    for task in plan.tasks:
        found += _of_task(task, inventory)
    return tuple(found[:MAX_REASONS])


def doubled(plan: Plan) -> tuple[Reason, ...]:
    """Return which actions stand in the plan more than once: same type, target and arguments. Never raises.

    Such a plan is none that `faults` refuses: recordings from before hold some (docs/adr/0012).
    """
    acts = Counter(
        (task.type, task.target, repr(sorted(task.args.items())))
        for task in plan.tasks
        if (entry := CATALOGUE.get(task.type)) is not None and entry.changes_world
    )
    return tuple(
        reason("duplicate_action", f"{type_} {target[:60]} stands {count} times in the plan, once is allowed")
        for (type_, target, _), count in acts.items()
        if count > 1
    )


def _of_names(plan: Plan) -> Iterator[Reason]:
    for name, count in Counter(task.task_id for task in plan.tasks).items():
        if count > 1:
            yield reason("duplicate_task", f"{count} tasks have the id {name}")
        if len(name) > MAX_TASK_ID:
            yield reason("bad_task_id", f"the task id {name} is longer than {MAX_TASK_ID} characters")


def _of_graph(plan: Plan) -> Iterator[Reason]:
    names = {task.task_id for task in plan.tasks}
    for task in plan.tasks:
        for unknown in dict.fromkeys(name for name in task.dependencies if name not in names):
            yield reason("unknown_dependency", f"{task.task_id} depends on {unknown[:60]!r}, which is no task")
    cycle = graph.cycle(plan.tasks)
    if cycle:
        yield reason("cycle", f"the plan has a cycle: {' -> '.join((*cycle, cycle[0]))}")
    elif len(names) == len(plan.tasks):  # with two tasks of one name, "upstream" has no meaning
        yield from _of_conditions(plan)


def _of_conditions(plan: Plan) -> Iterator[Reason]:
    types = {task.task_id: task.type for task in plan.tasks}
    above = graph.upstream(plan.tasks)
    for task in plan.tasks:
        when = task.when
        if when is None:
            continue
        entry = CATALOGUE.get(types.get(when.task_id, ""))
        if when.task_id not in types:
            yield reason("bad_condition", f"{task.task_id} asks {when.task_id}, which is no task")
        elif when.task_id not in above[task.task_id]:
            yield reason("bad_condition", f"{task.task_id} asks {when.task_id}, which it does not depend on")
        elif entry is not None and when.field not in entry.meta:
            known = ", ".join(entry.meta) or "nothing"
            yield reason("bad_condition", f"{task.task_id} asks for {when.field}; {entry.name} tells {known}")


def _of_task(task: PlanTask, inventory: Inventory) -> Iterator[Reason]:
    entry, target = CATALOGUE.get(task.type), inventory.get(task.target)
    if entry is None:
        yield reason("unknown_type", f"{task.task_id}: the catalogue has no type {task.type[:60]!r}")
    elif task.assigned_to != entry.agent:
        yield reason(
            "wrong_agent", f"{task.task_id}: {entry.name} is for {entry.agent}, not for {task.assigned_to[:60]!r}"
        )
    if target is None:
        yield reason("unknown_target", f"{task.task_id}: the inventory has no device {task.target[:60]!r}")
    if entry is not None and target is not None:
        for fault in entry.faults(task.args, target):
            yield reason("bad_argument", f"{task.task_id}: {fault}")
