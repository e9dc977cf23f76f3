"""Proving an oracle: with a world in memory, an honest repair passes and every cheat fails; a blind oracle is found
out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from broker.contracts.inventory import Inventory
from broker.memory import MemoryBroker, MemoryJournal
from harness import validate as module
from harness.cheats import CHEATS
from harness.control import ControlPlane
from harness.embedded import Embedded
from harness.errors import ConflictError, StackDownError
from harness.run_lock import only_run
from harness.scenario import Draw, FaultStep, draw, load
from harness.site import Signal
from harness.validate import LIVE, REPAIRED, Proof, Prover
from injector.collateral import Baseline, Witness
from injector.fault import Evidence, Spec, World
from injector.hand import Hand
from injector.injector import Injector
from injector.journal import FaultJournal, OpenFault
from services.inventory.declared import TRAFFIC_RATE, TRAFFIC_SEED
from services.platform.port import Effect, NotManagedError, State, VerbFailedError
from tests.support.signing import master, signer
from tests.support.world import FakeFaults, FakePlatform, running, shop_inventory

NAMES = ("shop-db", "shop-cache", "catalog", "orders", "loadgen")


class Shop(FakeFaults):
    """The injector's side of a world in which workloads really go down and come up."""

    def __init__(self, platform: FakePlatform) -> None:
        super().__init__()
        self.platform = platform

    async def stop(self, name: str) -> None:
        self._is(name, "stopped")

    async def start(self, name: str) -> None:
        if self.platform.workloads[name].state != "running":
            self._is(name, "running", restarts=self.platform.workloads[name].restarts + 1)

    async def is_running(self, name: str) -> bool:
        return self.platform.workloads[name].state == "running"

    def _is(self, name: str, state: State, *, restarts: int | None = None) -> None:
        was = self.platform.workloads[name]
        count = was.restarts if restarts is None else restarts
        self.platform.workloads[name] = replace(was, state=state, restarts=count)


class ShopPlatform(FakePlatform):
    """The agents' side: a stop starts nothing, and the traffic is nobody's to change."""

    async def stop(self, name: str, *, key: str) -> Effect:
        if not self.workloads[name].managed:
            raise NotManagedError(f"{name} is not managed")
        self.workloads[name] = replace(self.workloads[name], state="stopped")
        return Effect(True, "stopped")


class Stack(Embedded):
    """A stack in memory; writes down which programs were signalled."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, 1)
        workloads = {name: running(name) for name in NAMES}
        workloads["loadgen"] = replace(workloads["loadgen"], managed=False)
        self.platform = ShopPlatform(workloads)
        self.faults = Shop(self.platform)
        self.killed: list[tuple[str, Signal]] = []
        self.load: dict[str, object] = {
            "rate": TRAFFIC_RATE,
            "noise": 0.7,
            "seed": 99,
        }  # as a run that was killed left it
        self.declared = home / "inventory.json"
        self.declared.write_bytes(shop_inventory().encode())

    async def kill(self, name: str, signal: Signal = "KILL") -> None:
        self.killed.append((name, signal))

    def injector(self) -> Injector:
        return Injector(World(self.faults, shop_inventory()), FaultJournal(self.home / "faults"))

    def witness(self) -> Witness:
        return Witness(self.platform, (self.declared,))

    def hand(self) -> Hand:
        return Hand(self.platform, self.faults, self.declared)

    @property
    def serves(self) -> bool:
        return all(workload.state == "running" for workload in self.platform.workloads.values())


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack whose users are served while everything runs, and whose clocks do not keep a test waiting."""
    stack = Stack(tmp_path)

    def answer(request: httpx.Request) -> httpx.Response:
        if stack.platform.workloads["loadgen"].state != "running":
            raise httpx.ConnectError("connection refused")
        if request.method == "PUT":
            stack.load = json.loads(request.content)
        if request.url.path == "/settings":
            return httpx.Response(200, json=stack.load)
        return httpx.Response(200, json={"success_ratio": 1.0 if stack.serves else 0.1, "p95_ms": 9.0, "sent": 100})

    client = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **kw: client(**kw, transport=httpx.MockTransport(answer)))
    monkeypatch.setattr(module, "GREEN_TIMEOUT_S", 0.0)
    monkeypatch.setattr(module, "REPAIR_GRACE_S", 0.0)
    return stack


