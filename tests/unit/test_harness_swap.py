"""Another planner on a recorded world: the same until it is not, and then both plans are shown."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.port import Stored
from harness.decisions import Change
from harness.errors import BadRecordingError
from harness.recording import Recorder, Recording
from harness.swap import Ask, swap
from tests.support.cli import Cli, cli_of
from tests.support.recordings import NIGHTLY, SIGNED, fixture, rewritten, with_payload


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def answering(target: str, fault_class: str, outcome: str = "ok") -> Ask:
    """Return a model that always says the same."""

    async def ask(prompt: PlanPrompted) -> PlanAnswered:
        text = json.dumps({"target": target, "fault_class": fault_class, "confidence": 0.9, "evidence": "it says so"})
        fields = {"incident": prompt.incident, "version": prompt.version, "attempt": prompt.attempt}
        return PlanAnswered.model_validate(
            {
                **fields,
                "outcome": outcome,
                "response": text if outcome == "ok" else "",
                "prompt_hash": prompt.prompt_hash,
                "response_hash": hashlib.sha256(text.encode()).hexdigest(),
                "model": "test",
                "settings": {},
                "error": "" if outcome == "ok" else "nobody listens",
            }
        )

    return ask


def blaming(tmp_path: Path, target: bytes) -> Path:
    """Return the drift as a planner would have seen it that blamed somebody else first."""
    events = Recording(fixture(SIGNED)).events()
    wanted = next(stored.seq for stored in events if stored.subject.endswith(".proposed"))

    def change(stored: Stored) -> Stored:
        old, new = b'"hypothesis":{"target":"orders"', b'"hypothesis":{"target":"%s"' % target
        return with_payload(stored, old, new) if stored.seq == wanted else stored

    return rewritten(fixture(SIGNED), tmp_path / "blaming.recording", change)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", NIGHTLY)
async def test_the_planner_that_was_recorded_never_parts_from_itself(name: str) -> None:
    found = await swap(fixture(name), "rulebook")
    assert found.recorded_mode == "rulebook"
    assert found.parting is None
    assert found.proposals >= 1
    assert found.asked == 0


@pytest.mark.asyncio
async def test_planners_part_at_the_first_plan_that_blames_another(tmp_path: Path) -> None:
    found = await swap(blaming(tmp_path, b"catalog"), "rulebook")
    assert found.parting is not None
    assert (found.parting.version, found.parting.attempt) == (1, 1)
    assert found.parting.changes == (Change("target", "catalog", "orders"),)
    assert found.parting.recorded is not None
    assert found.parting.other is not None
    assert (found.parting.recorded.target, found.parting.other.target) == ("catalog", "orders")
    assert any(task.startswith("reconcile orders") for task in found.parting.other.tasks)
    whole = await swap(fixture(SIGNED), "rulebook")
    assert found.events < whole.events, "what comes after the parting is not this planner's world"


@pytest.mark.asyncio
async def test_a_model_that_says_the_same_goes_the_same_way() -> None:
    found = await swap(fixture(SIGNED), "test", answering("orders", "config_drift"))
    assert found.asked >= 1
    assert found.unanswered == ()
    beliefs = {"target", "fault_class"}
    assert found.parting is None or not beliefs & {change.field for change in found.parting.changes}


@pytest.mark.asyncio
async def test_what_a_model_would_have_done_instead_is_told() -> None:
    found = await swap(fixture(SIGNED), "test", answering("catalog", "process_down"))
    assert found.asked >= 1
    assert found.parting is not None
    assert found.parting.other is not None
    assert found.parting.other.tasks != (found.parting.recorded.tasks if found.parting.recorded else ())


@pytest.mark.asyncio
async def test_a_model_that_is_away_is_said_and_the_rulebook_stands_in() -> None:
    found = await swap(fixture(SIGNED), "test", answering("orders", "config_drift", "unreachable"))
    assert found.unanswered == ("unreachable: nobody listens",) * found.asked
    assert found.asked >= 1
    assert found.parting is None


@pytest.mark.asyncio
async def test_a_recording_without_a_planner_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.recording"
    header = Recording(fixture(SIGNED)).header
    kept = tuple(machine for machine in header.machines if machine.name != "planner")
    with Recorder(path, replace(header, machines=kept)) as recorder:
        recorder.finish(None)
    with pytest.raises(BadRecordingError, match="holds no planner"):
        await swap(path, "rulebook")


class TestCommand:
    def test_planners_that_agree_end_well(self, cli: Cli) -> None:
        ran = cli("replay", str(fixture(SIGNED)), "--swap", "planner=rulebook")
        assert ran.code == 0
        assert "same: rulebook proposes what the recorded planner proposed" in ran.out

    def test_planners_that_part_end_with_one_and_both_plans(self, cli: Cli, tmp_path: Path) -> None:
        ran = cli("replay", str(blaming(tmp_path, b"catalog")), "--swap", "planner=rulebook")
        assert ran.code == 1
        for words in ("they part at plan 1, attempt 1", "config_drift on catalog", "config_drift on orders"):
            assert words in ran.out

    @pytest.mark.parametrize("what", ["rulebook", "planner", "planner=", "planner=gpt", "scheduler=rulebook"])
    def test_what_names_no_planner_is_refused(self, cli: Cli, what: str) -> None:
        ran = cli("replay", str(fixture(SIGNED)), "--swap", what)
        assert ran.code == 2
        assert "names no planner" in ran.err

    def test_an_address_where_nobody_answers_is_said(self, cli: Cli) -> None:
        cli("replay", str(fixture(SIGNED)), "--swap", "planner=http://127.0.0.1:9/v1").refused(7, "no model answers")
