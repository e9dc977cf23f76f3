"""The audit store as the harness uses it: remember a run with its seed, verify the trail."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import stamina

from auditor_svc import api
from auditor_svc.report import Report
from broker.contracts.control import Checkpoint
from broker.contracts.inventory import Inventory
from broker.errors import KeyringError, Refusal
from broker.gate import Gate
from broker.port import Stored
from harness.cli.output import plain
from harness.control import ControlPlane, connect
from harness.errors import StackDownError
from harness.run import Outcome
from harness.site import KeyPlace, Site, open_site
from harness.traffic import generator

LAG_TIMEOUT_S = 10.0
"""How long the auditor may be behind the journal before its trail counts as cut off, seconds."""


class _BehindError(Exception):
    """The auditor has not written the newest message yet."""


async def remember(home: Path, outcome: Outcome) -> None:
    """Write a run with its seed into `scenario_run` (spec 11)."""
    run = api.ScenarioRun(
        id=f"{outcome.scenario}/{outcome.seed}/{outcome.incident}",
        scenario=outcome.scenario,
        seed=outcome.seed,
        noise=outcome.noise,
        started_at=datetime.fromtimestamp(outcome.started_at, UTC),
        ended_at=datetime.now(UTC),
        verdict="recovered" if outcome.ok else "not_recovered",
        score=plain(outcome.score),
        incident=outcome.incident,
    )
    await api.record_scenario_run(open_site(home).audit_dsn, run)


async def verify_audit(home: Path) -> Report:
    """Verify the trail in the database against its signed checkpoints in the file and in the journal.

    Raises:
        StackDownError: no stack is up. StoreDownError: the database does not answer.
    """
    site = open_site(home)
    checkpoints: tuple[Checkpoint, ...] = ()
    tail: int | None = None
    try:
        async with connect(home) as control:
            tail = await _newest(control, site.inventory)
            checkpoints = await _published(control)
    except StackDownError:
        tail = None  # without its broker the trail is still held against the auditor's own checkpoint file
    return await _verify(site, checkpoints, tail)


async def _verify(site: Site, checkpoints: tuple[Checkpoint, ...], tail: int | None) -> Report:
    key = public_key(site.keys)
    report = None
    try:
        async for attempt in stamina.retry_context(on=_BehindError, timeout=LAG_TIMEOUT_S, attempts=None, wait_max=1.0):
            with attempt:
                report = await api.verify_database(
                    site.audit_dsn, key, site.checkpoints, journal_checkpoints=checkpoints, expected_tail=tail
                )
                if {fault.kind for fault in report.faults} == {"cut_off"}:
                    raise _BehindError
    except _BehindError:
        pass
    assert report is not None  # noqa: S101 - the first attempt has set it
    return report


def public_key(keys: KeyPlace) -> bytes:
    """Return the key that verifies checkpoints, out of the operator's key file; no stack need be up.

    Raises:
        KeyringError: key file or passphrase are missing or wrong, or the file does not hold it.
    """
    ring = keys.load("operator")
    if ring.checkpoint_public is None:
        raise KeyringError(f"{keys.of('operator')} holds no public key of the auditor")
    return ring.checkpoint_public


async def _newest(control: ControlPlane, inventory: Inventory) -> int | None:
    """Return the sequence of the newest telemetry of the traffic: it comes every second and is never taken back."""
    newest = await control.broker.last(f"triage.telemetry.{generator(inventory).name}")
    return None if newest is None else newest.seq


async def _published(control: ControlPlane) -> tuple[Checkpoint, ...]:
    gate = Gate(control.keyring)
    found = []
    async for item in control.broker.read(pattern="triage.audit.checkpoint.>", follow=False):
        if not isinstance(item, Stored):
            continue
        try:
            message = gate.admit(item).message
        except Refusal:
            continue  # a forged checkpoint proves nothing; the auditor has named it
        if isinstance(message, Checkpoint):
            found.append(message)
    return tuple(found)
