"""From a hypothesis to a plan: look, confirm, act if confirmed, verify. Valid by construction, and checked again.

Every task comes from a remedy of the rulebook, its agent from the catalogue, its target from the inventory; nothing of
a model's or a reporter's text gets in here but a name and a fault class from closed lists. An act always hangs on its
confirmation, so that a wrong hypothesis does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import Device
from broker.contracts.plan import MAX_TASKS, Condition, FaultClass, Hypothesis, Plan, PlanRequested, PlanTask
from planner_svc.core.config import Remedy, Step
from planner_svc.core.context import Picture

SILENT_SAMPLES = 2
"""Restarting on suspicion takes at least so many probes in a row without answer."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cause:
    """What a plan is to be made against. `witness` shows the trouble; the target itself unless said otherwise."""

    target: str
    fault_class: FaultClass
    witness: str | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A step on its way to a task."""

    key: tuple[str, str]
    step: Step
    target: Device
    args: dict[str, Scalar]
    after: tuple[tuple[str, str], ...]
    when: tuple[str, str] | None


def tasks_for(picture: Picture, cause: Cause, other: Cause | None = None) -> tuple[PlanTask, ...] | None:
    """Return the tasks against `cause`, with those against `other` beside them if they fit; None if a cause has no
    remedy here: the device cannot have that fault, or nothing may change it."""
    drafts = _drafts(picture, cause, "a")
    if drafts is None:
        return None
    if other is not None:
        extra = [d for d in _drafts(picture, other, "b") or [] if d.step.role in ("confirm", "act")]
        verify = [d for d in drafts if d.step.role == "verify"]
        joined = [*(d for d in drafts if d.step.role != "verify"), *extra, *verify]
        if picture.config.clear_margin is not None:
            joined = _both_confirmed_first(_once(joined))
        drafts = joined if len(joined) <= MAX_TASKS else drafts
    return _checked(picture, _number(drafts))


def _once(drafts: list[_Draft]) -> list[_Draft]:
    """Leave out what another cause's remedy does already: one look must not confirm the same action twice."""
    kept: list[_Draft] = []
    stands: dict[tuple[str, str], tuple[str, str]] = {}
    for draft in drafts:
        same = next((one for one in kept if _is_same_act(draft, one)), None)
        if same is not None:
            stands[draft.key] = same.key
            continue
        after = tuple(stands.get(key, key) for key in draft.after)
        kept.append(replace(draft, after=after, when=stands.get(draft.when, draft.when) if draft.when else None))
    return kept


def _is_same_act(one: _Draft, other: _Draft) -> bool:
    what = [(draft.step.role, draft.step.type, draft.target.name, draft.args) for draft in (one, other)]
    return one.step.role == "act" and one.key[0] != other.key[0] and what[0] == what[1]


def _both_confirmed_first(drafts: list[_Draft]) -> list[_Draft]:
    """Let no act of two causes go before both were looked at. Plain looks give way where the plan would be too long."""
    confirms = [draft for draft in drafts if draft.step.role == "confirm"]
    looks = [draft for draft in drafts if draft.step.role == "look"]
    rest = [draft for draft in drafts if draft.step.role not in ("confirm", "look")]
    keys = tuple(draft.key for draft in confirms)
    acts = [replace(d, after=(*d.after, *keys)) if d.step.role == "act" else d for d in rest]
    room = max(0, MAX_TASKS - len(confirms) - len(acts))
    return [*looks[:room], *confirms, *acts]


def diagnosis(picture: Picture) -> tuple[PlanTask, ...]:
    """Return looks only: at the users' traffic, and, if anything deviates or nobody measures the traffic, at the
    workloads themselves."""
    tasks = list(_drafts(picture, Cause(anyone(picture), "none"), "a") or [])
    if picture.deviates or not tasks:
        step = Step(id="config", role="confirm", type="check_config", cost_ms=150)
        for device in _suspects(picture)[: MAX_TASKS - len(tasks)]:
            tasks.append(_Draft((device.name, "config"), step, device, {}, (), None))
    return _checked(picture, _number(tasks)) or ()


