"""The demo: a fresh run of the spec's own incident on the embedded stack, from messy words to a verified repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.control import connect
from harness.replay import Report, replay
from harness.run import Outcome, Runner, Watch
from harness.scenario import draw, load
from harness.site import deployment
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


def recording_name() -> str:
    """Return a name for a demo's recording, made from the time of day (UTC)."""
    return f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}.recording"


async def play(
    home: Path,
    base: int,
    progress: Callable[[str, str], None],
    watch: Watch,
    record: Path | None = None,
    *,
    keep: bool = False,
) -> Demo:
    """Start the stack unless it is up, run the demo's scenario, stop what was started.

    Args:
        record: where the recording goes; `recording_name()` in the home unless given.
        keep: leave the stack up, unless something went wrong.

    Raises:
        StackError, HarnessError: one sentence says what went wrong.
    """
    stack = deployment(home, base)
    started = not stack.is_up()
    if started:
        await stack.up(progress=progress)
    try:
        recording = record or home / "recordings" / recording_name()
        async with connect(home) as control:
            outcome = await Runner(home, control, watch).run(draw(load(SCENARIO)), record=recording)
        await remember(home, outcome)
        audit = await verify_audit(home)
        return Demo(outcome, recording, replay(recording), audit.rows, audit.ok)
    except BaseException:
        keep = False
        raise
    finally:
        if started and not keep:
            await stack.down()
