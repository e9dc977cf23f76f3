"""The six minutes as data, who waits for whom on a stage, and the measured handover."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed
from broker.contracts.monitor import AgentLost
from broker.contracts.task import Claim
from broker.envelope import Signer
from broker.gate import Trusted
from broker.port import Stored
from broker.subjects import Role
from deploy.sockets import free_port
from deploy.status import ProgramStatus, StackStatus, Tier
from harness.cli.app import app, guarded
from harness.errors import NotVerifiedError, StackDownError
from harness.recording import Recording
from harness.replay import Door, replay
from harness.stage import acts, surroundings
from harness.stage.acts import PEAK, PROMISED_MS, Handover
from harness.stage.play import Played, by_the_presenter, by_the_script, play
from harness.stage.script import SCRIPT, Step, faults_of, minutes
from harness.stage.surroundings import BUNDLED
from tests.support.signing import gate, master
from tests.support.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "demo_script.md"
TASK = "triage.task.log.inc-a1.v1-t1.a1"


class Time:
    """A clock that only moves when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def step(start_s: int, end_s: int, act: str = "talk") -> Step:
    return Step(start_s, end_s, f"step at {start_s}", ("words",), "there", "overview", act)  # type: ignore[arg-type]


def test_the_script_is_the_specifications_six_minutes_without_a_gap() -> None:
    assert faults_of(SCRIPT) == ()
    starts = [minutes(item.start_s) for item in SCRIPT]
    assert starts == ["0:00", "0:30", "1:30", "2:30", "3:00", "4:00", "4:40"]
    assert minutes(SCRIPT[-1].end_s) == "6:00"


def test_a_gap_and_a_step_without_time_are_named() -> None:
    assert faults_of((step(0, 30), step(40, 40))) == (
        "'step at 40' begins at 0:40, not at 0:30",
        "'step at 40' takes no time",
    )


def test_the_document_says_every_word_of_the_script() -> None:
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    for item in SCRIPT:
        assert f"{minutes(item.start_s)}-{minutes(item.end_s)} {item.title}" in text
        for line in (*item.say, item.look, f"#/{item.view}"):
            assert line in text


def test_by_the_script_a_step_waits_for_its_time_and_one_that_is_late_does_not() -> None:
    time = Time()
    seen: list[Played] = []

    async def slow() -> str:
        await time.sleep(50)
        return "done"

    script = (step(0, 30), step(30, 60, "peak"), step(60, 90), step(90, 120))
    asyncio.run(
        play(
            script,
            {"peak": slow},
            by_the_script(time.sleep, script),
            show=lambda _step: None,
            told=seen.append,
            clock=lambda: time.now,
        )
    )
    assert [item.began_s for item in seen] == [0, 30, 80, 90]
    assert (seen[1].acted_s, seen[1].came) == (50, "done")
    assert time.now == 100 + 120


def test_a_script_that_begins_in_its_middle_keeps_the_length_of_its_steps() -> None:
    time = Time()
    script = SCRIPT[2:]
    asyncio.run(
        play(
            script,
            {},
            by_the_script(time.sleep, script),
            show=lambda _step: None,
            told=lambda _played: None,
            clock=lambda: time.now,
        )
    )
    assert time.now == 100 + 270


def test_a_presenters_act_waits_for_enter_after_the_step_was_shown() -> None:
    happened: list[str] = []

    async def enter() -> None:
        happened.append("enter")

    async def act() -> str:
        happened.append("act")
        return ""

    asyncio.run(
        play(
            (step(0, 30, "peak"), step(30, 60)),
            {"peak": act},
            by_the_presenter(enter),
            show=lambda item: happened.append(item.title),
            told=lambda _played: None,
            clock=lambda: 0.0,
        )
    )
    assert happened == ["step at 0", "enter", "act", "step at 30", "enter"]