def anyone(picture: Picture) -> str:
    """Return whom a plan without a fault is about: the users' traffic, else the first device."""
    devices = picture.config.inventory.devices
    if picture.traffic is not None:
        return picture.traffic.name
    return devices[0].name if devices else "nothing"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What must be seen before an action is carried out: a look, and the fact that must hold."""

    type: str
    target: str
    args: dict[str, Scalar]
    field: str
    equals: Scalar
    cost_ms: int


def confirmation_of(picture: Picture, action: str, target: Device, believed: FaultClass) -> Confirmation | None:
    """Return how the rulebook confirms an action on a device: as the remedy for the believed fault does, else as the
    first remedy with that action. None if none does, or if what its remedy presupposes does not hold here."""
    remedies = sorted(picture.config.rulebook.remedies, key=lambda remedy: remedy.fault_class != believed)
    for remedy in remedies:
        wanted = _wanted(picture, remedy, target)
        act = next((step for step in wanted if step.role == "act" and step.type == action), None)
        look = next((step for step in wanted if act is not None and step.id == act.when_step), None)
        if act is None or look is None or act.when_field is None or act.when_equals is None:
            continue
        cause = Cause(target.name, remedy.fault_class)
        place = {"target": target, "traffic": picture.traffic, "witness": _witness(picture, target, cause)}[look.on]
        args = _fill(picture, target, look.args)
        if place is not None and args is not None:
            return Confirmation(look.type, place.name, args, act.when_field, act.when_equals, look.cost_ms)
    return None


def acts_of(tasks: Iterable[PlanTask]) -> frozenset[tuple[str, str, str]]:
    """Return what a plan would change: type, target and arguments of everything that acts."""
    acts = (task for task in tasks if CATALOGUE[task.type].changes_world)
    return frozenset((task.type, task.target, repr(sorted(task.args.items()))) for task in acts)


def cost_of(picture: Picture, action: str) -> int:
    """Return what the rulebook expects a type of task to cost, milliseconds."""
    steps = (step for remedy in picture.config.rulebook.remedies for step in remedy.steps if step.type == action)
    return next((step.cost_ms for step in steps), 150)


def _suspects(picture: Picture) -> list[Device]:
    """Return the managed workloads worth a look: with signs, what those depend on, then everybody, services first."""
    inventory = picture.config.inventory
    deviating = list(picture.by_device)
    below = [name for d in deviating if (device := inventory.get(d)) for name in device.depends_on]
    others = [device.name for device in sorted(inventory.devices, key=lambda device: device.kind != "service")]
    names = dict.fromkeys((*deviating, *below, *others))
    entry = CATALOGUE["check_config"]
    return [d for name in names if (d := inventory.get(name)) and d.managed and d.kind in entry.targets]


def _drafts(picture: Picture, cause: Cause, prefix: str) -> list[_Draft] | None:
    remedy, target = picture.config.rulebook.remedy(cause.fault_class), picture.config.inventory.get(cause.target)
    if remedy is None or target is None:
        return None
    places = {"target": target, "traffic": picture.traffic, "witness": _witness(picture, target, cause)}
    drafts = []
    for step in _wanted(picture, remedy, target):
        place = places[step.on]
        args = _fill(picture, target, step.args)
        if place is None or args is None:
            if step.role in ("look", "verify"):
                continue
            return None
        drafts.append(
            _Draft(
                key=(prefix, step.id),
                step=step,
                target=place,
                args=args,
                after=tuple((prefix, name) for name in step.after),
                when=(prefix, step.when_step) if step.when_step else None,
            )
        )
    return _linked(drafts)


def _wanted(picture: Picture, remedy: Remedy, target: Device) -> list[Step]:
    """Return the steps whose presuppositions hold."""
    traffic = picture.views.get(picture.traffic.name) if picture.traffic else None
    own = picture.views.get(target.name)
    facts = {
        # Not the newest alone: where every request of the last second still hangs, the seconds before tell of it.
        "traffic_measured": traffic is not None
        and any(_measured(sample.success_ratio, sample.latency_ms) for sample in traffic.samples),
        "cpu_measured": own is not None and any(sample.cpu_load is not None for sample in own.samples),
        "silent": picture.is_silent(target.name, SILENT_SAMPLES)
        and not (picture.config.doubts_silence and picture.is_blind),
    }
    return [step for step in remedy.steps if all(facts[need] for need in step.needs)]


def _measured(*values: float | None) -> bool:
    return all(value is not None for value in values)


def _witness(picture: Picture, target: Device, cause: Cause) -> Device | None:
    """Return who shows the trouble: whoever is named, else the target's first client with signs, else any client."""
    if cause.witness is not None and cause.witness != target.name:
        return picture.config.inventory.get(cause.witness)
    clients = picture.clients_of(target.name)
    names = [name for name in clients if name in picture.by_device] or list(clients)
    return picture.config.inventory.get(names[0]) if names else None


