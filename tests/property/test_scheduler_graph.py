"""A plan in its order is seen through without the library: the answers are those that the library gives."""

from __future__ import annotations

from random import Random

import networkx as nx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.contracts.plan import PlanTask
from scheduler_svc.core import graph

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = tuple(f"t{n}" for n in range(1, 9))


def task(name: str, before: list[str]) -> PlanTask:
    return PlanTask(
        task_id=name, type="check_config", target="orders", dependencies=tuple(before), assigned_to="LogAgent"
    )


@st.composite
def forward(draw: st.DrawFn) -> tuple[PlanTask, ...]:
    """Tasks of which each depends on some before it; named in any order, a dependency may stand twice."""
    names = draw(st.permutations(NAMES[: draw(st.integers(1, len(NAMES)))]))
    return tuple(
        task(name, draw(st.lists(st.sampled_from(names[:place]), max_size=4)) if place else [])
        for place, name in enumerate(names)
    )


def library(tasks: tuple[PlanTask, ...]) -> nx.DiGraph[str]:
    made: nx.DiGraph[str] = nx.DiGraph()
    made.add_nodes_from(one.task_id for one in tasks)
    made.add_edges_from((before, one.task_id) for one in tasks for before in one.dependencies)
    return made


@UNHURRIED
@given(forward())
def test_a_plan_in_its_order_is_seen_through_as_the_library_does(tasks: tuple[PlanTask, ...]) -> None:
    known = library(tasks)
    names = [one.task_id for one in tasks]
    assert graph.cycle(tasks) == ()
    assert graph.upstream(tasks) == {name: frozenset(nx.ancestors(known, name)) for name in names}
    assert graph.generations(tasks) == tuple(
        tuple(sorted(layer, key=names.index)) for layer in nx.topological_generations(known)
    )


@UNHURRIED
@given(forward(), st.randoms(use_true_random=False))
def test_a_plan_in_another_order_gets_the_same_answers(tasks: tuple[PlanTask, ...], random: Random) -> None:
    shuffled = list(tasks)
    random.shuffle(shuffled)
    assert graph.cycle(shuffled) == ()
    assert graph.upstream(shuffled) == graph.upstream(tasks)
    assert [set(layer) for layer in graph.generations(shuffled)] == [set(layer) for layer in graph.generations(tasks)]


def test_a_task_that_waits_for_itself_or_for_a_later_one_is_still_found() -> None:
    assert graph.cycle([task("t1", ["t1"])]) == ("t1",)
    assert graph.cycle([task("t1", ["t2"]), task("t2", ["t1"])]) == ("t1", "t2")
