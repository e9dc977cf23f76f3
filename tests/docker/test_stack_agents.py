"""Agents as containers: more of them share the work; a killed one's goes to another; nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from broker.subjects import ACK_WAIT_S
from harness.bench.containers import give, kills
from harness.compose.tail import Row, opened
from harness.figures import percentile
from tests.support.compose_stack import ComposeStack

pytestmark = [pytest.mark.docker, pytest.mark.asyncio]

TASKS, RATE = 90, 6.0
KILLS = 5
Scale = Callable[[int], Awaitable[None]]


async def scale(stack: ComposeStack, number: int) -> None:
    await asyncio.to_thread(
        stack.run,
        *("up", "--detach", "--wait", "--no-build", "--no-recreate", "--no-deps"),
        *("--scale", f"log-agent={number}", "log-agent"),
    )


@pytest_asyncio.fixture
async def agents(stack: ComposeStack) -> AsyncIterator[Scale]:
    """Sets how many log agents there are; afterwards there is one again, however the test ended."""
    yield partial(scale, stack)
    await scale(stack, 1)


async def test_agents_scaled_from_one_to_three_under_load_share_it(
    stack: ComposeStack, agents: Scale, record_property: Any
) -> None:
    await agents(1)
    incident = f"load-{secrets.token_hex(4)}"
    async with opened(stack.compose) as tail:
        ordering = asyncio.create_task(give(stack.compose, incident, count=TASKS, rate=RATE))
        await tail.first(lambda row: row.type == "result" and row.of(incident), 30.0)
        await agents(3)
        await ordering

        def results(rows: list[Row]) -> list[Row]:
            return [row for row in rows if row.type == "result" and row.of(incident)]

        await tail.first(lambda _row: len(results(tail.rows)) >= TASKS, 60.0)
        # Whatever would come twice comes before the answer to a later order.
        after = f"{incident}-after"
        await give(stack.compose, after, count=1)
        await tail.first(lambda row: row.type == "result" and row.of(after), 30.0)
        claims = Counter(row.payload["task_id"] for row in tail.rows if row.type == "claim" and row.of(incident))
        ended = Counter(row.payload["task_id"] for row in results(tail.rows))
        takers = Counter(row.payload["instance"] for row in tail.rows if row.type == "claim" and row.of(incident))
    everything = {f"v1-t{number}" for number in range(1, TASKS + 1)}
    assert ended.keys() == everything, "lost"
    assert set(ended.values()) == {1}, "doubled"
    assert claims.keys() == everything
    assert set(claims.values()) == {1}, "taken twice"
    assert takers.keys() == {"log-agent-1", "log-agent-2", "log-agent-3"}
    assert min(takers.values()) >= TASKS // 15, f"hardly shared: {takers}"
    record_property("tasks per agent", dict(takers))


async def test_a_container_killed_in_mid_task_loses_its_task_to_another_at_once(
    stack: ComposeStack, agents: Scale, record_property: Any
) -> None:
    """At once: not when its order's ack runs out. How soon is measured by `make bench-docker`, on a quiet machine."""
    await agents(2)
    said: list[str] = []
    spans = await kills(stack.project, stack.compose, KILLS, said.append)
    record_property("reassigned after, ms", [round(span * 1_000) for span in spans])
    assert len(spans) == KILLS
    assert percentile(spans, 0.5) < ACK_WAIT_S / 2, spans