def test_an_act_that_fails_ends_the_script_with_its_error() -> None:
    shown: list[str] = []

    async def fails() -> str:
        raise NotVerifiedError("it was not repaired")

    script = (step(0, 30, "peak"), step(30, 60))
    with pytest.raises(NotVerifiedError, match="not repaired"):
        asyncio.run(
            play(
                script,
                {"peak": fails},
                by_the_script(Time().sleep, script),
                show=lambda item: shown.append(item.title),
                told=lambda _played: None,
                clock=lambda: 0.0,
            )
        )
    assert shown == ["step at 0"]


def heard(message: Contract, role: Role, at_us: int) -> Trusted:
    signer = Signer(role, f"{role}-1", master().restricted_to(role), clock=lambda: at_us)
    return gate("reader").admit(Stored(at_us, at_us, message.subject(), signer.seal(message)))


def claim(instance: str, attempt: int = 1) -> Claim:
    return Claim(
        incident="inc-a1", task_id="v1-t1", attempt=attempt, kind="log", instance=instance, task_seq=1, delivery="d"
    )


def test_a_handover_is_measured_from_the_loss_to_the_next_claim_of_the_same_task() -> None:
    handover, t0 = Handover(), 1_700_000_000_000_000
    lost = AgentLost(instance="log-agent-1", role="log", connection=1, reason="gone", handed_on=(TASK,))
    handover.see(heard(claim("log-agent-1"), "log", t0))
    assert handover.found == []
    handover.see(heard(lost, "monitor", t0 + 10_000))
    handover.see(heard(claim("log-agent-2", attempt=2), "log", t0 + 12_000))
    assert handover.found == []
    handover.see(heard(claim("log-agent-2"), "log", t0 + 15_000))
    assert handover.found == [("log-agent-1", "log-agent-2", 5.0)]


def test_the_bundled_recording_shows_the_first_peak_and_its_decisions_hold() -> None:
    assert replay(BUNDLED).difference is None
    recording, handover = Recording(BUNDLED), Handover()
    door = Door(recording)
    admitted = [trusted for stored in recording.events() if (trusted := door.admit(stored)) is not None]
    for trusted in admitted:
        handover.see(trusted)
    assert recording.header.scenario == PEAK
    assert [ms for _, _, ms in handover.found if ms > PROMISED_MS] == []
    assert "log-agent-1" in {lost for lost, _, _ in handover.found}
    ends = {end.incident: end.verdict for item in admitted if isinstance(end := item.message, IncidentClosed)}
    assert ends[recording.header.incident] == "verified"


@pytest.mark.asyncio
async def test_the_stacks_own_page_is_waited_for_while_it_starts_and_no_second_one_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after `up` nobody listens at its port yet; a second page would fight with it for that."""
    waited: list[str] = []

    async def answers(address: str, process: object) -> None:
        assert process is None
        waited.append(address)

    def started(*words: str) -> None:
        raise AssertionError(f"a page was started: {words}")

    monkeypatch.setattr(surroundings, "_answers", answers)
    monkeypatch.setattr(surroundings, "_triage", started)
    own = f"http://127.0.0.1:{free_port()}/"
    async with surroundings.page_up(tmp_path, own) as page:
        assert page == own
    assert waited == [own]


CHATTY = """
import json, sys, time
from pathlib import Path
home = Path(sys.argv[2])
print(json.dumps({"home": str(home)}), flush=True)
for stream in (sys.stdout, sys.stderr):
    stream.write(("x" * 99 + "\\n") * 10_000)
    stream.flush()
