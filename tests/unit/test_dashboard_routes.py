"""The API as a page meets it, over a journal in memory: reading, commanding, and everything that must be refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from broker.contracts.control import ApprovalGranted, ApprovalRequested, Halt
from broker.contracts.incident import IncidentAsked, IncidentClosed, IncidentReported
from dashboard.api.feed import Feed
from dashboard.api.guard import MAX_BODY, Guard, Rules
from dashboard.api.schema import PATH, text
from tests.support.dashboard import ADDRESS, Stage

KEY = {"Idempotency-Key": "key-0000001"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": f"key-of-{name}"}


def refused(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """Fail unless it was refused by this name, in the one shape."""
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status, body
    assert set(body) == {"error", "message", "next"}
    assert body["error"] == error
    assert body["message"].endswith((".", "?", "!"))
    return body


async def waiting_task(stage: Stage, binding: str = "b1") -> None:
    await stage.say("operator", IncidentReported(incident="inc-1", text="down", source="operator"))
    await stage.say(
        "scheduler",
        ApprovalRequested(
            incident="inc-1", task_id="v1-t2", binding=binding, action="restart", target="orders", why="it hangs"
        ),
    )


class TestMetrics:
    @pytest.mark.asyncio
    async def test_every_answer_is_counted_also_what_the_door_refuses(self, stage: Stage) -> None:
        async with stage.served() as client:
            assert (await client.get("/healthz")).text == "ok\n"
            assert (await client.get("/api/snapshot", headers={"Origin": "http://evil.example"})).status_code == 403
            told = (await client.get("/metrics")).text
        assert 'triage_dashboard_answers_total{status="2xx"} 1.0' in told
        assert 'triage_dashboard_answers_total{status="4xx"} 1.0' in told
        assert 'triage_dashboard_answers_total{status="5xx"} 0.0' in told
        assert "triage_dashboard_streams 0.0" in told


class TestReading:
    @pytest.mark.asyncio
    async def test_a_snapshot_tells_what_was_said_and_what_it_comes_to(self, stage: Stage) -> None:
        await stage.say("operator", IncidentReported(incident="inc-1", text="<script>x</script>", source="operator"))
        await stage.say("operator", Halt(reason="wait"))
        async with stage.served() as client:
            body = (await client.get("/api/snapshot")).json()
        assert body["head"] == 2
        assert [(item["seq"], item["type"], item["verified"]) for item in body["entries"]] == [
            (1, "incident.reported", True),
            (2, "control.halt", True),
        ]
        assert body["entries"][0]["payload"]["text"] == "<script>x</script>", "texts go out as they are, as data"
        assert body["view"]["halt"]["reason"] == "wait"
        assert body["view"]["incidents"]["inc-1"]["phase"] == "open"
        assert body["inventory"]["devices"][0]["name"] == "shop-db"
        assert body["catalogue"]["restart"]["risk"] == "risky"

    @pytest.mark.asyncio
    async def test_a_forged_message_is_shown_as_refused_and_folded_into_nothing(self, stage: Stage) -> None:
        await stage.forge("operator", "triage.control.halt", b"\xc1 no frame")
        async with stage.served() as client:
            body = (await client.get("/api/snapshot")).json()
        [item] = body["entries"]
        assert (item["refusal"], item["verified"], item["payload"]) == ("bad_frame", False, None)
        assert body["view"]["halt"] is None

    @pytest.mark.asyncio
    async def test_a_halt_from_before_all_that_is_read_still_stands(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dashboard.api.feed.BACKLOG", 3)
        await stage.say("operator", Halt(reason="long ago"))
        for number in range(8):
            await stage.say("operator", IncidentReported(incident=f"inc-{number}", text="x", source="operator"))
            await stage.say(
                "scheduler",
                IncidentClosed(
                    incident=f"inc-{number}", verdict="no_fault", reason="nothing", plan_version=0, actions=0
                ),
            )
        async with stage.served() as client:
            body = (await client.get("/api/snapshot")).json()
        assert body["view"]["halt"]["reason"] == "long ago"
        assert len(body["entries"]) == 3

    @pytest.mark.asyncio
    async def test_an_open_incident_is_read_from_its_report_on_however_old(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dashboard.api.feed.BACKLOG", 1)
        await stage.say("operator", Halt(reason="before"))
        await stage.say("operator", IncidentReported(incident="inc-1", text="x", source="operator"))
        for _ in range(5):
            await stage.say("operator", Halt(reason="again"))
        async with stage.served() as client:
            body = (await client.get("/api/snapshot")).json()
        assert body["view"]["incidents"]["inc-1"]["phase"] == "open"

    @pytest.mark.asyncio
    async def test_without_a_stack_the_audit_is_away_by_name(self, stage: Stage) -> None:
        async with stage.served() as client:
            for path in ("incidents", "timeline", "llm-runs", "journal", "figures", "messages/1", "broker", "agents"):
                refused(await client.get(f"/api/{path}"), 503, "stack_down")

    @pytest.mark.asyncio
    async def test_a_broker_that_is_away_is_said_and_waited_for(self, stage: Stage) -> None:
        async with stage.served() as client:
            assert (await client.get("/api/health")).json()["connected"] is True
            stage.journal.faults.down = True
            stage.feed.connected = False
            refused(await client.post("/api/halt", json={}, headers=KEY), 503, "stack_down")
            stage.journal.faults.down = False
            stage.feed.connected = True
            assert (await client.post("/api/halt", json={}, headers=KEY)).status_code == 200, (
                "the same key: not done yet"
            )

    @pytest.mark.asyncio
    async def test_faults_and_scenarios_need_no_stack(self, stage: Stage) -> None:
        async with stage.served() as client:
            faults = (await client.get("/api/faults")).json()
            scenarios = (await client.get("/api/scenarios")).json()
        assert "db_conn_drift" in [item["name"] for item in faults["catalogue"]]
        assert (faults["can_inject"], faults["open"]) == (False, [])
        assert "chaos1" in [item["name"] for item in scenarios["scenarios"]]

    @pytest.mark.asyncio
    @pytest.mark.parametrize("name", ["..%2F..%2Fpassphrase", "nothing.recording", ".hidden", "%00"])
    async def test_no_file_but_a_recording_can_be_asked_for(self, stage: Stage, name: str) -> None:
        (stage.home / "passphrase").write_text("secret")
        async with stage.served() as client:
            refused(await client.get(f"/api/recordings/{name}"), 404, "not_found")
            assert (await client.get("/api/recordings")).json() == {"recordings": []}

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "path",
        ["journal?limit=0", "journal?after=x", "journal?incident=a.b", "incidents?cursor=-1", "timeline?limit=501"],
    )
    async def test_a_malformed_question_is_refused(self, stage: Stage, path: str) -> None:
        async with stage.served() as client:
            refused(await client.get(f"/api/{path}"), 422, "bad_request")


class TestCommands:
    @pytest.mark.asyncio
    async def test_a_report_is_signed_and_said(self, stage: Stage) -> None:
        async with stage.served() as client:
            done = (await client.post("/api/incidents", json={"text": "checkout fails"}, headers=KEY)).json()
        [message] = stage.said(f"triage.incident.{done['incident']}.reported")
        assert isinstance(message, IncidentReported)
        assert (message.text, message.source) == ("checkout fails", "operator")

    @pytest.mark.asyncio
    async def test_the_same_key_twice_is_carried_out_once_and_answered_alike(self, stage: Stage) -> None:
        async with stage.served() as client:
            answers = await asyncio.gather(
                *(client.post("/api/halt", json={"reason": "wait"}, headers=KEY) for _ in range(5))
            )
        assert len({answer.text for answer in answers}) == 1
        assert len(stage.said("triage.control.halt")) == 1

    @pytest.mark.asyncio
    async def test_the_same_key_after_a_restart_of_the_api_is_still_carried_out_once(self, stage: Stage) -> None:
        async with stage.served() as client:
            first = (await client.post("/api/halt", json={}, headers=KEY)).json()
        stage.feed = Feed(stage.open)  # another process remembers no key
        async with stage.served() as client:
            again = (await client.post("/api/halt", json={}, headers=KEY)).json()
        assert again["seq"] == first["seq"]
        assert len(stage.said("triage.control.halt")) == 1

    @pytest.mark.asyncio
    async def test_a_key_belongs_to_one_request(self, stage: Stage) -> None:
        async with stage.served() as client:
            await client.post("/api/halt", json={"reason": "one"}, headers=KEY)
            refused(await client.post("/api/halt", json={"reason": "two"}, headers=KEY), 422, "key_reused")
            refused(await client.post("/api/resume", json={"reason": "one"}, headers=KEY), 422, "key_reused")

    @pytest.mark.asyncio
    @pytest.mark.parametrize(("headers", "error"), [({}, "key_missing"), ({"Idempotency-Key": "short"}, "bad_request")])
    async def test_without_a_good_key_nothing_is_done(self, stage: Stage, headers: dict[str, str], error: str) -> None:
        async with stage.served() as client:
            refused(await client.post("/api/halt", json={}, headers=headers), 422, error)
        assert stage.journal.log == []

    @pytest.mark.asyncio
    async def test_an_approval_is_granted_exactly_as_asked(self, stage: Stage) -> None:
        await waiting_task(stage)
        async with stage.served() as client:
            path = "/api/approvals/inc-1/v1-t2"
            answer = await client.post(path, json={"decision": "grant", "binding": "b1"}, headers=KEY)
        assert answer.status_code == 200
        [word] = stage.said("triage.approval.inc-1.v1-t2.granted")
        assert isinstance(word, ApprovalGranted)
        assert word.binding == "b1"

    @pytest.mark.asyncio
    async def test_an_approval_clicked_twice_from_two_pages_decides_once(self, stage: Stage) -> None:
        await waiting_task(stage)
        path = "/api/approvals/inc-1/v1-t2"
        async with stage.served() as client:
            first, second = await asyncio.gather(
                *(client.post(path, json={"decision": "grant"}, headers=key(page)) for page in ("page1", "page2"))
            )
            assert sorted((first.status_code, second.status_code)) == [200, 409]
            refused(first if first.status_code == 409 else second, 409, "approval_decided")
            await stage.caught_up()
            denial = await client.post(path, json={"decision": "deny"}, headers=key("page3"))
            refused(denial, 409, "approval_decided")
        assert len(stage.said("triage.approval.inc-1.v1-t2.granted")) == 1
        assert stage.said("triage.approval.inc-1.v1-t2.denied") == []

    @pytest.mark.asyncio
    async def test_an_approval_after_its_incident_ended_is_refused_by_name(self, stage: Stage) -> None:
        await waiting_task(stage)
        closed = IncidentClosed(incident="inc-1", verdict="unresolved", reason="gave up", plan_version=1, actions=0)
        await stage.say("scheduler", closed)
        async with stage.served() as client:
            answer = await client.post("/api/approvals/inc-1/v1-t2", json={"decision": "grant"}, headers=KEY)
            refused(answer, 409, "approval_expired")
        assert stage.said("triage.approval.inc-1.v1-t2.granted") == []

    @pytest.mark.asyncio
    async def test_an_approval_of_what_was_shown_before_is_refused(self, stage: Stage) -> None:
        await waiting_task(stage, binding="now")
        async with stage.served() as client:
            body = {"decision": "grant", "binding": "before"}
            refused(await client.post("/api/approvals/inc-1/v1-t2", json=body, headers=KEY), 409, "approval_changed")
            other = await client.post("/api/approvals/inc-1/v9-t9", json={"decision": "grant"}, headers=key("other"))
            refused(other, 404, "not_found")

    @pytest.mark.asyncio
    async def test_a_question_is_answered_once(self, stage: Stage) -> None:
        await stage.say("operator", IncidentReported(incident="inc-1", text="down", source="operator"))
        question = IncidentAsked(
            incident="inc-1", n=1, question="Since when?", version=1, attempt=1, plan_id="p", wait_s=60.0
        )
        async with stage.served() as client:
            path = "/api/incidents/inc-1/answer"
            refused(await client.post(path, json={"text": "noon"}, headers=key("early")), 409, "not_asked")
            await stage.say("scheduler", question)
            await stage.caught_up()
            first, second = await asyncio.gather(
                *(client.post(path, json={"text": "noon"}, headers=key(page)) for page in ("page1", "page2"))
            )
        assert sorted((first.status_code, second.status_code)) == [200, 409]
        assert len(stage.said("triage.incident.inc-1.answered.1")) == 1

    @pytest.mark.asyncio
    @pytest.mark.parametrize("text", ["", "   ", "a\x1b[2J", "x" * 9_000])
    async def test_a_text_that_cannot_be_taken_is_refused_and_nothing_is_said(self, stage: Stage, text: str) -> None:
        async with stage.served() as client:
            answer = await client.post("/api/incidents", json={"text": text}, headers=KEY)
        assert answer.status_code in (409, 422)
        assert set(answer.json()) == {"error", "message", "next"}
        assert stage.journal.log == []

    @pytest.mark.asyncio
    async def test_what_needs_the_stack_is_refused_where_there_is_none(self, stage: Stage) -> None:
        async with stage.served() as client:
            kill = await client.post("/api/agents/log-agent-1/kill", json={}, headers=key("kill"))
            refused(kill, 503, "stack_down")
            inject = await client.post("/api/faults", json={"fault": "service_kiled"}, headers=key("inject"))
            assert "service_killed" in refused(inject, 404, "not_found")["message"]
            heal = await client.post("/api/faults/nothing-1/heal", json={}, headers=key("heal"))
            refused(heal, 503, "stack_down")


class TestAlerts:
    GROUP: ClassVar[dict[str, Any]] = {
        "version": "4",
        "groupKey": '{}:{alertname="ShopDown"}',
        "status": "firing",
        "receiver": "triage",
        "groupLabels": {"alertname": "ShopDown"},
        "truncatedAlerts": 0,
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "ShopDown", "severity": "page"},
                "annotations": {"summary": "checkout fails"},
                "startsAt": "2026-01-01T00:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://x",
                "fingerprint": "abc",
            }
        ],
    }

    @pytest.mark.asyncio
    async def test_a_group_that_fires_is_one_incident_however_often_it_is_told(self, stage: Stage) -> None:
        async with stage.served() as client:
            first = (await client.post("/api/alerts", json=self.GROUP)).json()
            again = (await client.post("/api/alerts", json=self.GROUP)).json()
        assert first["incident"] == again["incident"]
        [message] = stage.said(f"triage.incident.{first['incident']}.reported")
        assert isinstance(message, IncidentReported)
        assert message.text == "Prometheus alert ShopDown (severity page): checkout fails"

    @pytest.mark.asyncio
    async def test_a_group_that_is_over_reports_nothing(self, stage: Stage) -> None:
        over = {**self.GROUP, "status": "resolved", "alerts": [{**self.GROUP["alerts"][0], "status": "resolved"}]}
        async with stage.served() as client:
            assert (await client.post("/api/alerts", json=over)).status_code == 200
        assert stage.journal.log == []


class TestDoor:
    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "https://127.0.0.1:17480x"]
    )
    async def test_a_foreign_origin_is_refused_and_nothing_is_done(self, stage: Stage, origin: str) -> None:
        async with stage.served() as client:
            answer = await client.post("/api/halt", json={}, headers={**KEY, "Origin": origin})
            refused(answer, 403, "foreign_origin")
            refused(await client.get("/api/snapshot", headers={"Origin": origin}), 403, "foreign_origin")
        assert stage.journal.log == []

    @pytest.mark.asyncio
    async def test_our_own_origin_is_let_in(self, stage: Stage) -> None:
        async with stage.served() as client:
            assert (await client.post("/api/halt", json={}, headers={**KEY, "Origin": ADDRESS})).status_code == 200

    @pytest.mark.asyncio
    async def test_a_request_from_another_site_without_an_origin_is_refused_too(self, stage: Stage) -> None:
        async with stage.served() as client:
            answer = await client.get("/api/snapshot", headers={"Sec-Fetch-Site": "cross-site"})
        refused(answer, 403, "foreign_origin")

    @pytest.mark.asyncio
    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:17480"])
    async def test_a_foreign_name_that_leads_here_is_refused(self, stage: Stage, host: str) -> None:
        async with stage.served() as client:
            refused(await client.get("/api/snapshot", headers={"Host": host}), 403, "foreign_host")

    @pytest.mark.asyncio
    @pytest.mark.parametrize("host", ["localhost:17480", "127.0.0.1", "[::1]:17480", "LOCALHOST"])
    async def test_every_name_of_loopback_is_let_in(self, stage: Stage, host: str) -> None:
        async with stage.served() as client:
            assert (await client.get("/api/health", headers={"Host": host})).status_code == 200

    @pytest.mark.asyncio
    async def test_with_a_token_nothing_is_told_and_nothing_done_without_it(self, stage: Stage) -> None:
        rules = Rules(token="the-token-of-this-page", hosts=None)
        good = {"Authorization": "Bearer the-token-of-this-page", "Host": "triage.example"}
        async with stage.served(rules) as client:
            for bad in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic the-token-of-this-page"}):
                refused(await client.get("/api/snapshot", headers=bad), 401, "token_wrong")
                refused(await client.post("/api/halt", json={}, headers={**KEY, **bad}), 401, "token_wrong")
            refused(await client.get("/api/snapshot?token=the-token-of-this-page"), 401, "token_wrong")
            refused(await client.post("/api/alerts", json=TestAlerts.GROUP), 401, "token_wrong")
            assert (await client.get("/", headers=good)).status_code == 200
            assert (await client.get("/api/snapshot", headers=good)).json()["token_needed"] is True
        assert stage.journal.log == []

    @pytest.mark.asyncio
    async def test_five_megabytes_are_refused_by_their_announcement(self, stage: Stage) -> None:
        async with stage.served() as client:
            answer = await client.post("/api/incidents", content=b"x" * 5_000_000, headers={**KEY, **JSON})
        refused(answer, 413, "too_large")
        assert stage.journal.log == []

    @pytest.mark.asyncio
    async def test_five_megabytes_that_were_not_announced_are_refused_as_they_come(self, stage: Stage) -> None:
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b'{"text": "'
            for _ in range(80):
                sent += 65_536
                yield b"x" * 65_536

        async with stage.served() as client:
            answer = await client.post("/api/incidents", content=body(), headers={**KEY, **JSON})
        refused(answer, 413, "too_large")
        assert sent <= MAX_BODY + 131_072, "the rest is not read"
        assert stage.journal.log == []

    @pytest.mark.asyncio
    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    async def test_what_a_form_of_another_page_could_send_is_refused(self, stage: Stage, kind: str) -> None:
        async with stage.served() as client:
            body = json.dumps(TestAlerts.GROUP)
            answer = await client.post("/api/alerts", content=body, headers={"Content-Type": kind})
        refused(answer, 415, "bad_request")
        assert stage.journal.log == []

    @pytest.mark.asyncio
    @pytest.mark.parametrize("body", ["{", "[]", '{"reason": 1}', '{"reson": "x"}', "\xff"])
    async def test_a_body_that_is_not_what_is_asked_for_is_refused(self, stage: Stage, body: str) -> None:
        async with stage.served() as client:
            refused(
                await client.post("/api/halt", content=body.encode("latin-1"), headers={**KEY, **JSON}),
                422,
                "bad_request",
            )

    @pytest.mark.asyncio
    async def test_every_answer_says_what_the_page_may_do(self, stage: Stage) -> None:
        async with stage.served() as client:
            for path, status in (("/", 200), ("/api/health", 200), ("/api/nothing", 404)):
                answer = await client.get(path)
                assert answer.status_code == status
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "access-control-allow-origin" not in answer.headers
            refused(await client.get("/api/nothing"), 404, "not_found")
            assert (await client.get("/api/health")).headers["cache-control"] == "no-store"

    @pytest.mark.asyncio
    async def test_a_fault_of_ours_is_an_answer_and_no_trace(self, caplog: pytest.LogCaptureFixture) -> None:
        from dashboard.api.app import Foreseen

        async def broken(_scope: object, _receive: object, _send: object) -> None:
            raise ZeroDivisionError("secret detail")

        app = Guard(Foreseen(broken), Rules())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ADDRESS) as client:
            body = refused(await client.get("/api/health"), 500, "fault")
        assert "secret" not in str(body)
        assert "ZeroDivisionError" in caplog.text


class TestPage:
    @pytest.mark.asyncio
    async def test_a_built_page_is_served_with_its_files(self, stage: Stage, tmp_path: Path) -> None:
        dist = tmp_path / "dist"
        (dist / "assets").mkdir(parents=True)
        (dist / "index.html").write_text("<title>page</title>")
        (dist / "assets" / "a.js").write_text("1")
        async with stage.served(page=dist) as client:
            assert (await client.get("/")).text == "<title>page</title>"
            script = await client.get("/assets/a.js")
            assert "immutable" in script.headers["cache-control"]
            refused(await client.get("/assets/b.js"), 404, "not_found")
            refused(await client.get("/../passphrase"), 404, "not_found")

    @pytest.mark.asyncio
    async def test_without_a_built_page_it_is_said_how_to_get_one(self, stage: Stage, tmp_path: Path) -> None:
        async with stage.served(page=tmp_path / "none") as client:
            answer = await client.get("/")
        assert "was not built" in answer.text


def test_the_description_of_the_api_is_current_and_complete() -> None:
    document = json.loads(text())
    assert PATH.read_text(encoding="utf-8") == text(), "run: python -m dashboard.api.schema"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path in ("/api/events", "/api/export"):  # what is streamed is no JSON text
                continue
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert "$ref" in schema, f"{method} {path} answers something without a model"
            assert operation["responses"]["409"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")


@pytest.mark.asyncio
async def test_an_export_without_an_audit_is_refused_before_a_file_begins(stage: Stage) -> None:
    async with stage.served() as client:
        refused(await client.get("/api/export"), 503, "stack_down")
        refused(await client.get("/api/export", params={"incident": "../x"}), 422, "bad_request")
