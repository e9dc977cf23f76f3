"""From a draft to tasks that may be proposed: nothing acts without a confirmation, and nothing leaves its bounds.

A model is never asked for conditions, costs or agents: code fills them in and says so. Whatever acts is hung on a look
that must show the fact the rulebook's remedy for that action asks for; where the model's own plan has that look it is
used, else it is put in. What cannot be confirmed is refused, and so is an argument outside the catalogue's bounds: a
value nobody chose would be code's decision under the model's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import Device
from broker.contracts.plan import MAX_TASKS, Condition, FaultClass, PlanTask, Reason
from planner_svc.core.compile import Confirmation, confirmation_of, cost_of
from planner_svc.core.context import Picture
from planner_svc.core.draft import Draft, DraftTask, UnusablePlanError, above
from planner_svc.core.rulebook import printable

MAX_DETAIL = 200


@dataclass
class _Bench:
    """A draft under work."""

    tasks: list[DraftTask]
    conditions: dict[str, Condition] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)
    compared: str | None = None
    """The look at another cause, if there is one."""

    def replace(self, changed: DraftTask) -> None:
        self.tasks = [changed if task.task_id == changed.task_id else task for task in self.tasks]

    def fresh(self) -> str:
        """Return an id that no task has."""
        taken = {task.task_id for task in self.tasks}
        return next(one for one in (f"c{n}" for n in range(1, len(taken) + 2)) if one not in taken)


def guarded(
    picture: Picture, draft: Draft, believed: FaultClass, also: Confirmation | None = None
) -> tuple[tuple[PlanTask, ...], tuple[str, ...]]:
    """Return the tasks of a draft, in an order in which each stands after its dependencies, and what code filled in.

    Args:
        believed: the fault class whose remedy says how actions are confirmed.
        also: a look that whatever acts has to wait for besides: another cause that is not ruled out.

    Raises:
        UnusablePlanError: an action that cannot be confirmed here or stands there twice, an argument outside its
            bounds, too many actions.
    """
    bench = _Bench([_with_prefix(picture, task) for task in draft.tasks])
    filled_in = [new.task_id for old, new in zip(draft.tasks, bench.tasks, strict=True) if old != new]
    bench.filled += [f"{name}: prefix taken from the inventory" for name in filled_in]
    faults = [*_out_of_bounds(picture, bench.tasks), *_doubled(bench.tasks)]
    for task in [task for task in bench.tasks if task.acts]:
        confirmation = confirmation_of(picture, task.type, _device(picture, task), believed)
        if confirmation is None:
            faults.append(_reason("unconfirmed", f"{task.task_id}: nothing seen speaks for {task.type} {task.target}"))
            continue
        _hang(bench, task.task_id, confirmation)
    if faults:
        raise UnusablePlanError(faults[:MAX_TASKS])
    if also is not None and any(task.acts for task in bench.tasks):
        _wait_for(bench, also)
    _make_room(bench)
    tasks = tuple(_task(picture, bench, task) for task in _sorted(bench.tasks))
    if tasks:
        bench.filled.append("agents, costs and conditions are code's")
    return tasks, tuple(bench.filled)


def _device(picture: Picture, task: DraftTask) -> Device:
    device = picture.config.inventory.get(task.target)
    if device is None:
        raise UnusablePlanError([_reason("unknown_target", f"{task.task_id}: no device {task.target}")])
    return device


def _with_prefix(picture: Picture, task: DraftTask) -> DraftTask:
    """Return a task that empties a cache with the only prefix that may be emptied, if it names none."""
    prefix = _device(picture, task).cache_prefix
    if task.type != "flush_cache" or prefix is None or task.args.get("prefix") not in (None, ""):
        return task
    return replace(task, args={**task.args, "prefix": prefix})


def _out_of_bounds(picture: Picture, tasks: Sequence[DraftTask]) -> Iterator[Reason]:
    for task in tasks:
        device = _device(picture, task)
        for fault in CATALOGUE[task.type].faults(task.args, device):
            yield _reason("bad_argument", f"{task.task_id}: {fault}")
        if task.type == "flush_cache" and task.args.get("prefix") != device.cache_prefix:
            declared = device.cache_prefix or "nothing"
            yield _reason("bad_argument", f"{task.task_id}: only {declared} may be deleted from {device.name}")


def _doubled(tasks: Sequence[DraftTask]) -> Iterator[Reason]:
    """Say which actions stand there more than once: one look would confirm all, though the first made it old."""
    for (type_, target, _), count in Counter(map(_act, (task for task in tasks if task.acts))).items():
        if count > 1:
            yield _reason("duplicate_action", f"{type_} {target} stands {count} times in the plan, once is allowed")


def _act(task: DraftTask) -> tuple[str, str, str]:
    return task.type, task.target, repr(sorted(task.args.items()))


def _reason(code: str, detail: str) -> Reason:
    return Reason(code=code, detail=printable(detail)[:MAX_DETAIL])


def _hang(bench: _Bench, name: str, wanted: Confirmation) -> None:
    """Let an action wait for its confirmation, and be skipped unless that shows the fact."""
    look = _look(bench, name, wanted)
    act = next(task for task in bench.tasks if task.task_id == name)
    bench.replace(replace(act, dependencies=tuple(dict.fromkeys((*act.dependencies, look)))))
    bench.conditions[name] = Condition(task_id=look, field=wanted.field, equals=wanted.equals)
    bench.filled.append(f"{name} only if {look} says {wanted.field}={_said(wanted.equals)}")


def _look(bench: _Bench, name: str, wanted: Confirmation) -> str:
    """Return the task of the plan that is this look and can go before the action; put one in if there is none."""
    for task in bench.tasks:
        alike = (task.type, task.target, task.args) == (wanted.type, wanted.target, wanted.args)
        if alike and name not in {task.task_id, *above(bench.tasks, task.task_id)}:
            return task.task_id
    look = DraftTask(bench.fresh(), wanted.type, wanted.target, wanted.args)
    place = next(n for n, task in enumerate(bench.tasks) if task.task_id == name)
    bench.tasks.insert(place, look)
    bench.filled.append(f"confirmation {look.task_id} {look.type} {look.target} put in")
    return look.task_id


def _wait_for(bench: _Bench, other: Confirmation) -> None:
    """Let every action wait for a look at another cause, if the plan has room for it."""
    first = next(task.task_id for task in bench.tasks if task.acts)
    there = any((task.type, task.target, task.args) == (other.type, other.target, other.args) for task in bench.tasks)
    if not there and len([task for task in bench.tasks if _is_needed(bench, task)]) >= MAX_TASKS:
        bench.filled.append(f"no room for a look at {other.target}, the rulebook's cause")
        return
    look = bench.compared = _look(bench, first, other)
    for task in [task for task in bench.tasks if task.acts and task.task_id not in above(bench.tasks, look)]:
        bench.replace(replace(task, dependencies=tuple(dict.fromkeys((*task.dependencies, look)))))
    bench.filled.append(f"whatever acts waits for {look}: model and rulebook differ")


def _make_room(bench: _Bench) -> None:
    """Leave out plain looks, the last first, until the plan fits.

    Raises:
        UnusablePlanError: what acts and what confirms it are too many by themselves.
    """
    for task in reversed(list(bench.tasks)):
        if len(bench.tasks) <= MAX_TASKS:
            return
        if not _is_needed(bench, task):
            bench.tasks = [
                replace(one, dependencies=_inherit(one, task)) for one in bench.tasks if one.task_id != task.task_id
            ]
            bench.filled.append(f"{task.task_id} {task.type} {task.target} left out to make room")
    if len(bench.tasks) > MAX_TASKS:
        detail = f"{len(bench.tasks)} tasks with the confirmations of all that acts, at most {MAX_TASKS} are allowed"
        raise UnusablePlanError([_reason("too_many_tasks", detail)])


def _inherit(task: DraftTask, gone: DraftTask) -> tuple[str, ...]:
    """Return what a task waits for when one of its dependencies is left out: that one's dependencies instead."""
    if gone.task_id not in task.dependencies:
        return task.dependencies
    kept = [name for name in task.dependencies if name != gone.task_id]
    return tuple(dict.fromkeys((*kept, *gone.dependencies)))


def _is_needed(bench: _Bench, task: DraftTask) -> bool:
    """Tell whether a task acts, or confirms what does, or decides between model and rulebook."""
    confirms = {condition.task_id for condition in bench.conditions.values()}
    return task.acts or task.task_id in confirms or task.task_id == bench.compared


def _sorted(tasks: Sequence[DraftTask]) -> list[DraftTask]:
    """Return the tasks so that each stands after its dependencies, else as they were written."""
    done: list[DraftTask] = []
    rest = list(tasks)
    while rest:
        names = {task.task_id for task in done}
        ready = next((task for task in rest if set(task.dependencies) <= names), rest[0])
        done.append(ready)
        rest.remove(ready)
    return done


def _task(picture: Picture, bench: _Bench, task: DraftTask) -> PlanTask:
    return PlanTask(
        task_id=task.task_id,
        type=task.type,
        target=task.target,
        args=task.args,
        dependencies=task.dependencies,
        assigned_to=CATALOGUE[task.type].agent,
        estimated_cost_ms=cost_of(picture, task.type),
        when=bench.conditions.get(task.task_id),
    )


def _said(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