(home / "written").touch()
time.sleep(600)
"""
"""Says where its journal is, then a megabyte on each of its streams, and then that nothing kept it from that."""


@pytest.mark.asyncio
async def test_a_command_that_writes_much_is_not_kept_waiting_by_a_full_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "TRIAGE", (sys.executable, "-c", CHATTY))
    async with surroundings.said_again(tmp_path) as home:

        async def written() -> bool:
            return (home / "written").exists()

        await eventually(written, 60.0)


@pytest.mark.asyncio
async def test_a_recording_that_cannot_be_played_is_told_in_the_commands_own_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complains = "import sys; sys.exit('a warning\\n' * 100_000 + 'triage: it was cut')"
    monkeypatch.setattr(surroundings, "TRIAGE", (sys.executable, "-c", complains))
    with pytest.raises(StackDownError, match=r"/a\.recording cannot be played: it was cut$"):
        async with surroundings.said_again(tmp_path / "a.recording"):
            pass


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["demo", "--auto"], 2),
        (["demo", "--fallback", "bundled"], 2),
        (["demo", "--stage"], 2),
        (["demo", "--stage", "--auto", "--fallback", "/nowhere/at.all"], 3),
    ],
)
def test_what_cannot_be_played_is_said_before_anything_is_started(
    words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAGE_HOME", str(tmp_path / "home"))
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert guarded(app, words) == code
    assert not (tmp_path / "home").exists()


def program(name: str, tier: Tier, *, healthy: bool) -> ProgramStatus:
    return ProgramStatus(name, tier, "RUNNING", 1, healthy, "", 0, None, 0)


def let_the_stack_be(monkeypatch: pytest.MonkeyPatch, found: StackStatus) -> None:
    class Up:
        async def status(self) -> StackStatus:
            return found

    monkeypatch.setattr(acts, "deployment", lambda _home: Up())
    monkeypatch.setattr(acts, "WELL_S", 0.0)


def test_the_baseline_does_not_wait_for_the_page_that_nothing_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = (program("orders", "shop", healthy=True), program("dashboard", "page", healthy=False))
    let_the_stack_be(monkeypatch, StackStatus(tmp_path, None, None, programs))
    assert asyncio.run(stage(tmp_path).baseline()) == "1 programs are well, and nothing is broken"


def test_the_baseline_names_a_needed_program_that_does_not_get_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = (program("orders", "shop", healthy=False), program("dashboard", "page", healthy=False))
    let_the_stack_be(monkeypatch, StackStatus(tmp_path, None, None, programs))
    with pytest.raises(StackDownError, match="not well before the demo: orders; "):
        asyncio.run(stage(tmp_path).baseline())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"injected": 5, "recovered": 4}, "4 of 5 injected faults recovered today"),
        ({"injected": 5}, "today: injected 5, recovered not measured"),
        ({"recovered": None}, "today: injected not measured, recovered not measured"),
    ],
)
def test_a_figure_that_the_page_does_not_have_is_told_as_not_measured(
    answer: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_the_page_answer(monkeypatch, answer)
    assert asyncio.run(stage(tmp_path).figures()) == said


def test_a_page_that_answers_with_something_else_than_figures_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_the_page_answer(monkeypatch, ["of another page"])
    with pytest.raises(StackDownError, match="does not tell today's figures"):
        asyncio.run(stage(tmp_path).figures())


def let_the_page_answer(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    client = httpx.AsyncClient
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=answer))
    monkeypatch.setattr(httpx, "AsyncClient", lambda **kw: client(**kw, transport=transport))


def stage(home: Path) -> acts.Stage:
    """Return the acts of a stage without a journal."""
    return acts.Stage(home, None, "http://127.0.0.1:1/", None)  # type: ignore[arg-type]


def test_a_stack_that_ends_in_the_middle_of_a_run_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[str] = []

    class Endless:
        def __init__(self, *_: object) -> None:
            pass

        async def run(self, *_: object, **__: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.append("the run")

    class Ended:
        def is_up(self) -> bool:
            return False

    monkeypatch.setattr(acts, "Runner", Endless)
    monkeypatch.setattr(acts, "deployment", lambda _home: Ended())
    with pytest.raises(StackDownError, match="ended in the middle of a run"):
        asyncio.run(stage(tmp_path).peak())
    assert given_up == ["the run"]
