"""The plan as a graph: cycles, generations, who stands upstream of whom. The only place that knows networkx.

Nodes are added in the order of the plan and results are sorted back into it, so that equal plans give equal answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from broker.contracts.plan import PlanTask


def _graph(tasks: Sequence[PlanTask]) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    names = {task.task_id for task in tasks}
    graph.add_nodes_from(task.task_id for task in tasks)
    for task in tasks:
        graph.add_edges_from((name, task.task_id) for name in task.dependencies if name in names)
    return graph


def _is_in_order(tasks: Sequence[PlanTask]) -> bool:
    """Tell whether every task stands behind its dependencies and no two share a name, as in whatever the rulebook
    compiles: such a plan needs no library to be seen through."""
    seen: set[str] = set()
    for task in tasks:
        if task.task_id in seen or not seen.issuperset(task.dependencies):
            return False
        seen.add(task.task_id)
    return True


def cycle(tasks: Sequence[PlanTask]) -> tuple[str, ...]:
    """Return one cycle as task ids in the order of dependency, smallest id first; empty if there is none.

    Dependencies on unknown tasks are left out.
    """
    if _is_in_order(tasks):
        return ()
    try:
        edges = nx.find_cycle(_graph(tasks))
    except nx.NetworkXNoCycle:
        return ()
    names = [str(edge[0]) for edge in edges]
    start = names.index(min(names))
    return (*names[start:], *names[:start])


def generations(tasks: Sequence[PlanTask]) -> tuple[tuple[str, ...], ...]:
    """Return the task ids of an acyclic plan in generations: each depends only on earlier ones."""
    if _is_in_order(tasks):
        return _layers(tasks)
    place = {task.task_id: index for index, task in enumerate(tasks)}
    layers = nx.topological_generations(_graph(tasks))
    return tuple(tuple(sorted(layer, key=place.__getitem__)) for layer in layers)


def _layers(tasks: Sequence[PlanTask]) -> tuple[tuple[str, ...], ...]:
    layers: list[list[str]] = []
    level: dict[str, int] = {}
    for task in tasks:
        depth = level[task.task_id] = 1 + max((level[name] for name in task.dependencies), default=-1)
        if depth == len(layers):
            layers.append([])
        layers[depth].append(task.task_id)
    return tuple(map(tuple, layers))


def upstream(tasks: Sequence[PlanTask]) -> dict[str, frozenset[str]]:
    """Return for each task of an acyclic plan all tasks that have ended before it starts."""
    if _is_in_order(tasks):
        above: dict[str, frozenset[str]] = {}
        for task in tasks:
            above[task.task_id] = frozenset(task.dependencies).union(*(above[name] for name in task.dependencies))
        return above
    graph = _graph(tasks)
    return {task.task_id: frozenset(nx.ancestors(graph, task.task_id)) for task in tasks}
