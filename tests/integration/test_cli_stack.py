"""The CLI on a running stack: what it shows and refuses, halt and resume, rotation under load, hostile messages."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ConfigDict

from auditor_svc import api
from broker import jetstream
from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Event
from broker.contracts.plan import PlanAccepted, PlanProposed
from broker.contracts.task import Result, Task
from broker.envelope import Signer
from broker.gate import Trusted
from broker.subjects import Role
from deploy.embedded.layout import layout
from harness.control import Seen, connect
from harness.run import Outcome, Runner
from harness.scenario import draw, load
from harness.site import open_site
from services.inventory.ports import port
from tests.faults.conftest import await_healthy, running_stack
from tests.support.cli import Cli, cli_of
from tests.support.plans import plan, task
from tests.support.runs import assert_audit_holds, assert_ended_verified, assert_recovered, run

pytestmark = pytest.mark.stack

QUIET_S = 6.0
"""Journal time for which nothing may act: several times what planning and acting take."""
PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def stack_home() -> Iterator[Path]:
    with running_stack() as home:
        yield home


@pytest.fixture
def home(stack_home: Path) -> Path:
    """Give the module's stack, healthy."""
    await_healthy(stack_home)
    return stack_home


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(home, capsys, monkeypatch)


class LoosePlan(Contract):
    """A proposal as a broken planner might sign it: arguments that are no scalars, a ninth task, an unknown field."""

    TYPE: ClassVar[str] = "plan.proposed"
    incident: str
    version: int = 1
    attempt: int = 1
    plan: dict[str, object]
    origin: str = "rulebook"
    decision_tag: str = "DETERMINISTIC"

    def subject(self) -> str:
        return f"triage.plan.{self.incident}.v{self.version}.a{self.attempt}.proposed"


class LooseTelemetry(Contract):
    """A telemetry frame as a broken sensor might sign it: NaN, and fields missing."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=True, ser_json_inf_nan="constants")
    TYPE: ClassVar[str] = "telemetry"
    device_id: str
    status: str = "OK"
    metrics: dict[str, float]

    def subject(self) -> str:
        return f"triage.telemetry.{self.device_id}"


def speak(home: Path, role: Role, *messages: Contract) -> list[int]:
    """Publish messages with a role's own keys and connection; return where they stand."""

    async def body() -> list[int]:
        site = open_site(home)
        ring = site.keys.load(role)
        name = f"{role}-9"
        broker = await jetstream.connect(site.nats_url, role=role, instance=name, password=ring.broker_password())
        try:
            signer = Signer(role, name, ring)
            return [await broker.publish(message.subject(), signer.seal(message)) for message in messages]
        finally:
            await broker.close()

    return asyncio.run(body())


def refused_by(home: Path, role: str, reason: str) -> float:
    """Return a role's counter of refusals of one name, as /metrics tells it."""
    base = json.loads(layout(home).stack.read_bytes())["port_base"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port(base, role)}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    wanted = f'triage_envelopes_refused_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.1)


class TestReading:
    def test_every_reading_command_speaks_json(self, cli: Cli) -> None:
        programs = json.loads(cli("status", "--json").out)["programs"]
        assert all(program["healthy"] for program in programs)
        agents = json.loads(cli("agents", "--json").out)
        assert {row["kind"] for row in agents} == {"log", "metric", "action", "runbook"}
        assert all(row["connected"] and row["works_on"] == [] for row in agents)
        assert json.loads(cli("faults", "--open", "--json").out) == []
        assert json.loads(cli("keys", "list", "--json").out)["current"] >= 1
        assert json.loads(cli("audit", "verify", "--json").out)["ok"] is True
        assert next(row for row in json.loads(cli("doctor", "--json").out) if row["name"] == "stack")["ok"]
        rows = [json.loads(line) for line in cli("tail", "--telemetry", "-n", "5", "--json").out.splitlines()]
        assert len(rows) >= 5
        assert {"seq", "subject", "hmac", "payload"} <= set(rows[0])

    def test_the_tables_fit_eighty_columns(self, cli: Cli) -> None:
        for command in ("status", "agents"):
            lines = cli(command).out.splitlines()
            assert max(len(line.rstrip()) for line in lines[:-1]) <= 80
            assert sum("action-agent-1" in line for line in lines) == 1


