"""Two schedulers at once change nothing but resilience: not with a killed one, and not with a question to the operator.

One stack for all. Its planner asks a stand-in for a model for whole plans; the stand-in asks back where the report says
so, and writes the plan of the drift scenario everywhere else. What the operator then does goes through the CLI.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed
from broker.contracts.plan import PlanAccepted, PlanRequested
from broker.gate import Trusted
from deploy.embedded.layout import layout
from harness.control import connect
from harness.scenario import KillStep
from services.inventory.ports import port
from tests.faults.conftest import await_healthy, running_stack
from tests.support import model_server
from tests.support.cli import Cli, cli_of
from tests.support.model_server import ModelServer, always, completion
from tests.support.runs import (
    assert_audit_holds,
    assert_nothing_happened_twice,
    assert_recovered,
    drift_with,
    run,
)

pytestmark = pytest.mark.stack

REPORT = "the warehouse says parcels were odd this morning"
QUESTION = "Was anything deployed this morning?"
ANSWER = "no, and the warehouse has miscounted"
ASKS = json.dumps({"tasks": [], "clarifying_task": {"task_id": "q1", "question": QUESTION}})
LOOKS = json.dumps(
    {
        "hypothesis": {"target": "loadgen", "fault_class": "none", "confidence": 0.9},
        "tasks": [{"task_id": "t1", "type": "check_health", "target": "orders"}],
    }
)
MENDS = json.dumps(
    {
        "hypothesis": {"target": "orders", "fault_class": "config_drift", "confidence": 0.9},
        "tasks": [
            {"task_id": "t1", "type": "check_config", "target": "orders"},
            {"task_id": "t2", "type": "reconcile", "target": "orders", "dependencies": ["t1"]},
        ],
    }
)
PATIENCE_S = 150.0


def stand_in(path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Ask back until the operator has answered, where the report is the odd one."""
    if not path.endswith("/chat/completions"):
        return model_server.well_behaved(path, body)
    last = str(body["messages"][-1]["content"])
    if REPORT not in last:
        return 200, completion(MENDS)
    return 200, completion(LOOKS if ANSWER in last else ASKS)


@dataclass(frozen=True)
class Site:
    home: Path
    model: ModelServer


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with model_server.serving(stand_in) as model:
        settings = {"TRIAGE_PLANNER_MODE": "full", "TRIAGE_MODEL_URL": model.url}
        with running_stack(schedulers=2, settings=settings) as home:
            yield Site(home, model)


@pytest.fixture
def site(running: Site) -> Site:
    """Give the module's stack, healthy, with the model as it was at first."""
    running.model.behave = stand_in
    await_healthy(running.home)
    return running


@pytest.fixture
def cli(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(site.home, capsys, monkeypatch)


def rows_of(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    """Return what a command lists as JSON."""
    ran = cli(*arguments, "--json")
    assert ran.code == 0, ran
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def await_rows(
    cli: Cli, *arguments: str, where: Callable[[dict[str, Any]], bool], count: int = 1
) -> list[dict[str, Any]]:
    """Wait until a command lists so many rows of a kind."""
    deadline = time.monotonic() + PATIENCE_S
    while len(found := [row for row in rows_of(cli, *arguments) if where(row)]) < count:
        assert time.monotonic() < deadline, f"{arguments}: {found}"
        time.sleep(0.2)
    return found


def told_until_closed(home: Path, incident: str) -> list[Trusted]:
    """Return every admitted message of an incident, from its report to its end."""

    async def body() -> list[Trusted]:
        found: list[Trusted] = []
        async with connect(home) as control, asyncio.timeout(PATIENCE_S):
            async for item in control.follow(1):
                if isinstance(item, Trusted) and getattr(item.message, "incident", None) == incident:
                    found.append(item)
                    if isinstance(item.message, IncidentClosed):
                        return found
        raise AssertionError("the journal ended")

    return asyncio.run(body())


def counted(home: Path, program: str, metric: str) -> float:
    """Return a role's counter, over all its labels that begin like this, as /metrics tells it."""
    base = json.loads(layout(home).stack.read_bytes())["port_base"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port(base, program)}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


def test_two_schedulers_change_nothing_but_resilience(site: Site) -> None:
    """Two schedulers decide side by side; one is killed in mid-scenario and nobody notices."""
    assert_recovered(run(site.home, drift_with()))
    step = KillStep(when="plan.accepted", victim="scheduler")
    assert_recovered(run(site.home, drift_with(step, seed=43)))
    assert_nothing_happened_twice(site.home)
    assert_audit_holds(site.home)


def test_operator_is_asked_once_and_the_answer_leads_to_the_plan(site: Site, cli: Cli) -> None:
    incident = str(json.loads(cli("report", REPORT, "--json").out)["incident"])
    [asked] = await_rows(cli, "questions", where=lambda row: row["incident"] == incident)
    assert (asked["n"], asked["question"]) == (1, QUESTION)
    assert QUESTION in cli("status").out
    assert cli("answer", incident, ANSWER).code == 0
    assert [row for row in rows_of(cli, "questions") if row["incident"] == incident] == []
    cli("answer", incident, ANSWER).refused(3, f"{incident} asks nothing")
    told = told_until_closed(site.home, incident)
    once = Counter(item.stored.subject for item in told)
    assert max(once.values()) == 1, once
    kinds = Counter(type(item.message) for item in told)
    assert (kinds[IncidentAsked], kinds[IncidentAnswered], kinds[PlanRequested], kinds[PlanAccepted]) == (1, 1, 2, 1)
    [closed] = [item.message for item in told if isinstance(item.message, IncidentClosed)]
    assert (closed.verdict, closed.actions) == ("no_fault", 0)
    for name in ("scheduler-1", "scheduler-2"):
        assert counted(site.home, name, "triage_divergences_total") == 0
        assert counted(site.home, name, "triage_commands_total{") > 0, f"{name} decided nothing"
    assert_audit_holds(site.home)
    assert_runs_are_listed_shown_and_asked_again(site, cli, incident)


def shown(cli: Cli, run_id: str) -> dict[str, Any]:
    """Return a model run whole."""
    record: dict[str, Any] = json.loads(cli("llm", "show", run_id, "--json").out)
    return record


def assert_runs_are_listed_shown_and_asked_again(site: Site, cli: Cli, incident: str) -> None:
    """Hold `triage llm` against the incident's two model runs: the one that asked, and the one that planned."""
    runs = await_rows(cli, "llm", "runs", where=lambda row: row["incident"] == incident, count=2)
    asking, planning = sorted(str(row["run_id"]) for row in runs)
    assert (asking, planning) == (f"{incident}.v1.a1", f"{incident}.v1.a2")
    record = shown(cli, asking)
    assert (record["verdict"], record["question"], record["response"]) == ("asked", QUESTION, ASKS)
    assert any(REPORT in turn["content"] for turn in record["prompt"])
    second = shown(cli, planning)
    assert (second["verdict"], second["question"], second["response"]) == ("accepted", None, LOOKS)
    assert any(ANSWER in turn["content"] for turn in second["prompt"])
    cli("llm", "show", incident).refused(3, "has 2 model runs", asking)
    assert QUESTION in cli("llm", "show", asking).out
    assert "the same answer" in cli("llm", "replay", asking).out
    site.model.behave = always(200, completion(MENDS))
    cli("llm", "replay", asking).refused(5, "another answer")
    site.model.behave = always(500, b"")
    cli("llm", "replay", asking).refused(4, "cannot be asked again", "HTTP 500: it says no more")