@asynccontextmanager
async def proving(stack: Stack) -> AsyncIterator[Prover]:
    journal = MemoryJournal()
    inventory = shop_inventory()
    quick = inventory.model_copy(update={"objective": inventory.objective.model_copy(update={"window_s": 0})})
    broker, ring = MemoryBroker(journal, "operator-1", "operator"), master().restricted_to("operator")
    prover = Prover(stack, ControlPlane(stack.home, broker, ring, signer("operator", journal=journal), quick))
    async with prover.prepared():
        yield prover


async def proof_of(stack: Stack, drawn: Draw) -> Proof:
    async with proving(stack) as prover:
        return await prover.prove(drawn)


def killed(target: str = "orders", *, actions: int = 1) -> Draw:
    scenario = load("service_killed")
    expect = scenario.expect.model_copy(update={"max_actions": actions})
    step = FaultStep(fault="service_killed", target=target)
    return draw(scenario.model_copy(update={"faults": (step,), "expect": expect}))


@pytest.mark.asyncio
@pytest.mark.parametrize("actions", [1, 3])
async def test_an_honest_repair_passes_and_every_cheat_fails(stack: Stack, actions: int) -> None:
    proof = await proof_of(stack, killed(actions=actions))
    assert [(item.name, item.passed) for item in proof.checks] == [
        (LIVE, False),
        *((cheat.name, False) for cheat in CHEATS),
        (REPAIRED, True),
    ]
    assert proof.ok


@pytest.mark.asyncio
async def test_oracles_are_tried_out_under_the_declared_load_whatever_was_left_before(stack: Stack) -> None:
    async with proving(stack):
        assert stack.load == {"rate": TRAFFIC_RATE, "noise": 0.0, "seed": TRAFFIC_SEED}


@pytest.mark.asyncio
async def test_each_cheat_fails_by_what_it_did(stack: Stack) -> None:
    proof = await proof_of(stack, killed())
    why = {item.name: item.detail for item in proof.checks}
    assert "service_killed on orders is gone: orders does not run" in why["do_nothing"]
    assert "inventory.json, which declares the world, is not the file" in why["mute_the_alert"]
    assert "loadgen is stopped" in why["stop_the_load_generator"]
    assert "orders does not run" in why["delete_the_service"]
    assert "orders does not run" in why["scale_to_zero"]
    assert "catalog was started 1 times, 0 would do" in why["restart_everything"]
    assert "orders was started 3 times, 1 would do" in why["restart_in_a_loop"]


@pytest.mark.asyncio
async def test_the_fault_is_still_there_for_every_cheat_that_leaves_no_traces(stack: Stack) -> None:
    proof = await proof_of(stack, killed())
    why = {item.name: item.detail for item in proof.checks}
    for cheat in CHEATS:
        if not cheat.leaves_traces:
            assert "service_killed on orders is gone: orders does not run" in why[cheat.name], cheat.name


