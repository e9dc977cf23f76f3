"""From a model's text to the draft of a plan: parse, and repair by code what can be repaired without guessing.

Every repair is named. A repair of *form* changes how the answer is written and nothing else: wrapping, a name that is
the same but for case and separators, ids written otherwise, fields nobody asked for. A repair of *meaning* chooses
between readings: the nearest name, a doubled id, a dependency that cannot be, more tasks than are allowed. After one of
those a person must see whatever acts (docs/adr/0012).

What is not repaired is refused with its reason, so that the model can be asked again: an action or a device that does
not exist, an argument outside its bounds (`guard.py`). The text is untrusted and may be huge or hostile: what is looked
at is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE, LARGEST_WHOLE, Argument, TaskType
from broker.contracts.inventory import Inventory
from broker.contracts.plan import MAX_QUESTION, MAX_TASKS, AgentName, FaultClass, Reason
from planner_svc.core.answer import FAULT_CLASSES, UnusableAnswerError, first_object, unwrapped
from planner_svc.core.repairs import Repairs, nearest

MAX_READ = 64
"""Tasks of an answer that are looked at before it is cut to what a plan may hold."""
MAX_DEPENDENCIES = 16
MAX_ARGUMENTS = 10
MAX_ARGUMENT = 400
TASK_FIELDS = {"task_id", "type", "target", "args", "dependencies", "assigned_to"}
IGNORED_FIELDS = {"estimated_cost_ms", "when"}
"""Fields of the contract that code fills in: a model that writes them is not blamed."""
PLAN_FIELDS = {"hypothesis", "tasks", "clarifying_task", "root_goal", "plan_id", "created_at", "plan_version"}
SCHEMA_NAME = "plan"


class UnusablePlanError(UnusableAnswerError):
    """The text holds no plan that may be carried out; `reasons` says why, for the journal and for the next try."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(reason.detail for reason in self.reasons))


@dataclass(frozen=True, slots=True)
class DraftTask:
    """A task as the model means it: type and target exist, nothing else is sure yet."""

    task_id: str
    type: str
    target: str
    args: dict[str, Scalar]
    dependencies: tuple[str, ...] = ()

    @property
    def acts(self) -> bool:
        """Tell whether carrying it out may change anything."""
        return CATALOGUE[self.type].changes_world


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model proposes, repaired."""

    tasks: tuple[DraftTask, ...]
    target: str | None
    fault_class: FaultClass | None
    confidence: float
    question: str | None
    repairs: Repairs


def plan_schema(inventory: Inventory) -> dict[str, Any]:
    """Return the JSON schema of a plan as a model writes it. Only keywords that every endpoint understands."""
    names = list(inventory.names())
    arguments = {name: _value(argument) for entry in _offered() for name, argument in entry.arguments.items()}
    task = _object(
        {
            "task_id": {"type": "string", "maxLength": 8},
            "type": {"type": "string", "enum": [entry.name for entry in _offered()]},
            "target": {"type": "string", "enum": names},
            "args": _object(arguments, required=()),
            "dependencies": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 7},
            "assigned_to": {"type": "string", "enum": list(get_args(AgentName))},
        }
    )
    hypothesis = _object(
        {
            "target": {"type": "string", "enum": names},
            "fault_class": {"type": "string", "enum": list(FAULT_CLASSES)},
            "confidence": {"type": "number"},
        }
    )
    question = _object(
        {"task_id": {"type": "string", "maxLength": 8}, "question": {"type": "string", "maxLength": MAX_QUESTION}}
    )
    fields = {
        "hypothesis": hypothesis,
        "tasks": {"type": "array", "items": task, "maxItems": MAX_TASKS},
        "clarifying_task": question,
    }
    return _object(fields, required=("hypothesis", "tasks"))


def _value(argument: Argument) -> dict[str, Any]:
    """Return the schema of an argument: its choices where it has any, since what is off them is refused."""
    if argument.choices:
        return {"type": "string", "enum": list(argument.choices)}
    types = {str: "string", int: "integer", float: "number", bool: "boolean"}
    bound = {"maxLength": 200} if argument.type is str else {}
    return {"type": types[argument.type], **bound}


def _object(properties: dict[str, Any], required: Iterable[str] | None = None) -> dict[str, Any]:
    names = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _offered() -> list[TaskType]:
    """Return what a model may choose from: searching runbooks is code's, which knows what to search for."""
    return [entry for entry in CATALOGUE.values() if entry.agent != "RAGAgent"]


