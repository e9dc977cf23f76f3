"""A recording said again on a memory broker: the same messages, believed by who holds the new keys, each in time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contracts.control import Timer
from broker.contracts.incident import IncidentReported
from broker.errors import Refusal, WrongChannelError
from broker.gate import Gate
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from harness.errors import BadRecordingError
from harness.rebroadcast import Gaps, Line, Voices, gaps, opened, say, score_of, stamps
from harness.recording import Recording
from harness.replay import Door
from tests.support.cli import Cli, cli_of
from tests.support.recordings import NIGHTLY, SIGNED, events_of, fixture
from tests.support.signing import master

SECOND = 1_000_000


@dataclass
class Clock:
    """Time that only sleeping moves; the journal's clock goes with it."""

    journal: MemoryJournal
    now_s: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await self.journal.advance(seconds)

    def read(self) -> float:
        return self.now_s


def lines_of(name: str) -> tuple[Line, ...]:
    return opened(fixture(name)).lines


async def said(lines: tuple[Line, ...], speed: float = 1.0) -> tuple[list[Stored], Clock]:
    """Say the lines on a new journal; return what stands there."""
    journal = MemoryJournal()
    clock = Clock(journal)
    broker = MemoryBroker(journal, "replay", "admin")
    voices = Voices(master(), clock=lambda: journal.now_us)
    stand = await say(lines, broker, voices, speed=speed, sleep=clock.sleep, clock=clock.read)
    stored = [item async for item in broker.read(follow=False) if isinstance(item, Stored)]
    assert stand == tuple(item.seq for item in stored)
    assert await stamps(broker, stand) == [item.time_us for item in stored]
    return stored, clock


@pytest.mark.asyncio
@pytest.mark.parametrize("name", NIGHTLY)
async def test_every_message_is_believed_again_with_the_same_payload(name: str) -> None:
    lines = lines_of(name)
    stored, _ = await said(lines)
    assert [item.subject for item in stored] == [line.subject for line in lines]
    gate = Gate(master().restricted_to("reader"))
    for line, item in zip(lines, stored, strict=True):
        trusted = gate.admit(item)
        assert trusted.message == line.message
        assert trusted.envelope.sender == line.sender
        assert item.time_us - trusted.envelope.ts == line.lag_us


@pytest.mark.asyncio
async def test_causes_point_at_the_same_messages_in_the_new_journal() -> None:
    lines = lines_of(SIGNED)
    stored, _ = await said(lines)
    places = {line.original.seq: item.seq for line, item in zip(lines, stored, strict=True)}
    gate = Gate(master())
    for line, item in zip(lines, stored, strict=True):
        assert gate.admit(item).envelope.cause == places.get(line.cause, 0)
    assert any(line.cause in places for line in lines)


@pytest.mark.asyncio
@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
async def test_the_gaps_are_the_recorded_ones_divided_by_the_speed(speed: float) -> None:
    lines = lines_of(SIGNED)
    stored, clock = await said(lines, speed)
    kept = gaps(lines, [item.time_us for item in stored], speed)
    assert kept.messages == len(lines)
    assert kept.worst_ms < 0.01, "a clock that only sleeping moves is late by rounding alone"
    assert clock.now_s == pytest.approx(lines[-1].at_s / speed)


@pytest.mark.asyncio
async def test_what_was_refused_is_said_as_it_stood_and_is_refused_again() -> None:
    first, *_ = lines_of(SIGNED)
    forged = replace(first, message=None)
    [item], _ = await said((forged,))
    assert item.data == first.original.data
    with pytest.raises(Refusal):
        Gate(master()).admit(item)


def test_a_subject_on_which_nobody_may_speak_is_left_out() -> None:
    recording = Recording(fixture(SIGNED))
    events = list(recording.events())[:3]
    orders = replace(events[1], subject="$JS.API.STREAM.DELETE.TRIAGE")
    lines = score_of(Door(recording), (events[0], orders, events[2]))
    assert [line.original for line in lines] == [events[0], events[2]]


