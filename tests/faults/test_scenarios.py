"""The scenarios that hold one of everything are recovered, and their recordings are decided again byte by byte.

All of them are run by `triage suite --set full`; here stand the nightly set and one of each thing that may happen.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from broker.envelope import open_frame
from harness.cheats import CHEATS
from harness.control import connect
from harness.errors import BadRecordingError
from harness.recording import Recording
from harness.replay import replay
from harness.scenario import draw, load, names
from harness.site import deployment
from harness.validate import LIVE, REPAIRED, Proof, Prover
from tests.support.runs import assert_audit_holds, assert_nothing_happened_twice, assert_recovered, run

pytestmark = pytest.mark.stack
OTHERS = ("agent_killed_mid_task", "chaos1", "no_fault", "second_fault_during_repair", "service_killed")


@pytest.mark.parametrize("name", [*names("nightly"), *OTHERS])
def test_a_scenario_is_recovered_and_replays_identically(
    home: Path, tmp_path: Path, record_property: Callable[[str, object], None], name: str
) -> None:
    path = tmp_path / f"{name}.recording"
    outcome = run(home, draw(load(name)), path)
    assert_recovered(outcome)
    # A figure of the suite and the bench, not asserted: on a loaded machine a service that was just started anew, and
    # is not ready yet, looks like one that ended, and the same repair is right for both.
    record_property("cause named", outcome.located)
    report = replay(path)
    assert report.difference is None, report.difference
    assert report.decisions > 0
    assert_nothing_happened_twice(home)
    assert_audit_holds(home)
    assert_an_edit_is_found(path)


def assert_an_edit_is_found(path: Path) -> None:
    """Edit the first accepted plan in a copy of the recording: the replay names that very event."""
    edited = path.with_suffix(".edited")
    objects = list(msgpack.Unpacker(io.BytesIO(path.read_bytes()), raw=False))
    event = next(item for item in objects[1:-1] if item[2].endswith(".accepted"))
    payload = open_frame(event[3]).payload
    event[3] = event[3].replace(payload, payload.replace(b'"attempt":1', b'"attempt":2'))
    edited.write_bytes(b"".join(bytes(msgpack.packb(item, use_bin_type=True)) for item in objects))
    with pytest.raises(BadRecordingError, match=f"event {event[0]} on"):
        list(Recording(edited).events())


def test_an_oracle_is_proved_on_a_live_stack(home: Path) -> None:
    """The subset of `triage scenario validate --all` that CI runs: a fault whose repair starts the workload anew."""
    proof = asyncio.run(_proved(home))
    assert proof.ok, [(item.name, item.detail) for item in proof.checks if not item.holds]
    assert [item.name for item in proof.checks] == [LIVE, *(cheat.name for cheat in CHEATS), REPAIRED]


async def _proved(home: Path) -> Proof:
    async with connect(home) as control:
        prover = Prover(deployment(home), control)
        async with prover.prepared():
            return await prover.prove(draw(load("service_killed")))
