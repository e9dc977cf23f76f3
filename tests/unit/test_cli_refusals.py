"""What the CLI refuses: one sentence on standard error, the right exit code, never a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stamina
import typer

from auditor_svc.report import Fault, Report
from broker import keyring
from broker.contracts.incident import MAX_TEXT
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from harness.cli.app import guarded
from harness.cli.output import emit_json
from harness.control import ControlPlane
from harness.recording import Header, Recorder
from injector.fault import World
from injector.injector import Injector
from injector.journal import FaultJournal
from services.platform.port import (
    NotManagedError,
    PlatformDownError,
    PlatformError,
    UnknownWorkloadError,
    VerbFailedError,
)
from tests.support.cli import Cli, cli_of
from tests.support.signing import master, signer
from tests.support.world import FakeFaults, shop_inventory

MEGABYTE = 1 << 20
GOOD = {"name": "mine", "summary": "s", "expect": {"verdict": "verified", "max_actions": 1}}


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The CLI on a home in which no stack is up."""
    monkeypatch.delenv("TRIAGE_PORT_BASE", raising=False)
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def scenario(tmp_path: Path, **changes: object) -> str:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD | changes))
    return str(path)


def recording(tmp_path: Path) -> Path:
    path = tmp_path / "run.recording"
    with Recorder(path, Header("db_conn_drift", 42, 0.0, "inc-1", ())) as recorder:
        for n in range(1, 20):
            recorder.add(Stored(n, n, "triage.telemetry.orders", b"envelope %d" % n))
        recorder.finish(None)
    return path


class TestIncidentTexts:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is empty"),
            (" \n\t ", "is empty"),
            ("the shop \x07 is down", "control character U+0007"),
            ("\x1b[2Jgone", "control character U+001B"),
            ("x" * MEGABYTE, "1,048,576 characters, at most 8,192"),
            ("binary \udcff\udc00 argument", "text"),
        ],
    )
    def test_a_text_that_cannot_be_taken_is_refused(self, cli: Cli, text: str, words: str) -> None:
        cli("report", text).refused(4, words)

    @pytest.mark.parametrize(
        ("stdin", "words"),
        [
            (b"", "is empty"),
            (b"\x00\x01\x02", "control character U+0000"),
            (b"\xff\xfe\x00binary", "no UTF-8 text (byte 0)"),
            (b"x" * MEGABYTE, "at most 8,192 characters"),
            ("é".encode() * MEGABYTE, "at most 8,192 characters"),
            (b"x" * (MAX_TEXT + 1), "8,193 characters, at most 8,192"),
        ],
    )
    def test_so_is_one_on_standard_input(self, cli: Cli, stdin: bytes, words: str) -> None:
        cli("report", "-", stdin=stdin).refused(4, words)

    def test_a_full_journal_takes_no_report_and_keeps_what_it_had(
        self, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal = MemoryJournal()

        @asynccontextmanager
        async def connect(home: Path) -> AsyncIterator[ControlPlane]:
            broker = MemoryBroker(journal, "operator-1", "operator")
            ring = master().restricted_to("operator")
            yield ControlPlane(home, broker, ring, signer("operator", journal=journal), shop_inventory())

        monkeypatch.setattr("harness.cli.incidents.connect", connect)
        assert cli("report", "the shop is down").code == 0
        journal.faults.full = True
        cli("report", "the shop is down").refused(7, "the journal is full", "was not stored")
        journal.faults.full = False
        assert "the shop is down" in cli("tail").out
        assert cli("report", "and again").code == 0


class TestTheOperatorsWords:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("halt", "--reason", "a\x1bb"),
            ("resume", "--reason", "a\x1bb"),
            ("deny", "inc-1", "v1-t1", "--reason", "a\x1bb"),
        ],
    )
    def test_a_reason_with_control_characters_is_refused(self, cli: Cli, arguments: tuple[str, ...]) -> None:
        cli(*arguments).refused(4, "reason", "control character U+001B")

    @pytest.mark.parametrize("command", ["halt", "resume"])
    def test_so_is_one_that_is_no_text(self, cli: Cli, command: str) -> None:
        cli(command, "--reason", "binary \udcff\udc00").refused(4, "reason")

    @pytest.mark.parametrize("name", ["a\x1bb", "a b", "*", ">", "a.b", ""])
    def test_what_is_no_name_of_an_incident_or_a_task_is_refused(self, cli: Cli, name: str) -> None:
        cli("approve", name, "v1-t1").refused(4, "incident")
        cli("deny", name, "v1-t1").refused(4, "incident")
        cli("approve", "inc-1", name).refused(4, "task_id")
        cli("tail", "--incident", name).refused(4, "incident")


