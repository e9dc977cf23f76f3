"""What the audit database tells the page. Every call opens a connection of its own and closes it."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from auditor_svc import api
from dashboard.api import answers
from dashboard.api.core.figures import Run, figures
from dashboard.api.core.likeness import similar
from dashboard.api.decode import audited_entry
from dashboard.api.errors import not_found
from harness.errors import HarnessError
from harness.scenario import load

ACCEPTED = "accepted"
PORTION = 500
"""Messages of an export that are read and held at once."""
NO_MAC_VERDICTS = frozenset({"too_large", "bad_frame", "unknown_key_version", "wrong_channel"})
"""Refusals that may come before the MAC was looked at."""


class Records:
    """Reads as people read: the database's role `operator` may change nothing."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        """
        Args:
            dsn: where the database of the stack that is up is; raises if none is.
        """
        self._dsn = dsn

    async def journal(
        self, *, after: int | None, before: int | None, limit: int, incident: str | None, telemetry: bool
    ) -> answers.Journal:
        """Return a page of the trail."""
        rows = await api.messages(
            self._dsn(), after=after, before=before, limit=limit, incident=incident, telemetry=telemetry
        )
        edge = None
        if len(rows) == limit:
            edge = rows[-1].journal_seq if after is not None else rows[0].journal_seq
        return answers.Journal(entries=[audited_entry(row) for row in rows], next=edge)

    async def lines(self, *, incident: str | None, telemetry: bool) -> AsyncGenerator[bytes, None]:
        """Give the trail as JSON lines, oldest first, a portion at a time; with an incident only what is of it."""
        after: int | None = 0
        while after is not None:
            page = await self.journal(after=after, before=None, limit=PORTION, incident=incident, telemetry=telemetry)
            yield b"".join(entry.encode() + b"\n" for entry in page.entries)
            after = page.next

    async def proof(self, seq: int) -> answers.Proof:
        """Return one message with its bytes and its place in the chain.

        Raises:
            Problem: the auditor has not written it.
        """
        found = await api.place(self._dsn(), seq)
        if found is None:
            raise not_found(f"message {seq} in the audit; the auditor may be a moment behind the journal")
        row = found.message
        verdict = row.refusal or ACCEPTED
        return answers.Proof(
            entry=audited_entry(row),
            seq=seq,
            time_us=row.time_us,
            subject=row.subject,
            verdict=verdict,
            envelope=base64.b64encode(row.envelope).decode(),
            number=row.number,
            envelope_hash=found.envelope_hash,
            prev_hash=found.prev_hash,
            row_hash=found.row_hash,
            hmac_ok=None if verdict in NO_MAC_VERDICTS else verdict != "bad_mac",
        )

    async def incidents(self, limit: int, cursor: int | None) -> answers.Incidents:
        """Return a page of incidents, newest first."""
        rows = await api.incident_page(self._dsn(), limit, cursor)
        found = [
            answers.IncidentRow(
                incident=row.incident,
                text=row.text,
                source=row.source,
                reported_us=_us(row.reported_at),
                verdict=row.verdict,
                reason=row.reason,
                merged_into=row.merged_into,
                closed_us=None if row.closed_at is None else _us(row.closed_at),
                actions=row.actions,
                seq=row.journal_seq,
            )
            for row in rows
        ]
        return answers.Incidents(incidents=found, next=_next(found, limit))

    async def story(self, incident: str) -> answers.Story:
        """Return all of one incident.

        Raises:
            Problem: it was never reported.
        """
        return answers.Story(**api.plain(await self._story(incident)))

    async def similar(self, incident: str) -> answers.SimilarIncidents:
        """Return past incidents that were repaired and are like this one.

        Raises:
            Problem: it was never reported.
        """
        found = await self._story(incident)
        plan = found.plans[-1] if found.plans else None
        alike = similar(
            incident,
            found.summary.text,
            plan.target if plan else "",
            plan.fault_class if plan else "",
            await api.repaired(self._dsn()),
        )
        rows = [
            answers.Similar(
                incident=item.incident,
                text=item.text,
                target=item.target,
                fault_class=item.fault_class,
                actions=list(item.actions),
                likeness=round(words, 3),
            )
            for words, item in alike
        ]
        return answers.SimilarIncidents(similar=rows)

    async def timeline(self, limit: int, cursor: int | None, incident: str | None) -> answers.Timeline:
        """Return a page of slim rows, newest first."""
        found = await api.messages(self._dsn(), before=cursor, limit=limit, incident=incident)
        hashes = await api.row_hashes(self._dsn(), [row.journal_seq for row in found])
        rows = []
        for row in reversed(found):
            entry = audited_entry(row)
            fields = entry.model_dump(exclude={"payload", "verified", "key_version"})
            rows.append(answers.TimelineRow(**fields, row_hash=hashes.get(entry.seq)))
        return answers.Timeline(rows=rows, next=_next(rows, limit))

    async def llm_runs(self, limit: int, cursor: int | None) -> answers.LlmRuns:
        """Return a page of model runs without their texts, newest first."""
        rows = [
            answers.LlmRunRow(
                run_id=run.run_id,
                incident=run.incident,
                model=run.model,
                outcome=run.outcome,
                error=run.error,
                tokens=run.tokens,
                elapsed_ms=run.elapsed_ms,
                prompt_hash=run.prompt_hash,
                response_hash=run.response_hash,
                created_us=_us(run.created_at),
                seq=run.journal_seq,
            )
            for run in await api.llm_runs(self._dsn(), limit, cursor)
        ]
        return answers.LlmRuns(runs=rows, next=_next(rows, limit))

    async def llm_records(self, run_id: str) -> answers.LlmRecords:
        """Return a run, or all of an incident, with prompt and response.

        Raises:
            Problem: there is none.
        """
        found = await api.llm_records(self._dsn(), run_id)
        if not found:
            raise not_found(f"model run {run_id[:80]!r}")
        records: list[dict[str, Any]] = api.plain(found)
        return answers.LlmRecords(records=records)

    async def runs(self, limit: int) -> answers.Runs:
        """Return the newest scenario runs, newest first."""
        rows = [
            answers.RunRow(
                id=run.id,
                scenario=run.scenario,
                seed=run.seed,
                noise=run.noise,
                incident=run.incident,
                started_us=_us(run.started_at),
                ended_us=_us(run.ended_at),
                verdict=run.verdict,
                score=dict(run.score),
            )
            for run in await api.scenario_runs(self._dsn(), limit)
        ]
        return answers.Runs(runs=rows)

    async def figures(self) -> answers.Figures:
        """Return the figures of the runs since midnight UTC."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        runs = [run for run in await api.scenario_runs(self._dsn(), 1_000) if run.started_at >= midnight]
        today = figures([Run(_breaks(run.scenario), run.verdict, run.score) for run in runs])
        return answers.Figures(
            injected=today.injected,
            recovered=today.recovered,
            sr=today.success_rate,
            mrl_s=today.mean_replan_latency_s,
            mttr_s=today.median_recovery_s,
            since_us=_us(midnight),
        )

    async def _story(self, incident: str) -> api.IncidentStory:
        found = await api.incident_story(self._dsn(), incident)
        if found is None:
            raise not_found(f"incident {incident[:60]!r} in the audit")
        return found


class _Row(Protocol):
    @property
    def seq(self) -> int: ...


def _next(rows: Sequence[_Row], limit: int) -> int | None:
    """Return where the page after this one begins; None if this is the last."""
    return rows[-1].seq if len(rows) == limit else None


def _breaks(scenario: str) -> bool:
    """Tell whether a scenario injects something; one that is not ours is taken to."""
    try:
        return bool(load(scenario).faults)
    except HarnessError:
        return True


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
