"""Running scenarios in tests, and what must hold after each of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from harness.control import connect
from harness.run import Outcome, Runner
from harness.scenario import Draw, KillStep, draw, load
from harness.site import deployment
from harness.store import verify_audit


def run(home: Path, drawn: Draw, record: Path | None = None) -> Outcome:
    """Run a drawn scenario on a running stack."""

    async def body() -> Outcome:
        async with connect(home) as control:
            return await Runner(home, control).run(drawn, record=record)

    return asyncio.run(body())


def drift_with(*kills: KillStep, seed: int = 42) -> Draw:
    """Return the drift scenario with processes killed at their cues."""
    scenario = load("db_conn_drift").model_copy(update={"kills": kills})
    return draw(scenario, seed=seed)


def assert_recovered(outcome: Outcome) -> None:
    """Fail with the oracle's own words unless the run is recovered."""
    failed = [f"{clause.name}: {clause.detail}" for clause in outcome.judgement.clauses if not clause.ok]
    assert not failed, f"{outcome.scenario} seed {outcome.seed}: {failed}"


def assert_ended_verified(outcome: Outcome) -> None:
    """Fail unless the fault is gone, users are served and the verdict says so. How few actions it took is not asked:
    two commands beside a run load a small machine so that a slow service is looked into as well."""
    economy = ("nothing else changed", "no more actions than called for")
    failed = [f"{c.name}: {c.detail}" for c in outcome.judgement.clauses if not c.ok and c.name not in economy]
    assert outcome.judgement.clauses
    assert not failed, f"{outcome.scenario} seed {outcome.seed}: {failed}"


def assert_nothing_happened_twice(home: Path) -> None:
    """Fail if the platform's ledger shows two effects under one key."""
    effects = asyncio.run(deployment(home).witness().effects())
    twice = {key: count for key, count in Counter(key for key, _, _ in effects).items() if count > 1}
    assert not twice, f"effects that happened more than once: {twice}"


def assert_audit_holds(home: Path) -> None:
    """Fail with the verifier's own words unless the audit trail holds."""
    report = asyncio.run(verify_audit(home))
    assert report.ok, [fault.sentence for fault in report.faults]