class TestErrorsOfThePlatform:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (PlatformDownError("the process manager does not answer"), 7),
            (UnknownWorkloadError("no workload is called orders"), 3),
            (VerbFailedError("orders does not run"), 1),
            (NotManagedError("loadgen is not managed"), 4),
        ],
    )
    def test_each_is_one_sentence_from_inject_heal_and_run(
        self, cli: Cli, error: PlatformError, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        class Broken(FakeFaults):
            async def is_running(self, name: str) -> bool:
                raise error

        journal = FaultJournal(tmp_path / "faults")
        broken = Injector(World(Broken(), shop_inventory()), journal)
        monkeypatch.setattr("harness.cli.faults._injector", lambda: broken)
        cli("inject", "service_stopped").refused(code, f"service_stopped on orders: {error}")
        (opened,) = journal
        cli("heal", opened.id).refused(code, str(error))
        cli("heal", "--all").refused(code, str(error), opened.id)

        async def play(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("harness.cli.runs.play", play)
        cli("run", "no_fault").refused(code, str(error))


class TestAuditTrails:
    def test_a_missing_export_is_said_before_anything_else(self, cli: Cli, tmp_path: Path) -> None:
        cli("audit", "verify", "--export", str(tmp_path / "none.jsonl")).refused(3, "none.jsonl", "no such file")
        cli("audit", "verify", "--export", str(tmp_path)).refused(3, str(tmp_path))

    def test_an_export_is_verified_without_a_stack(self, cli: Cli, tmp_path: Path) -> None:
        home = tmp_path / "home"
        (home / "keys").mkdir(parents=True)
        (home / "passphrase").write_text("correct horse")
        (home / "passphrase").chmod(0o600)
        ring = keyring.create_master(home / "keys" / "master.keys", "correct horse")
        keyring.derive_role_file(ring, "operator", home / "keys" / "operator.keys", "correct horse")
        (tmp_path / "audit.jsonl").write_text("no export\n")
        cli("audit", "verify", "--export", str(tmp_path / "audit.jsonl")).refused(5, "audit.jsonl")

    def test_without_keys_the_missing_one_is_named(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "audit.jsonl").write_text("no export\n")
        cli("audit", "verify", "--export", str(tmp_path / "audit.jsonl")).refused(4, str(tmp_path / "home"))

    @pytest.mark.parametrize("ok", [True, False])
    def test_notes_are_said_and_every_fault_is_counted(
        self, cli: Cli, monkeypatch: pytest.MonkeyPatch, ok: bool
    ) -> None:
        faults = () if ok else (Fault("edited", 7, "row 7 was edited"),)
        note = "the append-only trigger of envelopes is missing or switched off"
        found = Report(ok, 9, "ab" * 32, 9, 2, 0, 0 if ok else 4_711, faults, (note,))

        async def verify_audit(_: Path) -> Report:
            return found

        monkeypatch.setattr("harness.cli.audit.verify_audit", verify_audit)
        ran = cli("audit", "verify")
        assert note in ran.out
        assert ran.code == (0 if ok else 5)
        assert ok or "4711 faults" in ran.err


class TestFiles:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"nois": 0.2}, "unknown key 'nois'; did you mean 'noise'"),
            ({"faults": [{"fault": "service_killed", "target": "orders", "at_s": -1}]}, "greater than or equal to 0"),
            ({"report": {"at_s": -0.5, "text": "down"}}, "greater than or equal to 0"),
            ({"timeout_s": -1}, "greater than 0"),
        ],
    )
    def test_a_scenario_that_cannot_be_run_is_refused(
        self, cli: Cli, tmp_path: Path, changes: dict[str, object], words: str
    ) -> None:
        cli("run", scenario(tmp_path, **changes)).refused(2, "mine.json cannot be run", words)

    def test_a_scenario_file_of_noise_is_refused(self, cli: Cli, tmp_path: Path) -> None:
        path = tmp_path / "noise.json"
        path.write_bytes(bytes(range(256)))
        cli("run", str(path)).refused(2, "noise.json cannot be run")

    def test_an_unknown_scenario_names_the_nearest(self, cli: Cli) -> None:
        cli("run", "db_con_drift").refused(3, "did you mean db_conn_drift")

    def test_the_specs_own_form_refuses_before_it_starts_anything(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "harness", "--scenario", scenario(tmp_path, sed=1), "--seed", "42"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env={"TRIAGE_HOME": str(tmp_path)})
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "unknown key 'sed'; did you mean 'seed'" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]

    def test_a_recording_that_was_cut_is_refused(self, cli: Cli, tmp_path: Path) -> None:
        path = recording(tmp_path)
        path.write_bytes(path.read_bytes()[:-40])
        cli("replay", str(path)).refused(5, "cut")

    def test_a_recording_that_was_edited_is_refused(self, cli: Cli, tmp_path: Path) -> None:
        path = recording(tmp_path)
        path.write_bytes(path.read_bytes().replace(b"envelope 7", b"envelope 8"))
        cli("replay", str(path)).refused(5, "edited: event 7")

    def test_what_is_no_recording_is_refused(self, cli: Cli, tmp_path: Path) -> None:
        path = tmp_path / "x.recording"
        path.write_bytes(b"no recording at all")
        cli("replay", str(path)).refused(5)
        cli("replay", str(tmp_path / "missing")).refused(3)

    def test_a_folder_takes_no_recording(self, cli: Cli, tmp_path: Path) -> None:
        ran = cli("run", "no_fault", "--record", str(tmp_path))
        assert ran.code == 2
        assert "is a folder" in ran.err