def read_draft(text: str, inventory: Inventory) -> Draft:
    """Return the draft that a model's text holds.

    Raises:
        UnusablePlanError: no JSON object with tasks or a question, or a name that is not on its closed list.
    """
    repairs = Repairs()
    try:
        value = first_object(unwrapped(text, repairs), repairs, ("tasks", "clarifying_task"))
    except UnusableAnswerError as error:
        raise UnusablePlanError([Reason(code="no_plan", detail=str(error))]) from error
    repairs.unasked(value, PLAN_FIELDS)
    target, fault_class, confidence = _hypothesis(value.get("hypothesis"), inventory, repairs)
    question = _question(value.get("clarifying_task"), repairs)
    tasks = _tasks(value.get("tasks"), inventory, repairs)
    if not tasks and question is None:
        raise UnusablePlanError([Reason(code="no_tasks", detail="the answer holds no task and no question")])
    return Draft(tasks, target, fault_class, confidence, question, repairs)


def _hypothesis(value: object, inventory: Inventory, repairs: Repairs) -> tuple[str | None, FaultClass | None, float]:
    """Return what the model believes, as far as it can be read: what acts does not hang on it."""
    fields = value if isinstance(value, dict) else {}
    target = nearest(fields.get("target"), inventory.names(), "hypothesis target", repairs)
    fault_class = nearest(fields.get("fault_class"), FAULT_CLASSES, "fault_class", repairs)
    return target, fault_class, repairs.confidence(fields.get("confidence"))


def _question(value: object, repairs: Repairs) -> str | None:
    """Return the question, on one line. A sentence that asks nothing is no question: nobody is given orders here."""
    text = value.get("question") if isinstance(value, dict) else None
    if not isinstance(text, str) or not text.strip():
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_QUESTION]).split())
    if "?" not in line or len(line) > MAX_QUESTION:
        repairs.meaning("clarifying_task dropped: it is no question of at most 300 characters")
        return None
    return line


def _tasks(value: object, inventory: Inventory, repairs: Repairs) -> tuple[DraftTask, ...]:
    if value is None:
        return ()
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(items) != len(value):
        raise UnusablePlanError([Reason(code="no_plan", detail="tasks is no list of objects")])
    if len(items) > MAX_TASKS:
        repairs.meaning(f"{len(items)} tasks cut to the first {MAX_TASKS}")
    unknown: list[Reason] = []
    names = _ids(items[:MAX_READ], repairs)
    tasks = [_task(item, name, inventory, repairs, unknown) for item, name in zip(items, names, strict=False)]
    if unknown:
        raise UnusablePlanError(unknown[:MAX_TASKS])
    kept = [task for task in tasks if task is not None][:MAX_TASKS]
    return _acyclic(_resolved(kept, items, names, repairs), repairs)


def _ids(items: list[dict[str, Any]], repairs: Repairs) -> list[str]:
    """Return an id `t1`, `t2`, … for every task, its own where that is one."""
    wanted = [_word(item.get("task_id")) for item in items]
    own = {name for name in wanted if _is_id(name)}
    free = iter([one for one in (f"t{n}" for n in range(1, 2 * len(items) + 2)) if one not in own])
    names: list[str] = []
    for name in wanted:
        if _is_id(name) and name not in names:
            names.append(name)
            continue
        names.append(next(free))
        if name in wanted[: len(names) - 1] and name:
            repairs.meaning(f"doubled task id {name[:20]!r} renamed to {names[-1]}")
        else:
            repairs.form(f"task id {name[:20]!r} written as {names[-1]}")
    return names


def _is_id(name: str) -> bool:
    return 0 < len(name) <= 20 and name.isascii() and name.isalnum() and name == name.lower()


