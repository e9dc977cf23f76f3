"""The dashboard's API over a journal in memory: the same paths, the same shapes (`dashboard.api.answers`), no stack.

Commands do here what the stack would make of them, at once. `python -m tests.ui.canned PORT` serves it for a look.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from auditor_svc import chain
from broker.contracts.control import ApprovalDenied, ApprovalGranted, Halt, Resume
from broker.contracts.incident import IncidentReported
from broker.contracts.monitor import AgentLost, AgentUp
from broker.contracts.task import Task
from dashboard.api import answers
from dashboard.api.core.entry import Entry, incident_of, is_noise
from dashboard.api.core.view import View
from dashboard.api.stack import catalogue
from harness.scenario import load
from harness.scenario import names as scenario_names
from injector.registry import FAULTS
from tests.ui.journal import AGENTS, Story, shop
from tests.ui.sayings import claim
from tests.ui.story import written

DIST = Path(__file__).parents[2] / "dashboard" / "web" / "dist"


def now_us() -> int:
    """Return this host's time."""
    return time.time_ns() // 1_000


class Canned:
    """One journal, its followers, and what stands beside it."""

    def __init__(self, name: str = "canned") -> None:
        self.name = name
        self.story: Story = written(now_us())
        self.faults: list[answers.OpenFault] = []
        self.done: dict[str, answers.Done] = {}
        self.commands: list[tuple[str, str]] = []
        """Idempotency key and path of every POST that came."""
        self.away = False
        """While it is, every request is answered with 503 and streams end."""
        self.deaf = False
        """While it is, the API is there and the stack's broker is not."""
        self.held: set[asyncio.Task[None]] = set()

    def tick(self) -> None:
        """Let the sensors speak once a second."""
        if now_us() - self.story.now_us > 1_000_000:
            self.said()
            self.story.telemetry(catalog=("ERROR", "ConnectionTimeout"), gateway=("WARN", ""), loadgen=("WARN", ""))

    def said(self) -> None:
        """Bring the journal's clock to now, before something is said."""
        self.story.now_us = max(self.story.now_us, now_us())

    def snapshot(self) -> answers.Snapshot:
        """Return what a page begins with."""
        newest = {entry.subject: entry for entry in self.story.entries if entry.type == "telemetry"}
        devices = shop()
        return answers.Snapshot(
            journal=self.name,
            head=len(self.story.entries),
            now_us=now_us(),
            connected=not self.deaf,
            entries=[entry for entry in self.story.entries if not is_noise(entry.subject)],
            telemetry=list(newest.values()),
            inventory=answers.World(devices=devices.devices, objective=devices.objective),
            catalogue=catalogue(),
            view=View(),
            faults_open=self.faults,
            token_needed=False,
        )

    def proof(self, seq: int) -> answers.Proof:
        """Return a message's bytes and its row."""
        row, entry = self.story.rows[seq - 1], self.story.entries[seq - 1]
        return answers.Proof(
            entry=entry,
            seq=seq,
            time_us=row.time_us,
            subject=row.subject,
            verdict=row.verdict,
            envelope=base64.b64encode(row.envelope).decode(),
            number=row.number,
            envelope_hash=row.envelope_hash.hex(),
            prev_hash=row.prev_hash.hex(),
            row_hash=row.row_hash.hex(),
            hmac_ok=row.verdict == chain.ACCEPTED,
        )

    async def kill(self, agent: str) -> answers.Done:
        """Lose an agent with work in its hands: another one takes it 3 ms later."""
        kind = agent.partition("-")[0]
        other = next(name for name in AGENTS if name.startswith(kind) and name != agent)
        order = next(
            entry
            for entry in reversed(self.story.entries)
            if entry.type == "task" and entry.subject.startswith(f"triage.task.{kind}.")
        )
        self.said()
        self.story.say(
            AgentLost(instance=agent, role=kind, connection=1, reason="killed", handed_on=(order.subject,)), "monitor"
        )
        assert order.payload is not None
        claim(self.story, Task.model_validate_json(json.dumps(order.payload)), other)
        task = asyncio.create_task(self._back(agent, kind))
        self.held.add(task)
        task.add_done_callback(self.held.discard)
        return answers.Done(seq=None, sentence=f"SIGKILL was sent to {agent}")

    async def _back(self, agent: str, kind: str) -> None:
        await asyncio.sleep(1.0)
        self.said()
        self.story.say(AgentUp(instance=agent, role=kind, connection=2), "monitor")


def _json(value: BaseModel) -> Response:
    return Response(value.model_dump_json(), media_type="application/json")


def _problem(status: int, error: str, message: str, next_: str) -> Response:
    return JSONResponse(answers.Error(error=error, message=message, next=next_).model_dump(), status)


