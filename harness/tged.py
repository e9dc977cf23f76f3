"""Task Graph Edit Distance (spec 10): how much of a plan a replan changed.

    TGED = sum(edit_weight(node) for every edit) / (orig_nodes + orig_edges),   edit_weight(node) = min(2^depth, 16)

An edit is a task inserted, deleted or changed (same type and target, other arguments or condition), or a dependency
inserted or deleted. A task is the same in both plans if type and target are; several alike are paired in order. Depth
is the longest path from a root (a root has depth 0), in the plan where the edited element stands (the new plan for what
both have); a dependency weighs as the task that has it. Plan ids, task ids and times are no edits. The spec calls the
weight a cap "by impact depth": deep tasks act on what earlier ones found, so changing them weighs more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from broker.contracts.plan import Plan, PlanTask

WEIGHT_CAP = 16
Key = tuple[str, str, int]
"""Type, target, and which one of several alike."""


def edit_weight(depth: int) -> int:
    """Return `min(2^depth, 16)`."""
    return WEIGHT_CAP if depth > 4 else 1 << depth


def tged(original: Plan, changed: Plan) -> float:
    """Return the normalised, depth-weighted edit distance; 0.0 for equal plans. May exceed 1."""
    old, new = _Graph(original), _Graph(changed)
    nodes = sum(new.weight(key) for key in new.tasks.keys() - old.tasks.keys())
    nodes += sum(old.weight(key) for key in old.tasks.keys() - new.tasks.keys())
    nodes += sum(new.weight(key) for key in new.tasks.keys() & old.tasks.keys() if not _same(old, new, key))
    edges = sum(new.weight(edge[1]) for edge in new.edges - old.edges)
    edges += sum(old.weight(edge[1]) for edge in old.edges - new.edges)
    size = len(old.tasks) + len(old.edges)
    return (nodes + edges) / size if size else float(nodes + edges)


def _same(old: _Graph, new: _Graph, key: Key) -> bool:
    return old.content(key) == new.content(key)


class _Graph:
    def __init__(self, plan: Plan) -> None:
        self._key_of = _keys(plan)
        self.tasks: Mapping[Key, PlanTask] = {self._key_of[task.task_id]: task for task in plan.tasks}
        self.edges = frozenset(
            (self._key_of[name], self._key_of[task.task_id])
            for task in plan.tasks
            for name in task.dependencies
            if name in self._key_of
        )
        self._depth: dict[Key, int] = {}

    def content(self, key: Key) -> tuple[object, ...]:
        """Return what makes a task the same but for its place in the graph."""
        task = self.tasks[key]
        when = task.when and (self._key_of.get(task.when.task_id), task.when.field, task.when.equals)
        return tuple(sorted(task.args.items())), when

    def weight(self, key: Key) -> int:
        return edit_weight(self.depth(key))

    def depth(self, key: Key) -> int:
        if key not in self._depth:
            self._depth[key] = 0  # breaks a cycle: only refused plans have one
            above = [source for source, destination in self.edges if destination == key]
            self._depth[key] = 1 + max((self.depth(source) for source in above), default=-1)
        return self._depth[key]


def _keys(plan: Plan) -> dict[str, Key]:
    seen: Counter[tuple[str, str]] = Counter()
    keys: dict[str, Key] = {}
    for task in plan.tasks:
        alike = (task.type, task.target)
        keys[task.task_id] = (*alike, seen[alike])
        seen[alike] += 1
    return keys