def _task(
    item: dict[str, Any], name: str, inventory: Inventory, repairs: Repairs, unknown: list[Reason]
) -> DraftTask | None:
    types = tuple(entry.name for entry in _offered())
    type_ = nearest(item.get("type"), types, f"type of {name}", repairs)
    target = nearest(item.get("target"), inventory.names(), f"target of {name}", repairs)
    if type_ is None:
        unknown.append(_unknown("unknown_type", name, "the catalogue has no type", item.get("type")))
    if target is None:
        unknown.append(_unknown("unknown_target", name, "the inventory has no device", item.get("target")))
    if type_ is None or target is None:
        return None
    repairs.unasked(item, TASK_FIELDS | IGNORED_FIELDS)
    agent, right = item.get("assigned_to"), CATALOGUE[type_].agent
    if agent not in (None, right):
        chosen = nearest(agent, get_args(AgentName), f"agent of {name}", repairs) if isinstance(agent, str) else None
        if chosen != right:
            repairs.form(f"{name} assigned to {right}, as the catalogue says")
    return DraftTask(name, type_, target, _arguments(item.get("args"), name, unknown))


def _unknown(code: str, name: str, what: str, given: object) -> Reason:
    return Reason(code=code, detail=f"{name}: {what} {_word(given)!r}")


def _word(value: object) -> str:
    """Return a name as it may be compared and quoted: short and printable; empty for what is no plain value."""
    text = str(value) if isinstance(value, str | int | float) else ""
    return "".join(c for c in text[:40] if c.isprintable()).strip()


def _arguments(value: object, name: str, unknown: list[Reason]) -> dict[str, Scalar]:
    """Return the arguments as written: bounds are the guard's, and nothing is clamped into them."""
    if value is None:
        return {}
    if isinstance(value, dict) and len(value) <= MAX_ARGUMENTS and all(map(_is_plain, value.values())):
        return {_word(key): item for key, item in value.items()}
    unknown.append(Reason(code="bad_argument", detail=f"{name}: args is no object of plain values"))
    return {}


def _is_plain(value: object) -> bool:
    """Tell whether a value may stand in a message: printable text that is one, a number that is one, true or false."""
    if isinstance(value, str):
        return value.isprintable() and len(value) <= MAX_ARGUMENT
    return isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= LARGEST_WHOLE)


def _resolved(
    kept: list[DraftTask], items: list[dict[str, Any]], names: list[str], repairs: Repairs
) -> list[DraftTask]:
    """Give every task its dependencies by the ids that the kept tasks have now; the first of a doubled id is meant."""
    known = {task.task_id for task in kept}
    renamed: dict[str, str] = {}
    for item, name in zip(items, names, strict=False):
        if written := _word(item.get("task_id")):
            renamed.setdefault(written, name)
    resolved = []
    for task, item in zip(kept, items, strict=False):
        value = item.get("dependencies")
        listed = value[:MAX_DEPENDENCIES] if isinstance(value, list) else []
        if value is not None and listed != value:
            repairs.meaning(f"dependencies of {task.task_id} cut to {len(listed)}")
        # Only ids that the answer itself holds: one that code has given to a task is no name the model can have meant.
        wanted = [(_word(one), renamed.get(_word(one), "")) for one in listed]
        for said, meant in dict.fromkeys(pair for pair in wanted if pair[1] not in known or pair[1] == task.task_id):
            what = "itself" if meant == task.task_id else f"{said[:20]!r}, which is no task"
            repairs.meaning(f"dependency of {task.task_id} on {what} dropped")
        good = dict.fromkeys(meant for _, meant in wanted if meant in known and meant != task.task_id)
        resolved.append(replace(task, dependencies=tuple(good)))
    return resolved


def _acyclic(tasks: list[DraftTask], repairs: Repairs) -> tuple[DraftTask, ...]:
    """Break cycles by the order in which the tasks were written: who is written first goes first."""
    place = {task.task_id: n for n, task in enumerate(tasks)}
    for n, task in enumerate(tasks):
        for name in task.dependencies:
            if place[name] > n and task.task_id in above(tasks, name):
                kept = tuple(one for one in tasks[n].dependencies if one != name)
                tasks[n] = replace(tasks[n], dependencies=kept)
                repairs.meaning(f"cycle broken: {task.task_id} no longer waits for {name}")
    return tuple(tasks)


def above(tasks: Iterable[DraftTask], name: str) -> set[str]:
    """Return all tasks that a task waits for, directly or through others."""
    waits = {task.task_id: task.dependencies for task in tasks}
    found: set[str] = set()
    open_ = list(waits.get(name, ()))
    while open_:
        one = open_.pop()
        if one not in found:
            found.add(one)
            open_ += waits.get(one, ())
    return found
