"""What stands in the journal never drives the terminal: control characters are shown, not obeyed."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import typer
from rich.table import Table
from rich.text import Text

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import Verified
from broker.contracts.task import Result
from broker.gate import Trusted
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from harness.cli.app import guarded
from harness.cli.incidents import line
from harness.cli.live import lines, render
from harness.cli.output import Terminal, emit_json, emit_json_line, out
from harness.cli.report import print_closed
from harness.control import ControlPlane, Refused
from harness.errors import NotVerifiedError
from harness.score import score
from harness.story import Story
from harness.terminal import visible
from tests.support.cli import Cli, cli_of
from tests.support.signing import gate, master, signer
from tests.support.world import shop_inventory
from tests.unit.test_harness_story import BEGINNING, INCIDENT, PLAN, claim, told

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\x85end"
DRIVING = [
    chr(n) for n in (*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
]


def assert_tame(text: str) -> None:
    """Fail if a terminal would obey any of it."""
    assert not [f"U+{ord(c):04X}" for c in text if c in DRIVING], text.encode()
    assert "owned" in text  # shown, not swallowed


def hostile(message: Contract, **changes: object) -> Contract:
    """Return a message as an older or foreign writer may have left it in the journal: no contract has looked at it."""
    return message.model_copy(update=changes)


def story() -> Story:
    """Return the story of an incident in which every text is hostile."""
    reported, proposed, accepted = BEGINNING
    task = PLAN.tasks[2].model_copy(update={"target": f"orders{HOSTILE}"})
    plan = PLAN.model_copy(update={"tasks": (*PLAN.tasks[:2], task, PLAN.tasks[3])})
    plan = plan.model_copy(update={"hypothesis": plan.hypothesis.model_copy(update={"target": HOSTILE})})
    result = Result.model_validate(
        {
            "incident": INCIDENT, "task_id": "v1-t3", "attempt": 1, "kind": "action", "instance": "action-agent-1",
            "status": "OK", "out": "mended", "changed": True,
        }
    )  # fmt: skip
    check = Verified(
        incident=INCIDENT, n=1, plan_version=1, ok=False, reasons=(), window_s=5.0, samples=6, success_ratio=1.0
    )
    closed = IncidentClosed(incident=INCIDENT, verdict="unresolved", reason="r", plan_version=1, actions=1)
    return told(
        hostile(reported, text=HOSTILE),
        hostile(proposed, plan=plan),
        accepted,
        hostile(claim("t3", "a"), instance=HOSTILE),
        hostile(claim("t3", "a"), instance=f"b{HOSTILE}"),
        hostile(result, out=HOSTILE),
        hostile(check, reasons=(HOSTILE,)),
        hostile(closed, reason=HOSTILE),
    )


@pytest.mark.parametrize("character", [*DRIVING, "\u2028", "\u200f", "\udcff"])
def test_every_character_that_drives_a_terminal_is_shown(character: str) -> None:
    shown = visible(f"a{character}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert f"{ord(character):x}" in shown
    assert visible(shown) == shown


def test_what_people_write_stays_as_it_is() -> None:
    text = "Zoë 李 🛒 שלום — naïve\n\ttwo lines \\x1b"
    assert visible(text) == text


def test_the_story_holds_no_text_that_drives_a_terminal() -> None:
    told_ = story()
    assert told_.tasks["t3"].state == "done"
    assert_tame(repr(told_.closed) + told_.text + "".join(told_.notes) + "".join(told_.actions))


def test_the_lines_of_a_pipe_are_tame_and_each_is_one() -> None:
    said = lines(story())
    assert_tame("\n".join(said))
    forged = lines(told(hostile(BEGINNING[0], text="down\nclosed: verified: met")))
    assert [text for text in forged if "\n" in text or text.startswith("closed")] == []


@pytest.mark.parametrize("tty", [False, True])
def test_every_view_is_tame_on_a_terminal_and_in_a_pipe(tty: bool) -> None:
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=tty, color_system=None, width=100, legacy_windows=False)
    table = Table("agent")
    table.add_row(Text(HOSTILE))
    for shown in (render(story(), width=100), HOSTILE, Text(HOSTILE, style="bold"), table):
        console.print(shown)
    assert_tame(file.getvalue())


def test_styles_and_the_cursor_still_reach_the_terminal() -> None:
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=True, color_system="standard", width=40)
    console.print(Text("red", style="red"))
    console.show_cursor(False)
    assert "\x1b[31mred\x1b[0m" in file.getvalue()
    assert "\x1b[?25l" in file.getvalue()


def test_the_report_at_the_end_is_tame(capsys: pytest.CaptureFixture[str]) -> None:
    told_ = story()
    closed = IncidentClosed(incident=INCIDENT, verdict="unresolved", reason="r", plan_version=1, actions=1)
    raw = closed.model_copy(update={"reason": HOSTILE})
    print_closed(told_, raw, score(INCIDENT, [Event(9, 9, raw.subject(), raw, "test-1")], injected_at=None))
    assert_tame(capsys.readouterr().out)


def test_an_error_that_quotes_the_journal_is_tame(capsys: pytest.CaptureFixture[str]) -> None:
    command = typer.Typer()

    @command.command()
    def fail() -> None:
        raise NotVerifiedError(f"inc-1 was closed unresolved: {HOSTILE} \udcff")

    assert guarded(command, []) == 5
    assert_tame(capsys.readouterr().err)


def test_json_says_the_same_without_driving_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for emit in (emit_json, emit_json_line):
        emit({"text": f"{HOSTILE}\udcff é"})
        said = capsys.readouterr().out
        assert_tame(said)
        assert "é" in said
        assert json.loads(said) == {"text": f"{HOSTILE}\udcff é"}


def test_a_refused_message_cannot_drive_the_terminal_either(capsys: pytest.CaptureFixture[str]) -> None:
    out.print(line(Refused(Stored(1, 1, f"triage.{HOSTILE}", b""), "bad_frame", HOSTILE)))
    assert_tame(capsys.readouterr().out)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_the_tail_of_the_journal_is_tame(cli: Cli, monkeypatch: pytest.MonkeyPatch, json_: tuple[str, ...]) -> None:
    journal = MemoryJournal()
    message = IncidentReported(incident=INCIDENT, text="x", source="operator").model_copy(update={"text": HOSTILE})

    class Unchecked(ControlPlane):
        """Lets in a text that the contract of today would refuse."""

        async def follow(self, start: int, *, follow: bool = True) -> AsyncIterator[Trusted]:
            keys = signer("operator", journal=journal)
            frame = keys.seal(IncidentReported(incident=INCIDENT, text="x", source="operator"))
            admitted = gate("operator").admit(Stored(1, journal.now_us, message.subject(), frame))
            yield Trusted(admitted.stored, admitted.envelope, message)

    @asynccontextmanager
    async def connect(home: Path) -> AsyncIterator[ControlPlane]:
        ring = master().restricted_to("operator")
        broker = MemoryBroker(journal, "operator-1", "operator")
        yield Unchecked(home, broker, ring, signer("operator", journal=journal), shop_inventory())

    monkeypatch.setattr("harness.cli.incidents.connect", connect)
    assert_tame(cli("tail", *json_).out)
