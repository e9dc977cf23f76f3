"""Do the tables beside the chain say what their messages say? Made again from the envelopes and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auditor_svc.projections import PROJECTED, TABLES, Fact, project_again
from auditor_svc.report import Fault
from auditor_svc.store import Store
from broker.errors import SchemaError

_END = 2**63 - 1
_MESSAGES = """
    SELECT journal_seq, time_us, type, payload FROM envelopes
     WHERE refusal IS NULL AND type = ANY($1) ORDER BY journal_seq"""
_PROMPTS = """
    SELECT r.journal_seq FROM llm_runs r
     WHERE r.prompt::text IS DISTINCT FROM (
           SELECT p.prompt::text FROM llm_prompts p
            WHERE p.run_id = r.run_id AND p.journal_seq < r.journal_seq ORDER BY p.journal_seq DESC LIMIT 1)
     ORDER BY r.journal_seq"""


async def check_projections(store: Store) -> list[Fault]:
    """Return a fault for every row of `TABLES` that is missing, foreign or changed. Only inside `store.snapshot`."""
    faults: list[Fault] = []
    done = -_END
    async for page in store.pages(_MESSAGES, list(PROJECTED)):
        expected = _made_again(page, faults)
        until = page[-1]["journal_seq"]
        faults += await _compare(store, expected, done, until)
        done = until
    faults += await _compare(store, {}, done, _END)
    for row in await store.fetch(_PROMPTS):
        faults.append(_fault(row["journal_seq"], "llm_runs", "has another prompt than the one that was asked"))
    return faults


def _made_again(page: Sequence[Mapping[str, Any]], faults: list[Fault]) -> dict[tuple[str, int], Fact]:
    found = {}
    for message in page:
        seq = message["journal_seq"]
        try:
            fact = project_again(seq, message["time_us"], message["type"], message["payload"] or "")
        except SchemaError:
            faults.append(_fault(seq, "envelopes", "has a payload that its type does not allow"))
            continue
        if fact is not None:
            found[fact.table, seq] = fact
    return found


async def _compare(store: Store, expected: dict[tuple[str, int], Fact], after: int, until: int) -> list[Fault]:
    """Compare the rows with `after < journal_seq <= until` of all tables; uses up `expected`."""
    faults = []
    for table, columns in TABLES.items():
        names = ", ".join(("journal_seq", *columns))
        query = f"SELECT {names} FROM {table} WHERE journal_seq > $1 AND journal_seq <= $2"  # noqa: S608 - our own names
        for row in await store.fetch(query, after, until):
            seq, *values = row.values()
            fact = expected.pop((table, seq), None)
            if fact is None:
                faults.append(_fault(seq, table, "comes from no message"))
            elif fact.values != tuple(values):
                wrong = [name for name, a, b in zip(columns, fact.values, values, strict=True) if a != b]
                faults.append(_fault(seq, table, f"does not say what its message says: {', '.join(wrong)}"))
    faults += [_fault(seq, table, "is missing") for table, seq in expected]
    return faults


def _fault(journal_seq: int, table: str, what: str) -> Fault:
    return Fault("projection", journal_seq, f"the row of {table} for journal_seq {journal_seq} {what}")
