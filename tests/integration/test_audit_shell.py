"""The auditor with a real PostgreSQL: every message exactly once, whatever dies; refused ones by name."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auditor_svc import api, checkpoint_file
from auditor_svc.metrics import AuditMetrics
from auditor_svc.report import Report
from auditor_svc.shell import Auditor
from auditor_svc.store import Store
from broker.contracts.base import Contract
from broker.contracts.control import Checkpoint, Halt
from broker.contracts.incident import IncidentReported
from broker.envelope import Signer, open_frame
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from broker.runtime.metrics import Health
from broker.subjects import Role
from tests.support.audit import PUBLIC, SIGN, incident_messages, telemetry
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.signing import gate, signer
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


@dataclass
class Site:
    """A journal, an empty audit database, and whoever speaks."""

    dsn: str
    kept: Path
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    signers: dict[Role, Signer] = field(default_factory=dict)

    def seal(self, role: Role, message: Contract) -> bytes:
        if role not in self.signers:
            self.signers[role] = signer(role, journal=self.journal)
        return self.signers[role].seal(message)

    def say(self, role: Role, message: Contract) -> Stored:
        return self.journal.store(message.subject(), self.seal(role, message))

    def say_telemetry(self, count: int) -> None:
        for i in range(count):
            self.journal.now_us += 50_000
            self.say("sensors", telemetry(("orders", "catalog")[i % 2], i))

    def auditor(self, **more: object) -> Auditor:
        return Auditor(
            MemoryBroker(self.journal, "auditor-1", "auditor"),
            Store(self.dsn),
            gate("auditor"),
            signer("auditor", journal=self.journal),
            SIGN,
            PUBLIC,
            self.kept,
            batch_s=0.02,
            **more,  # type: ignore[arg-type]
        )

    @asynccontextmanager
    async def auditing(self, auditor: Auditor | None = None) -> AsyncIterator[Auditor]:
        auditor = auditor or self.auditor()
        life = asyncio.create_task(auditor.run())
        try:
            yield auditor
        finally:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life

    async def audited(self) -> list[int]:
        store = Store(self.dsn)
        try:
            return [row["journal_seq"] for row in await store.fetch("SELECT journal_seq FROM envelopes ORDER BY 1")]
        finally:
            await store.close()

    async def caught_up(self) -> None:
        async def all_there() -> bool:
            return (await self.audited())[-1:] == [len(self.journal.log)]

        await eventually(all_there, 20)

    async def verify(self, *, tail: bool = False) -> Report:
        published = tuple(
            Checkpoint.decode(open_frame(stored.data).payload)
            for stored in self.journal.messages("triage.audit.checkpoint.*")
        )
        return await api.verify_database(
            self.dsn,
            PUBLIC,
            self.kept,
            journal_checkpoints=published,
            expected_tail=len(self.journal.log) if tail else None,
        )

    async def assert_whole(self) -> None:
        assert await self.audited() == [stored.seq for stored in self.journal.messages()]
        report = await self.verify(tail=True)
        assert report.ok, report.faults


@pytest.fixture
def site(server: PostgresServer, tmp_path: Path) -> Site:
    return Site(server.new_database(), tmp_path / checkpoint_file.FILE_NAME)


@pytest.mark.asyncio
async def test_everything_said_before_and_after_the_start_is_audited_once_in_order(site: Site) -> None:
    site.say_telemetry(250)
    health, metrics = Health(), AuditMetrics()
    async with site.auditing(site.auditor(health=health, metrics=metrics)) as auditor:
        await asyncio.wait_for(auditor.caught_up.wait(), 20)
        site.say_telemetry(5)
        await site.caught_up()
        assert health.ready
    report = await site.verify()
    assert report.ok, report.faults
    assert report.uncovered == 0
    assert metrics.rows._value.get() >= 255


@pytest.mark.asyncio
async def test_checkpoints_stand_in_database_file_and_journal_each_once(site: Site) -> None:
    site.say_telemetry(250)
    async with site.auditing():
        await site.caught_up()
    store = Store(site.dsn)
    own = await store.checkpoints()
    await store.close()
    published = [open_frame(stored.data).payload for stored in site.journal.messages("triage.audit.checkpoint.*")]
    assert len(own) >= 3
    assert [checkpoint.n for checkpoint in own] == list(range(1, len(own) + 1))
    assert checkpoint_file.read(site.kept) == own
    assert [Checkpoint.decode(payload) for payload in published] == list(own)


@pytest.mark.asyncio
async def test_an_incident_is_told_from_report_to_end(site: Site) -> None:
    for role, message in incident_messages():
        site.say(role, message)
    async with site.auditing():
        await site.caught_up()
    story = await api.incident_story(site.dsn, "inc1")
    assert story is not None
    assert (story.summary.verdict, story.summary.text, story.summary.actions) == ("verified", "orders are\tslow", 1)
    (plan,) = story.plans
    assert (plan.target, plan.fault_class, plan.accepted, plan.decision_tag) == (
        *("orders", "config_drift", True, "LLM_DECISION"),
    )
    (task,) = story.tasks
    assert (task.type, task.claimed_by, task.args) == ("check_logs", ("log-agent-1",), {"pattern": "error"})
    assert task.result is not None
    assert (task.result.status, task.result.out, task.result.meta) == ("OK", "12 lines", {"lines": 12})
    (run,) = story.llm_runs
    assert (run.model, run.temp, run.tokens, run.prompt_hash) == ("small", 0.0, 120, "ab" * 32)
    assert run.prompt[0] == {"role": "system", "content": "You find \x00 causes."}
    assert run.response == '{"target": "orders"}\u2400'
    assert [entry.type for entry in story.timeline] == [message.TYPE for _, message in incident_messages()]
    assert story.refusals == 0
    assert api.plain(story)["summary"]["incident"] == "inc1"
    assert [found.incident for found in await api.incidents(site.dsn)] == ["inc1"]
    assert [found.run_id for found in await api.llm_runs(site.dsn)] == ["inc1.v1.a1"]
    assert await api.incident_story(site.dsn, "inc2") is None
    assert (await site.verify()).ok


@pytest.mark.asyncio
async def test_bad_envelopes_are_audited_by_the_name_of_their_refusal(site: Site) -> None:
    good = site.seal("operator", Halt(reason="test"))
    report = IncidentReported(incident="inc1", text="slow", source="operator")
    site.journal.store("triage.control.halt", good)
    site.journal.store("triage.control.halt", b"\x00garbage")
    site.journal.store("triage.control.halt", bytes(300_000))
    site.journal.store("triage.control.halt", good)
    site.journal.store("triage.control.halt", good[:-1] + bytes([good[-1] ^ 1]))
    site.journal.store("triage.incident.inc1.reported", signer("operator", version=2).seal(report))
    site.journal.store("triage.incident.inc2.reported", site.seal("operator", report))
    site.journal.store("triage.telemetry.\x00\x01", good)
    old = site.seal("operator", report)
    await site.journal.advance(500)
    site.journal.store("triage.incident.inc1.reported", old)
    names = ["bad_frame", "too_large", "replayed", "bad_mac", "unknown_key_version", "wrong_channel", "wrong_channel"]
    async with site.auditing():
        await site.caught_up()
    store = Store(site.dsn)
    found = await store.fetch("SELECT refusal, subject, payload FROM envelopes ORDER BY journal_seq LIMIT 9")
    await store.close()
    assert [row["refusal"] for row in found] == [None, *names, "expired"]
    assert found[7]["subject"] == "triage.telemetry.\u2400\x01"
    assert all(row["payload"] is None for row in found[1:])
    assert (await api.refusal_counts(site.dsn))["wrong_channel"] == 2
    assert (await site.verify()).ok


@pytest.mark.asyncio
async def test_a_message_repeated_across_a_restart_is_still_replayed(site: Site) -> None:
    frame = site.seal("operator", Halt(reason="test"))
    site.journal.store("triage.control.halt", frame)
    async with site.auditing():
        await site.caught_up()
    site.journal.store("triage.control.halt", frame)
    async with site.auditing():
        await site.caught_up()  # the database is behind by this one message
    assert await api.refusal_counts(site.dsn) == {"replayed": 1}


@pytest.mark.asyncio
async def test_an_auditor_torn_down_again_and_again_in_mid_batch_leaves_every_message_once(site: Site) -> None:
    site.say_telemetry(2_500)
    for number in range(12):
        auditor = site.auditor()
        life = asyncio.create_task(auditor.run())
        await asyncio.sleep(0.02 * number)
        auditor._end = _nothing  # type: ignore[method-assign] # a kill signs nothing
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life
    async with site.auditing():
        await site.caught_up()
        await site.assert_whole()


async def _nothing() -> None:
    return


@pytest.mark.asyncio
async def test_a_database_that_crashes_and_comes_back_loses_nothing(site: Site, server: PostgresServer) -> None:
    site.say_telemetry(1_200)
    health = Health()
    async with site.auditing(site.auditor(health=health)) as auditor:
        await asyncio.wait_for(auditor.caught_up.wait(), 20)
        server.stop(signal.SIGQUIT)
        site.say_telemetry(300)

        async def noticed() -> bool:
            return not health.ready

        await eventually(noticed)
        await asyncio.to_thread(server.start)
        await site.caught_up()
        await site.assert_whole()
        assert health.ready


@pytest.mark.asyncio
async def test_a_broker_that_is_away_for_a_while_costs_nothing(site: Site) -> None:
    async with site.auditing() as auditor:
        await asyncio.wait_for(auditor.caught_up.wait(), 20)
        site.journal.stop()
        site.say_telemetry(150)
        await asyncio.sleep(0.1)
        site.journal.restart()
        await site.caught_up()
        await site.assert_whole()


@pytest.mark.asyncio
async def test_two_auditors_at_once_write_one_chain(site: Site) -> None:
    site.say_telemetry(1_500)
    async with site.auditing(), site.auditing():
        await site.caught_up()
        site.say_telemetry(100)
        await site.caught_up()
        await site.assert_whole()


@pytest.mark.asyncio
async def test_checkpoints_signed_just_before_a_kill_are_published_at_the_next_start(site: Site) -> None:
    site.say_telemetry(120)
    auditor = site.auditor()
    auditor._announce = _nothing  # type: ignore[method-assign] # killed between commit and publish
    async with site.auditing(auditor):
        await site.caught_up()
    assert not site.journal.messages("triage.audit.checkpoint.*")
    assert checkpoint_file.read(site.kept) == ()
    async with site.auditing() as auditor:
        await asyncio.wait_for(auditor.caught_up.wait(), 20)
        await site.caught_up()
    published = [stored.subject.rpartition(".")[2] for stored in site.journal.messages("triage.audit.checkpoint.*")]
    assert published[:2] == ["1", "2"]
    assert [checkpoint.n for checkpoint in checkpoint_file.read(site.kept)][:2] == [1, 2]
    assert (await site.verify()).ok


@pytest.mark.asyncio
async def test_a_silent_journal_gets_its_checkpoint_after_a_while(site: Site) -> None:
    site.say_telemetry(3)
    async with site.auditing(site.auditor(idle_s=0.1)):

        async def signed() -> bool:
            return bool(site.journal.messages("triage.audit.checkpoint.*"))

        await eventually(signed)
        await site.caught_up()
    assert len(site.journal.messages("triage.audit.checkpoint.*")) == 1


@pytest.mark.asyncio
async def test_a_cut_off_chain_is_said_recorded_and_filled_up_again(site: Site) -> None:
    site.say_telemetry(120)
    async with site.auditing():
        await site.caught_up()
    owner = Store(site.dsn)
    await owner.fetch("ALTER TABLE envelopes DISABLE TRIGGER append_only")
    await owner.fetch("DELETE FROM envelopes WHERE number > 80")
    await owner.fetch("ALTER TABLE envelopes ENABLE TRIGGER append_only")
    await owner.close()
    assert "cut_off" in {fault.kind for fault in (await site.verify()).faults}
    health, metrics = Health(), AuditMetrics()
    async with site.auditing(site.auditor(health=health, metrics=metrics)) as auditor:
        await site.caught_up()
        assert "cut_off" in {fault.kind for fault in auditor.faults}
        assert not health.report()["checks"]["chain"]  # type: ignore[index]
        assert metrics.chain_ok._value.get() == 0
    report = await site.verify()
    assert report.ok, report.faults  # the journal still had every message: the same bytes, the same hashes
    assert any("cut_off" in note for note in report.notes)


@pytest.mark.asyncio
async def test_another_journal_under_an_old_database_is_said(site: Site) -> None:
    site.say_telemetry(30)
    async with site.auditing():
        await site.caught_up()
    fresh = Site(site.dsn, site.kept)
    fresh.say_telemetry(2)
    async with fresh.auditing() as auditor:

        async def noticed() -> bool:
            return any("another journal" in fault.sentence for fault in auditor.faults)

        await eventually(noticed)