@pytest.mark.asyncio
async def test_a_workload_that_cannot_start_before_its_fault_is_healed_is_put_back_all_the_same(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, heal = stack.faults.start, Injector.heal_all
    broken = True

    async def starts(name: str) -> None:
        if broken and name == "orders":
            raise VerbFailedError("orders did not start: it ends at once")
        await start(name)

    async def heal_all(injector: Injector) -> tuple[OpenFault, ...]:
        nonlocal broken
        broken = False
        return await heal(injector)

    async with proving(stack):
        stack.platform.workloads["orders"] = replace(stack.platform.workloads["orders"], state="stopped")
        monkeypatch.setattr(stack.faults, "start", starts)
        monkeypatch.setattr(Injector, "heal_all", heal_all)
    assert stack.serves


@pytest.mark.asyncio
async def test_what_cannot_be_put_back_is_named_after_everything_else_was(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = stack.faults.start

    async def starts(name: str) -> None:
        if name == "catalog":
            raise VerbFailedError("catalog did not start")
        await start(name)

    async def left_stopped() -> None:
        async with proving(stack):
            for name in ("catalog", "orders"):
                stack.platform.workloads[name] = replace(stack.platform.workloads[name], state="stopped")
            monkeypatch.setattr(stack.faults, "start", starts)

    with pytest.raises(StackDownError, match="catalog did not start"):
        await left_stopped()
    assert stack.platform.workloads["orders"].state == "running"
    assert stack.killed[-1] == ("sensors-1", "KILL")


@pytest.mark.asyncio
async def test_where_nothing_is_broken_doing_nothing_passes_and_everything_else_fails(stack: Stack) -> None:
    proof = await proof_of(stack, draw(load("no_fault")))
    assert proof.ok
    assert {item.name: item.passed for item in proof.checks} == {
        cheat.name: cheat.name == "do_nothing" for cheat in CHEATS
    }


@pytest.mark.asyncio
async def test_the_world_is_as_before_and_the_sensors_see_again(stack: Stack) -> None:
    before = stack.declared.read_bytes()
    await proof_of(stack, killed())
    assert stack.declared.read_bytes() == before
    assert stack.serves
    assert stack.injector().open() == ()
    assert stack.killed == [("sensors-1", "STOP"), ("sensors-1", "KILL")]


@pytest.mark.asyncio
async def test_an_oracle_that_does_not_see_its_fault_is_not_proven(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(_injector: Injector, spec: Spec) -> Evidence:
        return Evidence(False, f"{spec.target} looks fine")

    async def inject(_injector: Injector, _spec: Spec) -> None:
        stack.platform.workloads["orders"] = replace(stack.platform.workloads["orders"], state="stopped")

    monkeypatch.setattr(Injector, "evidence", blind)
    monkeypatch.setattr(Injector, "inject", inject)
    proof = await proof_of(stack, killed())
    assert not proof.ok
    live = next(item for item in proof.checks if item.name == LIVE)
    assert live.detail == "not seen in the world: service_killed on orders is gone"


@pytest.mark.asyncio
async def test_an_oracle_that_counts_no_starts_is_found_out_by_the_loop(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Witness.baseline

    async def forgetful(self: Witness) -> Baseline:
        world = await look(self)
        return replace(world, workloads={name: replace(w, restarts=0) for name, w in world.workloads.items()})

    monkeypatch.setattr(Witness, "baseline", forgetful)
    proof = await proof_of(stack, killed())
    assert [item.name for item in proof.checks if not item.holds] == ["restart_everything", "restart_in_a_loop"]


@pytest.mark.asyncio
async def test_a_cheat_that_the_platform_refuses_is_told_and_scores_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: ShopPlatform, name: str, *, key: str) -> Effect:
        raise NotManagedError(f"{name} is not managed")

    monkeypatch.setattr(ShopPlatform, "stop", refuse)
    proof = await proof_of(stack, killed())
    refused = [item for item in proof.checks if item.refused]
    assert [(item.name, item.refused, item.holds) for item in refused] == [
        ("scale_to_zero", "orders is not managed", True)
    ]


@pytest.mark.asyncio
async def test_a_world_that_is_not_green_is_no_world_to_prove_anything_in(stack: Stack) -> None:
    stack.declared.with_name("inventory.json.kept").write_bytes(stack.declared.read_bytes())
    stack.platform.workloads["orders"] = replace(stack.platform.workloads["orders"], managed=False, state="failed")

    async def dead(name: str) -> None:
        return

    stack.faults.start = dead  # type: ignore[method-assign]
    with pytest.raises(StackDownError, match="does not become green"):
        await proof_of(stack, killed())
    assert stack.killed == []


@pytest.mark.asyncio
async def test_a_proof_beside_a_run_is_refused(stack: Stack) -> None:
    with only_run(stack.home, "chaos1"), pytest.raises(ConflictError, match="chaos1"):
        await proof_of(stack, killed())
    assert stack.killed == []


@pytest.mark.asyncio
async def test_an_objective_that_a_dead_process_left_loosened_is_put_back(stack: Stack) -> None:
    before = stack.declared.read_bytes()
    stack.hand().loosen()
    stack.hand().loosen()
    assert Inventory.decode(stack.declared.read_bytes()).objective.success_ratio == 0.0
    await stack.hand().put_back()
    assert stack.declared.read_bytes() == before
    assert not stack.declared.with_name("inventory.json.kept").exists()
