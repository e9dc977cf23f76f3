"""The runner when things go wrong: it says what really happened, and heals whatever it can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from broker.memory import MemoryBroker, MemoryJournal
from broker.port import CaughtUp
from deploy.embedded.errors import StackError
from harness import run as module
from harness.cli.context import sentence
from harness.control import ControlPlane, Seen
from harness.embedded import Embedded
from harness.errors import ConflictError, StackDownError, TimedOutError
from harness.oracle import Clause, Oracle
from harness.record import JournalTap
from harness.run import Runner
from harness.run_lock import only_run
from harness.scenario import Draw, draw, load
from injector.collateral import Baseline, Witness
from injector.embedded import open_injector
from injector.errors import NotHealedError
from injector.fault import Spec
from injector.injector import Injector
from injector.journal import FaultJournal, OpenFault
from services.inventory.declared import TRAFFIC_RATE, TRAFFIC_SEED
from tests.support.signing import master, signer
from tests.support.world import shop_inventory


class Control(ControlPlane):
    """A control plane whose journal ends, or cannot be followed, as a test says."""

    trouble: Exception | None = None
    silent = False

    async def follow(self, start: int, *, follow: bool = True) -> AsyncIterator[Seen]:
        yield CaughtUp(0)
        if (trouble := type(self).trouble) is not None:
            raise trouble
        if type(self).silent:
            await asyncio.Event().wait()


class Stuck(Injector):
    """An injector with a fault that cannot be mended."""

    async def heal_all(self) -> tuple[OpenFault, ...]:
        raise NotHealedError("1 of 1 open faults could not be healed: service_killed-orders-1")


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A runner on an empty home, whose journal a test can break."""
    (tmp_path / "inventory.json").write_bytes(shop_inventory().encode())
    monkeypatch.setattr(Embedded, "injector", lambda stack: open_injector(stack.home))
    monkeypatch.setattr(Control, "trouble", None)
    monkeypatch.setattr(Control, "silent", False)

    async def baseline(_: Witness) -> Baseline:
        return Baseline({})

    monkeypatch.setattr(Witness, "baseline", baseline)
    journal = MemoryJournal()
    ring = master().restricted_to("operator")
    broker = MemoryBroker(journal, "operator-1", "operator")
    control = Control(tmp_path, broker, ring, signer("operator", journal=journal), shop_inventory())
    return Runner(tmp_path, control)


def short(name: str = "no_fault", timeout_s: float = 0.2) -> Draw:
    """Return a scenario without faults, reported at once, that ends soon."""
    drawn = draw(load(name))
    scenario = drawn.scenario.model_copy(update={"timeout_s": timeout_s, "kills": ()})
    return drawn.model_copy(update={"scenario": scenario, "faults": (), "report_at_s": 0.0})


