"""Two runs beside each other: what counts as the same decision, where they part, and what led there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contracts.plan import PlanProposed
from broker.gate import Trusted
from broker.port import Stored
from harness.compose.delegate import is_delegated, translate
from harness.decisions import DEPTH, Change, Run, causes, differences, run_of
from harness.diff import Comparison, compare
from harness.recording import Header, Recorder, Recording
from harness.replay import Door
from harness.sources import recorded
from tests.support.cli import Cli, cli_of
from tests.support.recordings import SIGNED, fixture, rewritten, with_payload

INCIDENT = Recording(fixture(SIGNED)).header.incident
JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def changed(tmp_path: Path, ending: str, old: bytes, new: bytes) -> Path:
    """Return the recording with one decision changed: the first whose subject ends so."""
    events = Recording(fixture(SIGNED)).events()
    wanted = next(stored.seq for stored in events if stored.subject.endswith(ending))

    def change(stored: Stored) -> Stored:
        return with_payload(stored, old, new) if stored.seq == wanted else stored

    return rewritten(fixture(SIGNED), tmp_path / "changed.recording", change)


def other_run(tmp_path: Path) -> Path:
    """Return the same story as another run would tell it: another incident's name, other moments."""
    recording = Recording(fixture(SIGNED))
    incident = recording.header.incident.encode()

    def change(stored: Stored) -> Stored:
        if incident.decode() not in stored.subject:
            return stored
        subject = stored.subject.replace(incident.decode(), "inc-another0")
        renamed = with_payload(stored, incident, b"inc-another0") if incident in stored.data else stored
        return replace(renamed, subject=subject, time_us=stored.time_us + 1_500)

    path = rewritten(fixture(SIGNED), tmp_path / "other.recording", change)
    header = replace(recording.header, incident="inc-another0")
    return rewritten_header(path, tmp_path / "another.recording", header)


def rewritten_header(source: Path, target: Path, header: Header) -> Path:
    with Recorder(target, header) as recorder:
        for stored in Recording(source).events():
            recorder.add(stored)
        recorder.finish(None)
    return target


def compared(a: Path, b: Path, *, exact: bool = False) -> Comparison:
    return compare(recorded(a), recorded(b), exact=exact)


class TestRuns:
    def test_a_run_is_the_same_as_itself_byte_for_byte(self) -> None:
        found = compared(fixture(SIGNED), fixture(SIGNED), exact=True)
        assert found.same
        assert found.decisions[0] == found.decisions[1] > 10

    def test_another_run_of_the_same_story_is_the_same_in_essence_and_not_in_bytes(self, tmp_path: Path) -> None:
        path = other_run(tmp_path)
        assert compared(fixture(SIGNED), path).same
        exact = compared(fixture(SIGNED), path, exact=True)
        assert exact.first is not None
        assert exact.first.changes[0].field == "subject"

    def test_another_cause_is_found_in_the_planners_first_proposal(self, tmp_path: Path) -> None:
        path = changed(tmp_path, ".proposed", b'"fault_class":"config_drift"', b'"fault_class":"process_down"')
        found = compared(fixture(SIGNED), path)
        assert found.first is not None
        assert (found.first.machine, found.first.number) == ("planner", 1)
        assert found.first.changes == (Change("fault_class", "config_drift", "process_down"),)
        assert found.first.a is not None
        assert found.first.b is not None
        assert '"fault_class":"config_drift"' in found.first.a.text
        assert '"fault_class":"process_down"' in found.first.b.text
        assert found.first.a.led_by[0].seq < found.first.a.seq

    def test_a_measured_figure_alone_is_no_other_decision(self, tmp_path: Path) -> None:
        path = changed(tmp_path, ".proposed", b'"confidence":0.', b'"confidence":0.0')
        assert compared(fixture(SIGNED), path).same
        assert not compared(fixture(SIGNED), path, exact=True).same

    def test_a_run_that_ends_sooner_parts_where_the_other_goes_on(self, tmp_path: Path) -> None:
        events = list(Recording(fixture(SIGNED)).events())
        path = tmp_path / "short.recording"
        closed = next(n for n, stored in enumerate(events) if stored.subject == f"triage.incident.{INCIDENT}.closed")
        with Recorder(path, Recording(fixture(SIGNED)).header) as recorder:
            for stored in events[:closed]:
                recorder.add(stored)
            recorder.finish(None)
        first = compared(fixture(SIGNED), path).first
        assert first is not None
        assert (first.machine, first.b, first.changes) == ("scheduler", None, ())

    def test_the_first_parting_is_the_earliest_of_all_machines(self, tmp_path: Path) -> None:
        path = changed(tmp_path, ".proposed", b'"target":"orders"', b'"target":"catalog"')
        found = compared(fixture(SIGNED), path)
        assert found.first is not None
        assert found.first.after_s == min(item.after_s for item in found.machines.values())