def make_app(canned: Canned) -> Starlette:
    """Return the application."""

    async def index(_request: Request) -> Response:
        return FileResponse(DIST / "index.html")

    async def events(request: Request) -> Response:
        return await _events(canned, request)

    async def read(request: Request) -> Response:
        return await _read(canned, request)

    async def command(request: Request) -> Response:
        return await _command(canned, request)

    routes = [
        Route("/", index),
        Route("/api/events", events),
        Route("/api/{path:path}", read, methods=["GET"]),
        Route("/api/{path:path}", command, methods=["POST"]),
        Mount("/", StaticFiles(directory=DIST)),
    ]
    return Starlette(routes=routes)


async def _events(canned: Canned, request: Request) -> Response:
    if canned.away:
        return _problem(503, "stack_down", "The stack is away", "Start it: triage up")
    after = int(request.headers.get("last-event-id") or request.query_params.get("after") or "0")

    async def stream(at: int) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        told = canned.deaf
        while not canned.away:
            if told is not canned.deaf:
                told = canned.deaf
                yield f"event: stack\ndata: {json.dumps({'connected': not told})}\n\n"
            if not canned.deaf:
                canned.tick()
            for entry in canned.story.entries[at:]:
                yield f"id: {entry.seq}\nevent: entry\ndata: {entry.model_dump_json()}\n\n"
            at = len(canned.story.entries)
            await asyncio.sleep(0.01)

    return StreamingResponse(stream(after), media_type="text/event-stream")


async def _read(canned: Canned, request: Request) -> Response:
    if canned.away:
        return _problem(503, "stack_down", "The stack is away", "Start it: triage up")
    path, query = request.path_params["path"], request.query_params
    head, _, rest = path.partition("/")
    if head == "snapshot":
        return _json(canned.snapshot())
    if head == "messages" and rest.isdigit() and 0 < int(rest) <= len(canned.story.rows):
        return _json(canned.proof(int(rest)))
    if head == "export":
        lines = [entry.model_dump_json() for entry in canned.story.entries if not is_noise(entry.subject)]
        return Response("\n".join(lines) + "\n", media_type="application/x-ndjson")
    if head == "journal":
        return _json(
            _journal(
                canned,
                query.get("incident"),
                query.get("telemetry") == "true",
                int(query.get("after", 0)),
                query.get("before"),
                int(query.get("limit", 200)),
            )
        )
    if head == "recordings" and rest:
        header = answers.RecordingHeader(scenario="chaos1", seed=42, noise=0.2, incident="inc-a1")
        return _json(answers.RecordingEvents(header=header, entries=canned.story.entries))
    made = _beside(canned).get(path) or (_similar() if path.endswith("/similar") else None)
    return _json(made) if made else _problem(404, "not_found", f"There is no {path}", "Look at the list")


def _journal(
    canned: Canned, incident: str | None, noise: bool, after: int, before: str | None, limit: int
) -> answers.Journal:
    def wanted(entry: Entry) -> bool:
        return (noise or not is_noise(entry.subject)) and (incident is None or incident_of(entry.subject) == incident)

    last = int(before) if before else len(canned.story.entries) + 1
    found = [entry for entry in canned.story.entries if after < entry.seq < last and wanted(entry)]
    page = found[:limit] if after or incident else found[-limit:]
    more = bool(page) and len(found) > len(page)
    return answers.Journal(entries=page, next=page[-1].seq if more else None)


def _similar() -> BaseModel:
    past = answers.Similar(
        incident="inc-a1",
        text="cant place orders!!",
        target="orders",
        fault_class="config_drift",
        actions=["reconcile orders"],
        likeness=0.41,
    )
    return answers.SimilarIncidents(similar=[past])


def _stream(messages: int) -> answers.StreamRow:
    return answers.StreamRow(
        name="TRIAGE", messages=messages, bytes=184_320, first_seq=1, last_seq=messages, subjects=61
    )


def _consumer(kind: str) -> answers.ConsumerRow:
    handed_on = int(kind == "log")
    return answers.ConsumerRow(
        stream="TRIAGE", name=f"w-{kind}", pending=0, ack_pending=0, redelivered=handed_on, waiting=2
    )


def _connection(name: str) -> answers.ConnectionRow:
    user = name.partition("-")[0]
    return answers.ConnectionRow(name=name, user=user, rtt_ms=0.4, idle_s=1.0, in_msgs=120, out_msgs=80, slow=False)