@pytest.fixture
def green(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A load generator that takes every setting; gives what it was told."""
    told: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            told.append(json.loads(request.content))
        stats = {"success_ratio": 1.0, "p95_ms": 9.0, "sent": 100, "rate": 20}
        return httpx.Response(200, json=stats)

    client = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **kw: client(**kw, transport=httpx.MockTransport(answer)))
    return told


@pytest.mark.asyncio
async def test_a_follower_that_dies_ends_the_run_with_its_own_error(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "trouble", StackError("action-agent-1 does not run; see `triage status`"))
    with pytest.raises(StackError, match="action-agent-1 does not run"):
        await runner.run(short(timeout_s=30.0))


@pytest.mark.asyncio
async def test_a_journal_that_ends_while_it_is_followed_is_said_as_such(
    runner: Runner, green: list[dict[str, object]]
) -> None:
    with pytest.raises(StackDownError, match="journal ended"):
        await runner.run(short(timeout_s=30.0))


@pytest.mark.asyncio
async def test_an_incident_that_goes_on_was_not_closed_in_time(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "silent", True)
    with pytest.raises(TimedOutError, match=r"incident inc-\w+ was not closed within 0\.2 s"):
        await runner.run(short())


@pytest.mark.asyncio
async def test_a_run_in_which_nothing_is_reported_says_so(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "silent", True)
    with pytest.raises(TimedOutError, match=r"no incident was opened within 0\.2 s"):
        await runner.run(short().model_copy(update={"text": None}))


@pytest.mark.asyncio
async def test_a_run_has_its_own_load_and_leaves_the_declared_one(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "silent", True)
    with pytest.raises(TimedOutError):
        await runner.run(short())
    declared = {"seed": TRAFFIC_SEED, "noise": 0.0, "rate": TRAFFIC_RATE}
    assert green == [{"seed": 42, "noise": 0.2, "rate": TRAFFIC_RATE}, declared]


@pytest.mark.asyncio
async def test_a_run_that_came_to_its_end_leaves_the_declared_load_too(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = object()

    async def ran(*_: object) -> object:
        assert green[-1]["noise"] == 0.2
        return outcome

    monkeypatch.setattr(Runner, "_run", ran)
    assert await runner.run(short()) is outcome
    assert green[1:] == [{"seed": TRAFFIC_SEED, "noise": 0.0, "rate": TRAFFIC_RATE}]


@pytest.mark.asyncio
async def test_a_load_that_cannot_be_set_back_does_not_hide_why_the_run_failed(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object) -> None:
        raise StackDownError("the load generator does not answer")

    monkeypatch.setattr(Control, "silent", True)
    monkeypatch.setattr(module, "reset_load", gone)
    with pytest.raises(TimedOutError, match="was not closed within") as caught:
        await runner.run(short())
    assert sentence(caught.value).endswith("the run's load is still set: the load generator does not answer")


@pytest.mark.asyncio
async def test_what_cannot_be_healed_does_not_hide_why_the_run_failed(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "silent", True)
    monkeypatch.setattr(Injector, "heal_all", Stuck.heal_all)
    with pytest.raises(TimedOutError, match="was not closed within") as caught:
        await runner.run(short())
    assert "was not closed within" in sentence(caught.value)
    assert "service_killed-orders-1" in sentence(caught.value)


@pytest.mark.asyncio
async def test_a_world_that_is_never_green_is_said_although_healing_fails_too(
    runner: Runner, green: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sick(_: object) -> Clause:
        return Clause("users are served", False, "only 3 requests")

    monkeypatch.setattr(module, "GREEN_TIMEOUT_S", 0.0)
    monkeypatch.setattr(Oracle, "served_now", sick)
    monkeypatch.setattr(Injector, "heal_all", Stuck.heal_all)
    with pytest.raises(StackDownError, match="not healthy before the scenario"):
        await runner.run(short())


@pytest.mark.asyncio
async def test_what_a_run_that_was_killed_has_left_in_the_world_is_healed_before_the_next_one(
    runner: Runner, green: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FaultJournal(tmp_path / "faults").begin(Spec("service_killed", "orders"), "2026-01-01T00:00:00Z")
    healed: list[str] = []

    async def heal_all(injector: Injector) -> tuple[OpenFault, ...]:
        healed.extend(fault.id for fault in injector.open())
        raise NotHealedError("the process manager does not answer")

    monkeypatch.setattr(Injector, "heal_all", heal_all)
    with pytest.raises(NotHealedError):
        await runner.run(short())
    assert healed[:1] == ["service_killed-orders-1"]


@pytest.mark.asyncio
async def test_a_second_run_on_the_same_stack_is_refused_by_name_and_touches_nothing(
    runner: Runner, green: list[dict[str, object]], tmp_path: Path
) -> None:
    with only_run(tmp_path, "broker_killed"), pytest.raises(ConflictError, match=r"broker_killed \(process \d+\) runs"):
        await runner.run(short())
    assert green == []


@pytest.mark.asyncio
async def test_a_run_that_failed_leaves_the_stack_free_for_the_next_one(
    runner: Runner, green: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "silent", True)
    with pytest.raises(TimedOutError):
        await runner.run(short())
    with only_run(tmp_path, "next"):
        assert (tmp_path / "run.lock").read_text().startswith("next ")


@pytest.mark.asyncio
async def test_a_recording_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = MemoryJournal()
    ring, broker = master().restricted_to("operator"), MemoryBroker(journal, "cli", "operator")
    control = ControlPlane(tmp_path, broker, ring, signer("operator", journal=journal), shop_inventory())
    with pytest.raises(OSError, match="file"):
        await JournalTap.open(control, tmp_path / "file" / "x.recording", draw(load("no_fault")))
    with pytest.raises(StackDownError, match="has never run here"):
        await JournalTap.open(control, tmp_path / "new" / "x.recording", draw(load("no_fault")))
    assert list((tmp_path / "new").iterdir()) == []
