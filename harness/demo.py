"""The demo: a fresh run of the spec's own incident on the embedded stack, from messy words to a verified repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.embedded.stack import Stack
from harness.control import connect
from harness.replay import Report, replay
from harness.run import Outcome, Runner, Watch
from harness.scenario import draw, load
from harness.site import is_up
from harness.store import remember, verify_audit

SCENARIO = "db_conn_drift"


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo came to."""

    outcome: Outcome
    recording: Path
    replayed: Report
    audit_rows: int
    audit_ok: bool

    @property
    def ok(self) -> bool:
        """Verified by the oracle, the record holds, and the replay is identical."""
        return self.outcome.ok and self.audit_ok and self.replayed.difference is None


async def play(home: Path, base: int, progress: Callable[[str, str], None], watch: Watch) -> Demo:
    """Start the stack unless it is up, run the demo's scenario, stop what was started.

    Raises:
        StackError, HarnessError: one sentence says what went wrong.
    """
    stack = Stack(home, base)
    started = not is_up(home)
    if started:
        await stack.up(progress=progress)
    try:
        at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        recording = home / "recordings" / f"demo-{at}.recording"
        async with connect(home) as control:
            outcome = await Runner(home, control, watch).run(draw(load(SCENARIO)), record=recording)
        await remember(home, outcome)
        audit = await verify_audit(home)
        return Demo(outcome, recording, replay(recording), audit.rows, audit.ok)
    finally:
        if started:
            await stack.down()