class TestCauses:
    def run(self, links: dict[int, int], tmp: Callable[[int, int], Trusted]) -> Run:
        return run_of("r", "", [tmp(seq, cause) for seq, cause in links.items()])

    def trusted(self, seq: int, cause: int) -> Trusted:
        recording = Recording(fixture(SIGNED))
        door = Door(recording)
        found = next(t for t in map(door.admit, recording.events()) if t is not None)
        stored, envelope = replace(found.stored, seq=seq), found.envelope._replace(cause=cause)
        return found._replace(stored=stored, envelope=envelope)

    def test_a_row_of_causes_is_followed_back_to_its_beginning(self) -> None:
        run = self.run({1: 0, 2: 1, 5: 2}, self.trusted)
        assert [trusted.stored.seq for trusted in causes(run, 5)] == [5, 2, 1]

    def test_causes_that_lead_in_circles_end(self) -> None:
        run = self.run({1: 2, 2: 2, 3: 9}, self.trusted)
        assert [trusted.stored.seq for trusted in causes(run, 2)] == [2]
        assert len(causes(run, 3)) == 1

    def test_a_long_row_is_cut(self) -> None:
        run = self.run({n: n - 1 for n in range(1, 20)}, self.trusted)
        assert len(causes(run, 19)) == DEPTH


@given(JSON)
def test_nothing_differs_from_itself(value: object) -> None:
    assert differences(value, value) == ()


@given(JSON, JSON)
def test_what_differs_differs_both_ways(one: object, other: object) -> None:
    assert bool(differences(one, other)) == bool(differences(other, one))
    assert json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) or differences(one, other)


class TestCommand:
    def test_the_same_run_twice_ends_well(self, cli: Cli) -> None:
        ran = cli("diff", str(fixture(SIGNED)), str(fixture(SIGNED)))
        assert (ran.code, ran.err) == (0, "")
        assert "same in essence" in ran.out

    def test_runs_that_part_show_both_texts_and_end_with_one(self, cli: Cli, tmp_path: Path) -> None:
        path = changed(tmp_path, ".proposed", b'"fault_class":"config_drift"', b'"fault_class":"process_down"')
        ran = cli("diff", str(fixture(SIGNED)), str(path))
        assert ran.code == 1
        for words in ("decision 1 of the planner", "fault_class", "config_drift", "process_down", "led by event"):
            assert words in ran.out

    def test_json_tells_the_whole(self, cli: Cli, tmp_path: Path) -> None:
        path = changed(tmp_path, ".proposed", b'"fault_class":"config_drift"', b'"fault_class":"process_down"')
        ran = cli("diff", str(fixture(SIGNED)), str(path), "--json")
        told = json.loads(ran.out)
        assert (ran.code, told["same"], [one["field"] for one in told["first"]["changes"]]) == (
            1,
            False,
            ["fault_class"],
        )
        PlanProposed.decode(told["first"]["b"]["text"].encode())

    def test_a_missing_recording_is_not_found(self, cli: Cli, tmp_path: Path) -> None:
        cli("diff", str(fixture(SIGNED)), str(tmp_path / "none")).refused(3, "cannot be read")

    def test_a_live_journal_needs_a_stack(self, cli: Cli) -> None:
        cli("diff", str(fixture(SIGNED)), "live").refused(7, "no stack is up")

    def test_beside_containers_only_a_live_journal_is_asked_inside(self) -> None:
        assert not is_delegated(("diff", "a", "b"))
        assert is_delegated(("diff", "a", "live:inc-1"))
        call = translate(("diff", "a.recording", "live"), "u", is_file=lambda path: path.name == "a.recording")
        assert [path.name for path, _ in call.sent] == ["a.recording"]
        assert call.arguments[2] == "live"
