"""A made-up shop for tests of the evaluation: telemetry as fast as it is read, windows and situations of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from broker.contracts.inventory import Inventory
from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.contracts.telemetry import Telemetry
from harness.evaluation.data import Facts, Fault, Line, Load, Origin, Repair, RunPlan, Situation, Truth, Window
from harness.evaluation.library import Case
from harness.evaluation.tape import LogMark, record
from injector.errors import NoEvidenceError
from injector.fault import Spec
from tests.support.planner_world import SECOND, START_US, UNANSWERED, USERS_FAIL, Look, answered, sample, shop

ORIGIN = Origin(recorded_at=datetime(2026, 1, 2, tzinfo=UTC), commit="abc1234", machine="test", platform="embedded")
STOPPED: Look = {**UNANSWERED, "error_code": "ECONNREFUSED"}
STOP = Fault(kind="service_stopped", target="orders")
BROKEN: Mapping[str, Look] = {
    "orders": STOPPED,
    "gateway": {"status": "ERROR", "note": "orders=ECONNREFUSED", "error_code": "ECONNREFUSED"},
    "loadgen": USERS_FAIL,
}
"""How the shop looks without its orders service."""


@dataclass
class FakeStage:
    """A shop that is uneasy for some seconds, then calm, then as broken as was asked."""

    uneasy_s: int = 3
    ends_after_s: int | None = None
    refuses: bool = False
    looks: Mapping[str, Look] = field(default_factory=lambda: {"orders": STOPPED})
    broken: bool = False
    did: list[str] = field(default_factory=list)
    now_s: int = 0

    @property
    def inventory(self) -> Inventory:
        return shop()

    async def set_load(self, load: Load) -> None:
        self.did.append(f"load {load.rate:g}")

    async def telemetry(self) -> AsyncIterator[tuple[int, Telemetry]]:
        while self.ends_after_s is None or self.now_s < self.ends_after_s:
            for place, device in enumerate(shop().names()):
                at_us = START_US + self.now_s * SECOND + place * SECOND // 10
                look = self.looks.get(device) if self.broken else None
                if device == "catalog" and self.now_s < self.uneasy_s:
                    look = {"status": "WARN"}
                await asyncio.sleep(0)  # as a journal does: others get their turn
                yield at_us, sample(device, at_us, look)
            self.now_s += 1

    async def inject(self, spec: Spec) -> None:
        if self.refuses:
            raise NoEvidenceError("the world does not show it")
        self.did.append(f"inject {spec.fault} {spec.target}")
        self.broken = True

    async def heal(self) -> None:
        self.did.append("heal")
        self.broken = False

    async def facts(self) -> dict[str, Facts]:
        down = self.broken
        return {
            d.name: Facts(running=d.name != "orders" or not down, paused=False, drifted=False) for d in shop().devices
        }

    def mark(self) -> LogMark:
        return {"orders": 7}

    def lines(self, since: LogMark, start_us: int) -> dict[str, tuple[Line, ...]]:
        return {"orders": (Line(at_s=9.0, level="ERROR", msg=f"after byte {since['orders']}"),)}


def run_plan(fault: Fault | None = None, moments: tuple[float, ...] = (2.0, 8.0)) -> RunPlan:
    """Return a plan for one recording."""
    load = Load(rate=20.0, noise=0.0, seed=1)
    return RunPlan(name="stopped-orders", half="tuning", fault=fault, load=load, moments_s=moments)


def window_of(fault: Fault | None = STOP, looks: Mapping[str, Look] = BROKEN) -> Window:
    """Return a window of the made-up shop."""
    with ThreadPoolExecutor(1) as pool:  # a loop of its own, also where one runs already
        return pool.submit(asyncio.run, record(FakeStage(looks=looks), run_plan(fault), ORIGIN)).result()


def case_of(window: Window, **fields: Any) -> Case:
    """Return a situation on a window: the orders service is down, unless said otherwise."""
    values: dict[str, Any] = {
        "name": "stopped-orders-0",
        "window": window.name,
        "moment": 0,
        "text": "nobody can buy anything",
        "language": "en",
        "traits": ("vague",),
        "right": (window.truth,),
        "repairs": (Repair(action="start", target="orders"),) if window.truth.fault_class != "none" else (),
        "dangerous": (Repair(action="restart", target="shop-db"), Repair(action="flush_cache", target="shop-cache")),
    }
    return Case(Situation(**(values | fields)), window, "tuning")


def measured_answer(prompt: PlanPrompted, response: str, **fields: Any) -> PlanAnswered:
    """Return a model's answer to a prompt, with what it took."""
    took = {"prompt_tokens": 900, "completion_tokens": 20, "elapsed_ms": 1_500.0}
    return answered(prompt, response, **(took | fields))


RIGHT = '{"target":"orders","fault_class":"process_down","confidence":0.9}'
WRONG = '{"target":"shop-db","fault_class":"process_hung","confidence":0.9}'
NO_FAULT = Truth(target="loadgen", fault_class="none")
