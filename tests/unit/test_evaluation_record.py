"""Recording of windows, on a made-up stack whose telemetry is as fast as it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.contracts.telemetry import Telemetry
from harness.errors import BadScenarioError, NotFoundError, StackDownError, TimedOutError
from harness.evaluation import tape
from harness.evaluation.library import RECORDED_KINDS, plans, read_window, window_path, write_window
from harness.evaluation.record import main, record_each
from harness.evaluation.stage import facts_of, lines_of
from harness.evaluation.tape import AFTER_S, CALM_S, MAX_LINES, record, truth_of
from injector.registry import FAULTS
from tests.support.evaluation import ORIGIN, STOP, FakeStage
from tests.support.evaluation import run_plan as plan
from tests.support.planner_world import SECOND, START_US, sample, shop


@pytest.mark.asyncio
async def test_window_holds_calm_then_the_fault_then_enough_for_the_planner() -> None:
    stage = FakeStage()
    window = await record(stage, plan(STOP), ORIGIN)
    assert stage.did == ["load 20", "inject service_stopped orders", "heal"]
    assert (window.truth.target, window.truth.fault_class) == ("orders", "process_down")
    assert window.injected_at_s == pytest.approx(CALM_S, abs=1.0)
    before = [s.telemetry.status for s in window.samples if s.at_s <= (window.injected_at_s or 0)]
    assert set(before) == {"OK"}
    assert len(before) >= CALM_S * len(shop().devices) - 1
    after = [s.telemetry.status for s in window.samples if s.telemetry.device_id == "orders"][-5:]
    assert after == ["ERROR"] * 5
    assert window.samples[-1].at_s >= window.moments[-1].at_s + AFTER_S - 0.2
    assert [moment.facts["orders"].running for moment in window.moments] == [False, False]
    assert window.logs["orders"][0].msg == "after byte 7"


@pytest.mark.asyncio
async def test_fault_that_is_over_is_healed_before_anybody_reports_and_nothing_is_the_truth() -> None:
    over = STOP.model_copy(update={"healed_after_s": 3.0})
    stage = FakeStage()
    window = await record(stage, plan(over, (10.0,)), ORIGIN)
    assert stage.did[1:] == ["inject service_stopped orders", "heal", "heal"]
    assert (window.truth.target, window.truth.fault_class) == ("loadgen", "none")
    assert window.moments[0].facts["orders"].running
    silent = [s for s in window.samples if s.telemetry.device_id == "orders" and s.telemetry.status == "ERROR"]
    assert silent


@pytest.mark.asyncio
async def test_shop_that_never_becomes_calm_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape, "CALM_TIMEOUT_S", 0.2)
    stage = FakeStage(uneasy_s=10**9)

    async def slowly() -> AsyncIterator[tuple[int, Telemetry]]:
        yield START_US, sample("catalog", START_US, {"status": "WARN"})
        await asyncio.Event().wait()

    monkeypatch.setattr(stage, "telemetry", slowly)
    with pytest.raises(TimedOutError, match="a calm shop did not come"):
        await record(stage, plan(STOP), ORIGIN)
    assert stage.did == ["load 20", "heal"]


@pytest.mark.asyncio
async def test_journal_that_ends_is_said_and_the_fault_healed() -> None:
    stage = FakeStage(ends_after_s=14)
    with pytest.raises(StackDownError, match="journal ended"):
        await record(stage, plan(STOP), ORIGIN)
    assert stage.did[-1] == "heal"


@pytest.mark.asyncio
async def test_a_recording_that_is_interrupted_twice_heals_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, following = FakeStage(), asyncio.Event()

    async def endless() -> AsyncIterator[tuple[int, Telemetry]]:
        try:
            following.set()
            await asyncio.Event().wait()
            yield START_US, sample("catalog", START_US, None)
        finally:
            recording.cancel()  # the second time, while the first one's clean-up goes on

    monkeypatch.setattr(stage, "telemetry", endless)
    recording = asyncio.create_task(record(stage, plan(STOP), ORIGIN))
    await following.wait()
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    assert stage.did == ["load 20", "heal"]


@pytest.mark.asyncio
async def test_failed_window_is_named_and_the_next_one_recorded(tmp_path: Path) -> None:
    stage = FakeStage(refuses=True)
    calm = plan(None, (1.0,)).model_copy(update={"name": "calm"})
    assert await record_each(stage, [plan(STOP), calm], tmp_path, "abc1234") == ["stopped-orders"]
    assert read_window("calm", tmp_path).truth.fault_class == "none"
    assert not window_path("stopped-orders", tmp_path).exists()


@pytest.mark.asyncio
async def test_window_survives_its_file_and_the_same_window_gives_the_same_bytes(tmp_path: Path) -> None:
    window = await record(FakeStage(), plan(STOP), ORIGIN)
    path = write_window(window, tmp_path)
    first = path.read_bytes()
    assert read_window("stopped-orders", tmp_path) == window
    write_window(window, tmp_path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08broken", b"no gzip"])
def test_damaged_window_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = window_path("w", tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BadScenarioError, match=r"w\.json\.gz is damaged"):
        read_window("w", tmp_path)


def test_window_that_was_never_recorded_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"python -m harness\.evaluation\.record"):
        read_window("nothing", tmp_path)


def test_every_plan_names_a_fault_that_the_injector_knows_and_can_make_here() -> None:
    for run in plans():
        if run.fault is not None:
            fault = FAULTS[run.fault.kind]
            assert run.fault.target in fault.targets, run.name
            assert "embedded" in fault.platforms, run.name
        assert truth_of(run, shop()).target in shop().names()


def test_every_kind_of_fault_of_this_platform_is_planned_in_both_halves() -> None:
    for half in ("tuning", "measured"):
        lasting = {r.fault.kind for r in plans() if r.half == half and r.fault and r.fault.healed_after_s is None}
        assert lasting == RECORDED_KINDS
        assert any(run.fault is None for run in plans() if run.half == half)


def test_log_lines_keep_trouble_and_raw_lines_and_leave_chatter_out() -> None:
    ours = (
        '{"ts":"2026-09-21T14:13:21.5+00:00","level":"ERROR","service":"orders","msg":"no db",'
        '"meta":{"error_code":"gaierror","traceback":"long"}}'
    )
    chatter = ours.replace("ERROR", "INFO")
    start_us = int(datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC).timestamp()) * SECOND
    found = lines_of(f"{ours}\n{chatter}\nFATAL:  \x1b[31mauthentication failed\n\n".encode(), start_us)
    assert [(line.at_s, line.level, line.msg) for line in found] == [
        (1.5, "ERROR", "no db error_code=gaierror"),
        (None, "INFO", "FATAL:   [31mauthentication failed"),
    ]


def test_of_a_flood_of_lines_the_first_and_the_newest_are_kept() -> None:
    found = lines_of("".join(f"line {n}\n" for n in range(500)).encode(), 0)
    assert [line.msg for line in found] == [f"line {n}" for n in (*range(MAX_LINES), *range(500 - MAX_LINES, 500))]


@dataclass
class Workload:
    state: str
    drift: tuple[str, ...] = ()


def test_facts_are_those_that_an_agent_would_find() -> None:
    assert facts_of(Workload("running")).meta() == {"running": True, "paused": False, "drifted": False, "sound": True}
    assert facts_of(Workload("paused")).paused
    assert not facts_of(Workload("running", ("environment",))).meta()["sound"]


def test_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["nonsense"])
    assert stop.value.code == 2
    assert "runs.json has no nonsense" in capsys.readouterr().err
