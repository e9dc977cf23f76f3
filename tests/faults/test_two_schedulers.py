"""Two schedulers at once change nothing but resilience."""

from __future__ import annotations

import pytest

from harness.scenario import KillStep
from tests.faults.conftest import running_stack
from tests.support.runs import (
    assert_audit_holds,
    assert_nothing_happened_twice,
    assert_recovered,
    drift_with,
    run,
)

pytestmark = pytest.mark.stack


def test_two_schedulers_change_nothing_but_resilience() -> None:
    """Two schedulers decide side by side; one is killed in mid-scenario and nobody notices."""
    with running_stack(schedulers=2) as home:
        assert_recovered(run(home, drift_with()))
        step = KillStep(when="plan.accepted", victim="scheduler")
        assert_recovered(run(home, drift_with(step, seed=43)))
        assert_nothing_happened_twice(home)
        assert_audit_holds(home)