def _beside(canned: Canned) -> dict[str, BaseModel]:
    kinds = [
        answers.FaultKind(
            name=fault.name,
            summary=fault.summary,
            targets=list(fault.targets),
            args={
                name: answers.Bounds(default=d, low=low, high=high) for name, (d, low, high) in fault.arguments.items()
            },
        )
        for fault in FAULTS.values()
    ]
    agents = [
        answers.AgentRow(
            agent=name,
            kind=name.partition("-")[0],
            state="RUNNING",
            connected=True,
            heartbeat_ms=812.0,
            up_s=190.0,
            works_on=[],
        )
        for name in AGENTS
    ]
    score = {"success": True, "time_to_recover_s": 11.2, "time_to_detect_s": 2.1, "mrl_s": 1.4, "actions": 2}
    run = answers.RunRow(
        id="r1",
        scenario="db_conn_drift",
        seed=42,
        noise=0.2,
        incident="inc-a1",
        started_us=canned.story.now_us - 120_000_000,
        ended_us=canned.story.now_us - 100_000_000,
        verdict="verified",
        score=score,
    )
    return {
        "agents": answers.Agents(agents=agents),
        "faults": answers.Faults(catalogue=kinds, open=canned.faults, can_inject=True, why_not=None),
        "scenarios": answers.Scenarios(
            scenarios=[answers.ScenarioRow(name=name, summary=load(name).summary) for name in scenario_names()]
        ),
        "runs": answers.Runs(runs=[run]),
        "figures": answers.Figures(
            injected=30, recovered=22, sr=0.73, mrl_s=1.4, mttr_s=11.2, since_us=canned.story.now_us - 3_600_000_000
        ),
        "recordings": answers.Recordings(
            recordings=[answers.RecordingRow(name="chaos1.recording", scenario="chaos1", incident="inc-a1", seed=42)]
        ),
        "broker": answers.BrokerLook(
            monitor_url="http://127.0.0.1:8222/",
            streams=[_stream(len(canned.story.entries))],
            consumers=[_consumer(kind) for kind in ("log", "metric", "action")],
            connections=[_connection(name) for name in AGENTS],
            dead_letters=[],
            error=None,
        ),
    }


async def _command(canned: Canned, request: Request) -> Response:
    key, path = request.headers.get("idempotency-key", ""), request.path_params["path"]
    if len(key) < 8:
        return _problem(422, "key_missing", "The command has no key", "Send Idempotency-Key")
    canned.commands.append((key, path))
    if key not in canned.done:
        made = await _carried_out(canned, path, await request.json())
        if isinstance(made, Response):
            return made
        canned.done[key] = made
    return _json(canned.done[key])


async def _carried_out(canned: Canned, path: str, body: dict[str, str]) -> answers.Done | Response:
    canned.said()
    story, parts = canned.story, path.split("/")
    match parts:
        case ["halt"]:
            return answers.Done(
                seq=story.say(Halt(reason=answers.Reason(**body).reason), "operator", "dashboard").seq,
                sentence="halted",
            )
        case ["resume"]:
            return answers.Done(
                seq=story.say(Resume(reason=answers.Reason(**body).reason), "operator", "dashboard").seq,
                sentence="resumed",
            )
        case ["incidents"]:
            name = f"inc-c{len(story.entries)}"
            report = IncidentReported(incident=name, text=answers.Report(**body).text, source="operator")
            return answers.Done(
                seq=story.say(report, "operator", "dashboard").seq, sentence=f"{name} was reported", incident=name
            )
        case ["agents", agent, "kill"]:
            return await canned.kill(agent)
        case ["approvals", incident, task_id]:
            return _decided(story, incident, task_id, answers.Decision.model_validate(body))
        case ["faults"]:
            asked = answers.Inject.model_validate(body)
            canned.faults.append(
                answers.OpenFault(
                    id=f"f{len(canned.faults)}",
                    fault=asked.fault,
                    target=asked.target or "orders",
                    args=dict(asked.args),
                    since_us=now_us(),
                    state="open",
                )
            )
            return answers.Done(seq=None, sentence=f"{asked.fault} is in the world")
        case ["faults", fault, "heal"]:
            canned.faults = [item for item in canned.faults if item.id != fault]
            return answers.Done(seq=None, sentence=f"{fault} was healed")
    return _problem(404, "not_found", f"There is no {path}", "Look at the list")


def _decided(story: Story, incident: str, task_id: str, decision: answers.Decision) -> answers.Done | Response:
    if any(entry.subject == f"triage.approval.{incident}.{task_id}.granted" for entry in story.entries):
        return _problem(409, "approval_decided", f"{task_id} was approved already", "Nothing is left to do")
    binding = decision.binding or ""
    if decision.decision == "deny":
        said = story.say(
            ApprovalDenied(incident=incident, task_id=task_id, binding=binding, reason=decision.reason),
            "operator",
            "dashboard",
        )
    else:
        said = story.say(ApprovalGranted(incident=incident, task_id=task_id, binding=binding), "operator", "dashboard")
    return answers.Done(seq=said.seq, sentence=f"{task_id} is decided")


if __name__ == "__main__":
    uvicorn.run(make_app(Canned()), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
