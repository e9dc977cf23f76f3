"""What a benchmark is given by mistake: one sentence, the right exit code, and nothing of the world touched."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from broker.port import Stored
from harness.manifest import Manifest, PartSum
from harness.recording import Header, Recorder
from harness.run_lock import only_run
from injector.fault import World
from injector.injector import Injector
from injector.journal import FaultJournal
from tests.support.cli import Cli, cli_of
from tests.support.world import FakeFaults, shop_inventory

KILLED = {"fault": "service_killed", "target": "orders"}
GOOD = {"name": "mine", "summary": "s", "faults": [KILLED], "expect": {"verdict": "verified", "max_actions": 1}}
EARLY = {"report": {"at_s": 2, "text": "down"}, "faults": [KILLED | {"at_s": 5}]}


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The CLI in an empty folder, with a home in which no stack is up."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("TRIAGE_PLATFORM", raising=False)
    return cli_of(tmp_path / "home", capsys, monkeypatch)


class Untouchable(FakeFaults):
    """A world whose every verb is a failure of the test."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("kill", "stop", "start", "freeze", "set_environment", "set_link", "hog"):
            pytest.fail(f"the world was touched: {name}")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("service_kiled",), 3, "service_killed"),
        (("service_killed", "--target", "order"), 2, "it applies to orders"),
        (("service_killed", "--target", "../etc"), 2, "does not apply to '../etc'"),
        (("cpu_hog", "--arg", "processes=99"), 2, "processes"),
        (("cpu_hog", "--arg", "processes"), 2, "name=number"),
        (("dns_broken",), 4, "cannot be made on the embedded platform"),
    ],
)
def test_an_unknown_fault_or_target_breaks_nothing_and_is_not_noted(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, words: str
) -> None:
    journal = FaultJournal(tmp_path / "faults")
    subject = Injector(World(Untouchable(), shop_inventory(), "embedded"), journal)
    monkeypatch.setattr("harness.cli.faults._injector", lambda: subject)
    cli("inject", *arguments).refused(code, words)
    assert list(journal) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"faults": [KILLED | {"fault": "service_kiled"}]}, "faults.0: there is no fault"),
        ({"faults": [KILLED | {"target": "moon"}]}, "does not apply to 'moon'"),
        (EARLY, "report.at_s: at 2 s nothing is broken yet"),
        ({"faults": [KILLED | {"at_s": 200}]}, "faults.0.at_s: at 200 s the run is over"),
    ],
)
def test_a_suite_with_a_scenario_that_contradicts_itself_starts_nothing(
    cli: Cli, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    Path("mine.json").write_text(json.dumps(GOOD | changes))
    cli("suite", "--set", "mine.json").refused(2, "mine.json cannot be run", words)
    assert [path.name for path in Path().iterdir()] == ["mine.json"]
    assert not (tmp_path / "home").exists()


class OfOthers:
    """A stack that is up, and on which somebody else runs something."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def is_up(self) -> bool:
        return True


@contextmanager
def taken(home: Path, what: str) -> Iterator[None]:
    home.mkdir()
    with only_run(home, what):
        yield


@pytest.mark.parametrize("other", ["a suite", "chaos1", "scenario validate"])
def test_a_suite_beside_another_run_is_refused_and_the_other_one_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.setattr("harness.cli.suite._stack", lambda: OfOthers(tmp_path / "home"))
    with taken(tmp_path / "home", other):
        cli("suite", "--set", "no_fault").refused(4, f"{other} (process ", "wait for its end")
    assert not list(Path("results/no_fault").glob("report.*")), "a report of nothing was written"


def rewritten(tmp_path: Path, change: Callable[[list[Any]], None]) -> Path:
    """Return a recording of which `change` has edited the objects."""
    path = tmp_path / "run.recording"
    with Recorder(path, Header("db_conn_drift", 42, 0.0, "inc-1", ())) as recorder:
        for n in range(1, 9):
            recorder.add(Stored(n, n, "triage.telemetry.orders", b"envelope %d" % n))
        recorder.finish(None)
    objects = list(msgpack.Unpacker(io.BytesIO(path.read_bytes()), raw=False))
    change(objects)
    path.write_bytes(b"".join(bytes(msgpack.packb(item, use_bin_type=True)) for item in objects))
    return path


@pytest.mark.parametrize("command", [("replay",), ("replay", "--live"), ("diff",)])
def test_a_recording_of_a_newer_format_is_refused_by_its_number(
    cli: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = str(rewritten(tmp_path, lambda objects: objects[0].update(version=7)))
    cli(*command, path, *([path] if command == ("diff",) else [])).refused(5, "format version 7, which is newer")


@pytest.mark.parametrize("command", [("replay",), ("diff",)])
def test_a_recording_whose_manifest_does_not_fit_is_refused_by_the_part(
    cli: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    def forge(objects: list[Any]) -> None:
        said = Manifest.decode(objects[-1]["manifest"])
        parts = {**said.parts, "telemetry": PartSum(events=8, sha256="0" * 64)}
        objects[-1].update(manifest=said.model_copy(update={"parts": parts}).encode())

    path = str(rewritten(tmp_path, forge))
    ran = cli(*command, path, *([path] if command == ("diff",) else []))
    ran.refused(5, "manifest does not fit its content: its hash of telemetry")