class TestWithoutAStack:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("status",),
            ("down",),
            ("agents",),
            ("report", "the shop is down"),
            ("tail",),
            ("halt",),
            ("resume",),
            ("kill", "nats"),
            ("inject", "service_killed"),
            ("heal", "--all"),
            ("run", "no_fault"),
            ("audit", "verify"),
            ("keys", "list"),
            ("keys", "rotate"),
        ],
    )
    def test_every_command_that_needs_one_says_so(self, cli: Cli, arguments: tuple[str, ...]) -> None:
        cli(*arguments).refused(7, "triage up")

    def test_the_lists_need_none(self, cli: Cli) -> None:
        assert "db_conn_drift" in cli("scenarios").out
        assert any(row["fault"] == "cache_poison" for row in json.loads(cli("faults", "--json").out))

    @pytest.mark.parametrize("base", ["80", "70000", "port", "²", "١٧٤٠٠", "-17400", "9" * 5_000])
    def test_a_first_port_that_is_none_is_refused(self, cli: Cli, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRIAGE_PORT_BASE", base)
        cli("up").refused(2, "TRIAGE_PORT_BASE")
        cli("doctor").refused(2, "TRIAGE_PORT_BASE")

    def test_a_home_that_holds_other_files_is_refused(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "letters.txt").write_text("mine")
        cli("up").refused(2, "letters.txt")
        assert (tmp_path / "home" / "letters.txt").read_text() == "mine"


class TestUsage:
    @pytest.mark.parametrize("arguments", [("bogus",), ("run",), ("heal",), ("run", "no_fault", "--noise", "2")])
    def test_wrong_usage_is_2(self, cli: Cli, arguments: tuple[str, ...]) -> None:
        ran = cli(*arguments)
        assert ran.code == 2
        assert "Traceback" not in ran.err

    def test_an_interrupt_is_130(self) -> None:
        command = typer.Typer()

        @command.command()
        def wait() -> None:
            raise KeyboardInterrupt

        assert guarded(command, []) == 130

    def test_what_a_library_logs_of_a_retry_is_no_part_of_the_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        command = typer.Typer()

        @command.command()
        def read() -> None:
            for attempt in stamina.retry_context(on=ConnectionError, wait_initial=0.0, wait_jitter=0.0, attempts=3):
                with attempt:
                    if attempt.num < 3:
                        raise ConnectionError
            emit_json({"ok": True})

        assert guarded(command, []) == 0
        said = capsys.readouterr()
        assert json.loads(said.out) == {"ok": True}
        assert said.err == ""