def _fill(picture: Picture, target: Device, args: dict[str, Scalar]) -> dict[str, Scalar] | None:
    """Return arguments with placeholders filled in, or None if one of them has no value here."""
    objective = picture.config.inventory.objective
    values: dict[Scalar, Scalar | None] = {
        "{success_ratio}": objective.success_ratio,
        "{latency_ms}": objective.latency_ms,
        "{cpu_cores}": picture.config.cpu_cores,
        "{cache_prefix}": target.cache_prefix,
    }
    filled: dict[str, Scalar] = {}
    for name, value in args.items():
        new = values.get(value, value) if isinstance(value, str) else value
        if new is None:
            return None
        filled[name] = new
    return filled


def _linked(drafts: list[_Draft]) -> list[_Draft] | None:
    """Return the drafts if every condition's step is among them: an act never loses its confirmation."""
    keys = {draft.key for draft in drafts}
    return drafts if all(draft.when is None or draft.when in keys for draft in drafts) else None


def _number(drafts: Iterable[_Draft]) -> tuple[PlanTask, ...]:
    """Make tasks t1, t2, … of drafts; the same look at the same device is taken once."""
    ids: dict[tuple[str, str], str] = {}
    same: dict[tuple[str, str, str], str] = {}
    tasks: list[PlanTask] = []
    for draft in drafts:
        what = (draft.step.type, draft.target.name, repr(sorted(draft.args.items())))
        if draft.when is None and not draft.after and what in same:
            ids[draft.key] = same[what]
            continue
        ids[draft.key] = same[what] = f"t{len(tasks) + 1}"
        tasks.append(_task(draft, ids))
    return tuple(tasks)


def _task(draft: _Draft, ids: dict[tuple[str, str], str]) -> PlanTask:
    step, condition = draft.step, None
    if draft.when is not None and step.when_field is not None and step.when_equals is not None:
        condition = Condition(task_id=ids[draft.when], field=step.when_field, equals=step.when_equals)
    before = [ids[key] for key in (*draft.after, *([draft.when] if draft.when else [])) if key in ids]
    return PlanTask(
        task_id=ids[draft.key],
        type=step.type,
        target=draft.target.name,
        args=draft.args,
        dependencies=tuple(dict.fromkeys(before)),
        assigned_to=CATALOGUE[step.type].agent,
        estimated_cost_ms=step.cost_ms,
        when=condition,
    )


def _checked(picture: Picture, tasks: tuple[PlanTask, ...]) -> tuple[PlanTask, ...] | None:
    """Return the tasks if every one keeps the catalogue's bounds, else None."""
    for task in tasks:
        device = picture.config.inventory.get(task.target)
        if device is None or CATALOGUE[task.type].faults(task.args, device):
            return None
    return tasks if 0 < len(tasks) <= MAX_TASKS else None


def plan_of(
    picture: Picture,
    request: PlanRequested,
    hypothesis: Hypothesis,
    tasks: tuple[PlanTask, ...],
    *,
    origin: str,
    time_us: int,
) -> Plan:
    """Return the plan; its id follows from incident, version, attempt and origin, its time from the event."""
    remedy = picture.config.rulebook.remedy(hypothesis.fault_class)
    goal = remedy.goal if remedy else "Find out what is broken at {target}"
    return Plan(
        plan_id=plan_id(f"{request.incident}/{request.version}/{request.attempt}/{origin}"),
        root_goal=goal.replace("{target}", hypothesis.target),
        created_at=_EPOCH + timedelta(microseconds=time_us),
        plan_version=request.version,
        hypothesis=hypothesis,
        tasks=tasks,
    )


def plan_id(name: str) -> str:
    """Return a UUID-shaped id derived from a name, the same for the same name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
