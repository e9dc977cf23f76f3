"""Which of several proposals wins (spec 6): the highest plan version, then the first plan id in lexicographic order.

The version is the scheduler's own, from the request that the proposal answers: a plan cannot win by naming a high one.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.contracts.plan import PlanProposed


def prefer(proposals: Iterable[PlanProposed]) -> tuple[PlanProposed, ...]:
    """Return the proposals, best first. Equal plan ids stand in the order of their attempts."""
    return tuple(sorted(proposals, key=lambda one: (-one.version, one.plan.plan_id, one.attempt)))
