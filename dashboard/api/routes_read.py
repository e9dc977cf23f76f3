"""What can be read. Everything is a snapshot, a page of it, or the stream."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from dashboard.api import answers, sse
from dashboard.api.errors import bad_request
from dashboard.api.feed import Feed, now_us
from dashboard.api.guard import Rules
from dashboard.api.records import Records
from dashboard.api.stack import StackDoor, catalogue

Seq = Annotated[int | None, Query(ge=0, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=500)]
Name = Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def router(feed: Feed, records: Records, stack: StackDoor, rules: Rules) -> APIRouter:
    """Return the reading routes."""
    routes = APIRouter(prefix="/api")
    _live(routes, feed, stack, rules)
    _journal(routes, records)
    _incidents(routes, records)
    _runs(routes, records)
    _around(routes, feed, records, stack)
    return routes


def _live(routes: APIRouter, feed: Feed, stack: StackDoor, rules: Rules) -> None:
    @routes.get("/snapshot")
    async def snapshot() -> answers.Snapshot:
        """Everything a page begins with."""
        await feed.until_ready()
        inventory = stack.inventory()
        open_ = await asyncio.to_thread(stack.open_faults)
        return answers.Snapshot(
            journal=feed.journal,
            head=feed.head,
            now_us=now_us(),
            connected=feed.connected,
            entries=feed.kept.entries(),
            telemetry=feed.kept.telemetry(),
            inventory=answers.World(devices=inventory.devices, objective=inventory.objective),
            catalogue=catalogue(),
            view=feed.view,
            faults_open=open_,
            token_needed=rules.token is not None,
        )

    @routes.get("/events", response_class=sse.EventStream)
    async def events(
        after: Seq = None,
        token: str = "",
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """The stream of entries behind a sequence (`Last-Event-ID` counts more than `after`); see docs/dashboard.md."""
        del token  # judged at the door
        start = feed.head if after is None else after
        if last_event_id:
            if not last_event_id.isdigit() or len(last_event_id) > 16:
                raise bad_request("Last-Event-ID is no journal sequence.", "Send the id of the last event.")
            start = int(last_event_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return sse.EventStream(sse.stream(feed, start), headers=headers)

    @routes.get("/health")
    async def health() -> answers.Health:
        """How the API itself is."""
        return answers.Health(
            ok=feed.connected,
            connected=feed.connected,
            head=feed.head,
            subscribers=feed.followers,
            ring_bytes=feed.ring.size_bytes,
        )


def _journal(routes: APIRouter, records: Records) -> None:
    @routes.get("/journal")
    async def journal(
        after: Seq = None, before: Seq = None, limit: Limit = 200, incident: Name = None, telemetry: bool = False
    ) -> answers.Journal:
        """A page of the audit's journal, oldest first."""
        return await records.journal(after=after, before=before, limit=limit, incident=incident, telemetry=telemetry)

    @routes.get("/export", response_class=sse.JsonLines)
    async def export(incident: Name = None, telemetry: bool = False) -> Response:
        """The whole timeline from the audit's journal as JSON lines, oldest first: one `Entry` each, with the state of
        its signature (`verified`, `refusal`, `hmac`, `key_version`)."""
        lines = records.lines(incident=incident, telemetry=telemetry)
        first = await anext(lines)  # what is wrong is said as an answer, not in the middle of a file
        name = f"timeline-{incident}.jsonl" if incident else "timeline.jsonl"
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
        return sse.JsonLines(sse.after(first, lines), headers=headers)

    @routes.get("/messages/{seq}")
    async def message(seq: int) -> answers.Proof:
        """One message with its exact bytes and its place in the chain."""
        return await records.proof(min(max(seq, 0), 2**62))


def _incidents(routes: APIRouter, records: Records) -> None:
    @routes.get("/incidents")
    async def incidents(cursor: Seq = None, limit: Limit = 50) -> answers.Incidents:
        """Incidents, newest first."""
        return await records.incidents(limit, cursor)

    @routes.get("/incidents/{incident}")
    async def incident(incident: str) -> answers.Story:
        """One incident's whole story."""
        return await records.story(incident)

    @routes.get("/incidents/{incident}/similar")
    async def similar(incident: str) -> answers.SimilarIncidents:
        """Past incidents that were repaired and are like this one."""
        return await records.similar(incident)

    @routes.get("/timeline")
    async def timeline(cursor: Seq = None, limit: Limit = 200, incident: Name = None) -> answers.Timeline:
        """Slim rows of every action, newest first."""
        return await records.timeline(limit, cursor, incident)


def _runs(routes: APIRouter, records: Records) -> None:
    @routes.get("/llm-runs")
    async def llm_runs(cursor: Seq = None, limit: Limit = 50) -> answers.LlmRuns:
        """Model runs without their texts, newest first."""
        return await records.llm_runs(limit, cursor)

    @routes.get("/llm-runs/{run_id:path}")
    async def llm_run(run_id: str) -> answers.LlmRecords:
        """A model run, or all of an incident, with prompt, response, settings, repairs and reasons."""
        return await records.llm_records(run_id)

    @routes.get("/runs")
    async def runs(limit: Limit = 50) -> answers.Runs:
        """Scenario runs, newest first."""
        return await records.runs(limit)

    @routes.get("/figures")
    async def figures() -> answers.Figures:
        """Today's figures."""
        return await records.figures()


def _around(routes: APIRouter, feed: Feed, records: Records, stack: StackDoor) -> None:
    @routes.get("/agents")
    async def agents() -> answers.Agents:
        """Every agent, now."""
        return await stack.agents(feed.view)

    @routes.get("/broker")
    async def broker() -> answers.BrokerLook:
        """Streams, consumers and connections, as the broker's own monitoring has them."""
        return await stack.broker(feed.view)

    @routes.get("/faults")
    async def faults() -> answers.Faults:
        """What can be injected here, and what is open."""
        return await asyncio.to_thread(stack.faults)

    @routes.get("/scenarios")
    async def scenarios() -> answers.Scenarios:
        """The scenarios that come with the project."""
        return await asyncio.to_thread(stack.scenarios)

    @routes.get("/recordings")
    async def recordings() -> answers.Recordings:
        """The recordings of this home, newest first."""
        return await asyncio.to_thread(stack.recordings)

    @routes.get("/recordings/{name}")
    async def recording(name: str) -> answers.RecordingEvents:
        """Every event of a recording, telemetry included."""
        return await asyncio.to_thread(stack.recording, name)