@pytest.mark.asyncio
async def test_somebody_who_speaks_in_between_changes_nothing() -> None:
    lines = lines_of(SIGNED)
    journal = MemoryJournal()
    clock = Clock(journal)
    broker = MemoryBroker(journal, "replay", "admin")
    report = IncidentReported(incident="inc-mine", text="what is this", source="operator")

    def told(count: int, line: Line) -> None:
        if count == 10:
            journal.store(report.subject(), b"said by a visitor")

    voices = Voices(master(), clock=lambda: journal.now_us)
    stand = await say(lines, broker, voices, told=told, sleep=clock.sleep, clock=clock.read)
    assert stand == (*range(1, 11), *range(12, len(lines) + 2))
    assert gaps(lines, await stamps(broker, stand), 1.0).worst_ms < 0.01


@pytest.mark.asyncio
async def test_a_speed_that_is_none_is_refused() -> None:
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            await said((), speed)


def test_a_sender_that_is_no_role_has_no_voice() -> None:
    first, *_ = lines_of(SIGNED)
    with pytest.raises(WrongChannelError, match="none of the roles"):
        Voices(master()).frame(replace(first, sender="nobody/1"), {})


def test_recordings_hold_timers_that_came_due() -> None:
    """What the broker itself copies into the journal is said on its due subject."""
    lines = [line for name in NIGHTLY for line in lines_of(name) if isinstance(line.message, Timer)]
    for line in lines:
        assert line.subject.startswith("triage.due.")


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30), st.floats(0.1, 20))
def test_a_journal_that_keeps_time_has_no_gaps_to_speak_of(spans: list[float], speed: float) -> None:
    lines = timed(spans)
    stamps = [round(7 * SECOND + line.at_s * SECOND / speed) for line in lines]
    kept = gaps(lines, stamps, speed)
    assert kept.worst_ms <= 0.002
    assert kept.drift_ms <= 0.002


@given(st.lists(st.floats(0, 5), min_size=2, max_size=30), st.data(), st.integers(20, 2_000))
def test_one_late_message_is_found(spans: list[float], data: st.DataObject, late_ms: int) -> None:
    lines = timed(spans)
    stamps = [round(line.at_s * SECOND) for line in lines]
    place = data.draw(st.integers(1, len(lines) - 1))
    stamps[place:] = [stamp + late_ms * 1_000 for stamp in stamps[place:]]
    assert gaps(lines, stamps, 1.0).worst_ms == pytest.approx(late_ms, abs=0.01)


def timed(spans: list[float]) -> list[Line]:
    """Return lines that far apart; only their moments matter."""
    moments = [sum(spans[:n]) for n in range(len(spans))]
    return [Line(at_s, "triage.x", Stored(n, 0, "triage.x", b""), None) for n, at_s in enumerate(moments, 1)]


def test_no_messages_have_no_gaps() -> None:
    assert gaps((), (), 1.0) == Gaps(0, 0.0, 0.0, 0.0, 0.0)


def test_a_recording_of_somebody_else_is_not_said(tmp_path: Path) -> None:
    with pytest.raises(BadRecordingError, match="is signed by"):
        opened(fixture(SIGNED), signed_by=bytes(32))


def test_what_was_admitted_then_is_admitted_now() -> None:
    for name in NIGHTLY:
        assert len(events_of(fixture(name))) == len([line for line in lines_of(name) if line.message is not None])


class TestCommand:
    @pytest.fixture
    def cli(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
        return cli_of(tmp_path / "home", capsys, monkeypatch)

    @pytest.mark.parametrize(
        "options",
        [("--speed", "2"), ("--stay",), ("--live", "--speed", "0"), ("--live", "--swap", "planner=rulebook")],
    )
    def test_options_that_do_not_go_together_are_refused(self, cli: Cli, options: tuple[str, ...]) -> None:
        assert cli("replay", str(fixture(SIGNED)), *options).code == 2

    def test_a_recording_that_is_none_is_refused_before_a_server_is_started(self, cli: Cli, tmp_path: Path) -> None:
        path = tmp_path / "r"
        path.write_bytes(b"hello")
        cli("replay", str(path), "--live").refused(5, "is no recording")