class TestRefusals:
    def test_a_wrong_passphrase_opens_nothing_and_harms_nothing(self, cli: Cli, home: Path) -> None:
        file = layout(home).passphrase
        right = file.read_bytes()
        try:
            file.write_text("not this one\n")
            for command in (("report", "orders fails"), ("tail",), ("keys", "list"), ("keys", "rotate"), ("halt",)):
                cli(*command).refused(4, "passphrase")
        finally:
            file.write_bytes(right)
        assert cli("keys", "list").code == 0

    def test_a_second_up_is_refused_and_the_first_goes_on(self, cli: Cli) -> None:
        cli("up").refused(4, "a stack is up under")
        assert cli("status").code == 0

    def test_a_port_in_use_is_named_with_its_owner(
        self, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRIAGE_PORT_BASE", str(json.loads((home / "stack.json").read_bytes())["port_base"]))
        other = cli_of(tmp_path / "other", capsys, monkeypatch)
        other("up").refused(4, "is in use by ", "TRIAGE_PORT_BASE")
        other("status").refused(7, "no stack is up")

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (("inject", "service_kiled"), 3, "service_killed"),
            (("inject", "service_killed", "--target", "ordres"), 2, "orders"),
            (("inject", "cpu_hog", "--arg", "many"), 2, "name=number"),
            (("heal", "f-unknown"), 3, "f-unknown"),
            (("kill", "action-agent-7"), 3, "did you mean action-agent-"),
            (("approve", "inc-1", "v1-t1"), 3, "waits for approval"),
        ],
    )
    def test_what_does_not_exist_is_named(self, cli: Cli, arguments: tuple[str, ...], code: int, words: str) -> None:
        cli(*arguments).refused(code, words)

    def test_an_interrupt_ends_tail_quietly(self, home: Path) -> None:
        command = [sys.executable, "-m", "harness.cli.app", "--home", str(home), "tail", "-f", "--telemetry"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            assert "triage." in tail.stdout.readline()
            tail.send_signal(signal.SIGINT)
            _, said = tail.communicate(timeout=20)
        assert tail.returncode == 130
        assert "Traceback" not in said


def test_malformed_plans_and_telemetry_are_refused_counted_and_audited_and_harm_nothing(home: Path) -> None:
    """Signed with the planner's and the sensors' own keys, they are refused by name and the next scenario recovers."""
    before = {role: refused_by(home, role, "wrong_schema") for role in ("scheduler-1", "monitor-1")}
    audited = asyncio.run(api.refusal_counts(open_site(home).audit_dsn)).get("wrong_schema", 0)
    good = plan(*(task(f"t{n}") for n in range(9))).model_dump(mode="json")
    wrong = {**good, "tasks": [{**good["tasks"][0], "args": {"pattern": ["a", "list"]}}]}
    plans = (LoosePlan(incident="inc-w1", plan=wrong), LoosePlan(incident="inc-w2", plan={**good, "sudo": True}))
    frames = (
        LooseTelemetry(device_id="orders", metrics={"cpu_load": float("nan")}),
        LooseTelemetry(device_id="orders", metrics={}),
    )
    stand_at = [*speak(home, "planner", *plans), *speak(home, "sensors", *frames)]

    for role, was in before.items():
        until(lambda role=role, was=was: refused_by(home, role, "wrong_schema") >= was + len(stand_at), role)  # type: ignore[misc]
    until(
        lambda: (
            asyncio.run(api.refusal_counts(open_site(home).audit_dsn)).get("wrong_schema", 0) >= audited + len(stand_at)
        ),
        "the auditor has them by name",
    )
    assert_recovered(run(home, draw(load("db_conn_drift"), seed=7)))
    assert_audit_holds(home)


def test_a_plan_with_a_cycle_or_nine_tasks_that_nobody_asked_for_changes_nothing(home: Path) -> None:
    """Well formed and well signed, yet never asked for: it is never judged, let alone carried out."""
    cycle = plan(task("t1", "t2"), task("t2", "t1"))
    nine = plan(*(task(f"t{n}") for n in range(9)), number=2)
    said = [
        PlanProposed(incident=name, version=1, attempt=1, plan=bad, origin="rulebook", decision_tag="DETERMINISTIC")
        for name, bad in (("inc-cycle", cycle), ("inc-nine", nine))
    ]
    start = speak(home, "planner", *said)[0]
    assert_recovered(run(home, draw(load("service_killed"), seed=3)))
    ours = [e for e in events(home, start) if getattr(e.payload, "incident", "") in ("inc-cycle", "inc-nine")]
    assert [type(event.payload) for event in ours] == [PlanProposed, PlanProposed]


def test_while_halted_nothing_acts_and_after_resume_it_is_repaired(cli: Cli, home: Path) -> None:
    start = last(home) + 1
    assert cli("halt", "--reason", "a test").code == 0
    try:
        assert cli("inject", "db_conn_drift", "--target", "orders").code == 0
        incident = json.loads(cli("report", "orders cannot reach its database", "--json").out)["incident"]
        begun = time_of_last(home)
        until(lambda: time_of_last(home) >= begun + QUIET_S, "the journal goes on while halted")
        quiet = events(home, start)
        assert not [e.payload for e in quiet if isinstance(e.payload, Result) and e.payload.changed]
        assert not [e for e in quiet if isinstance(e.payload, IncidentClosed)]
    finally:
        assert cli("resume").code == 0
    until(lambda: any(_closes(e, incident) for e in events(home, start)), "the incident is closed after the halt")
    after = events(home, start)
    closed = next(e.payload for e in after if _closes(e, incident))
    assert isinstance(closed, IncidentClosed)
    assert closed.verdict == "verified", closed
    assert [e for e in after if isinstance(e.payload, Result) and e.payload.changed]
    assert cli("heal", "--all").code == 0


def test_keys_are_rotated_in_the_middle_of_a_scenario(home: Path) -> None:
    """Every role goes on under the new version, nothing is refused, and the run ends verified."""
    command = [sys.executable, "-m", "harness.cli.app", "--home", str(home), "keys", "rotate"]
    rotating: list[subprocess.Popen[bytes]] = []
    versions: set[int] = set()

    def watch(item: Seen) -> None:
        if not isinstance(item, Trusted):
            return
        versions.add(item.envelope.key_version)
        if isinstance(item.message, PlanAccepted | Task) and not rotating:
            rotating.append(subprocess.Popen(command))

    async def run(name: str) -> Outcome:
        async with connect(home) as control:
            return await Runner(home, control, watch).run(draw(load(name), seed=11))

    outcome = asyncio.run(run("db_conn_drift"))
    # On a busy machine the second pass may come after the run's end, so another one looks at what is signed then.
    assert [process.wait(60) for process in rotating] == [0]
    assert_ended_verified(outcome)
    after = asyncio.run(run("no_fault"))
    assert (outcome.refused, after.refused) == (0, 0)
    assert len(versions) == 2, "envelopes of both key versions were seen"
    assert_audit_holds(home)


def test_a_suite_is_run_reported_held_against_gates_and_not_run_twice(cli: Cli, home: Path, tmp_path: Path) -> None:
    """A fault that somebody left open is healed before it; the world is proved to be as before after it."""
    assert cli("inject", "cache_poison").code == 0
    words = ("suite", "--set", "db_conn_drift", "--out", str(tmp_path / "results"))
    ran = cli(*words, "--gate", "SR=1", "--gate", "FALSE_ACTIONS=0", "--json")
    assert ran.code == 0, ran
    (one,) = json.loads(ran.out)["runs"]
    assert (one["ok"], one["family"], one["planned_by"]) == (True, "configuration", "rulebook")
    assert one["located"] is not None
    assert one["clean_up"]["proved"]
    assert {"world", "monitor", "planner", "agents", "verdict"} <= {mark["lane"] for mark in one["marks"]}
    assert one["figures"]["platform_s"] == one["figures"]["recover_s"] > 0
    assert json.loads(cli("faults", "--open", "--json").out) == []
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        *("report.html", "report.json", "runs", "scores.json", "summary.md")
    }
    start = last(home)
    cli(*words, "--gate", "MTTR=0.001").refused(5, "1 of 1 gates do not hold", "MTTR is ")
    assert not [event for event in events(home, start) if isinstance(event.payload, IncidentClosed)]


def _closes(event: Event, incident: str) -> bool:
    return isinstance(event.payload, IncidentClosed) and event.payload.incident == incident


def events(home: Path, start: int) -> list[Event]:
    """Return the journal's trusted messages from a sequence on."""

    async def body() -> list[Event]:
        async with connect(home) as control:
            found = [item async for item in control.follow(start, follow=False)]
        return [item.event() for item in found if isinstance(item, Trusted)]

    return asyncio.run(body())


def last(home: Path) -> int:
    async def body() -> int:
        async with connect(home) as control:
            return await control.broker.last_sequence()

    return asyncio.run(body())


def time_of_last(home: Path) -> float:
    """Return the broker's time of the newest telemetry of the traffic, seconds."""

    async def body() -> float:
        async with connect(home) as control:
            stored = await control.broker.last("triage.telemetry.loadgen")
        return 0.0 if stored is None else stored.time_us / 1e6

    return asyncio.run(body())
