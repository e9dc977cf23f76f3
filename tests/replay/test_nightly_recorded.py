"""Real runs of the nightly scenarios are decided again byte for byte, a hundred times; an altered one is found out.

A change that makes this fail changes decisions: raise the machine's version, and record anew
(`tests/support/recordings.py`).
"""

from __future__ import annotations

import pytest

from harness.replay import replay
from tests.support.recordings import ALTERED, NIGHTLY, SIGNED, fixture
from tests.support.signing import master

REPETITIONS = 100


@pytest.mark.parametrize("name", NIGHTLY)
def test_a_nightly_run_is_decided_the_same_a_hundred_times(name: str) -> None:
    reports = [replay(fixture(name)) for _ in range(REPETITIONS)]
    assert {report.difference for report in reports} == {None}
    assert len({report.digest for report in reports}) == 1
    assert {report.scenario for report in reports} == {name}
    assert reports[0].decisions > 20


def test_recordings_of_both_formats_are_among_them() -> None:
    assert {replay(fixture(name)).format for name in NIGHTLY} == {1, 2}


def test_the_altered_run_diverges_where_the_scheduler_would_have_gone_on_otherwise() -> None:
    report = replay(fixture(ALTERED))
    assert report.difference is not None
    assert report.difference.machine == "scheduler"
    assert report.difference.recorded != report.difference.decided
    assert report.digest != replay(fixture(SIGNED)).digest


def test_the_signature_says_who_recorded_it_not_that_it_is_true() -> None:
    public = master().recording_public
    assert public is not None
    for name in (SIGNED, ALTERED):
        assert replay(fixture(name), signed_by=public).signed_by == public.hex()
