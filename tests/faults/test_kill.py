"""kill -9 of each role, the broker too, in the middle of a scenario: it still ends verified, nothing happens twice, and
the audit trail holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.scenario import KillStep
from tests.support.runs import assert_audit_holds, assert_nothing_happened_twice, assert_recovered, drift_with, run

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("victim", "when"),
    [
        ("planner", "plan.requested"),
        ("scheduler", "plan.accepted"),
        ("scheduler", "result"),
        ("monitor", "plan.executed"),
        ("sensors", "plan.accepted"),
        ("auditor", "plan.accepted"),
        ("broker", "plan.accepted"),
    ],
)
def test_a_killed_role_costs_nothing_but_time(home: Path, victim: str, when: str) -> None:
    step = KillStep.model_validate({"when": when, "victim": victim})
    assert_recovered(run(home, drift_with(step)))
    assert_nothing_happened_twice(home)
    assert_audit_holds(home)


@pytest.mark.parametrize("kind", ["log", "action"])
def test_a_killed_agents_task_is_done_by_another(home: Path, kind: str) -> None:
    step = KillStep.model_validate({"when": "claim", "kind": kind, "victim": "claimant"})
    assert_recovered(run(home, drift_with(step)))
    assert_nothing_happened_twice(home)
    assert_audit_holds(home)
