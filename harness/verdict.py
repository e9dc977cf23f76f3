"""The verdict on a run: pure, over everything that was measured. What measures stands in `harness/oracle.py`.

Three parts, and a run is recovered only when all of them hold:

1. *state repaired*: the world shows none of the faults, one clause each;
2. *users are served*: the load generator's figures meet the objective for a whole window, under the load of before;
3. *nothing else changed*: the world is the one from before the fault in declaration, state and limits, and starts are
   counted.

A measurement that is missing fails its clause, and so the run (docs/adr/0020).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from broker.contracts.inventory import Objective
from injector.collateral import Baseline, changes
from injector.fault import Evidence, Spec
from injector.registry import check
from services.inventory.declared import TRAFFIC_RATE

MIN_TRAFFIC = 0.5
"""Share of the declared rate that must have been sent: a throttled generator proves nothing. Chance never sends so
little for long: between the bursts of the greatest noise 0.6 of the rate are left (services/shop/arrivals.py)."""
SERVED = "users are served"
UNCHANGED = "nothing else changed"
LOAD = ("rate", "noise", "seed")
"""What makes a load the same one."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str
    items: tuple[str, ...] = ()
    """What was found, one sentence each, where a clause is about several things."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the oracle says of a run."""

    clauses: tuple[Clause, ...]

    @property
    def ok(self) -> bool:
        return all(clause.ok for clause in self.clauses)

    @property
    def failed(self) -> tuple[Clause, ...]:
        """The clauses that do not hold."""
        return tuple(clause for clause in self.clauses if not clause.ok)


@dataclass(frozen=True, slots=True)
class Missing:
    """A measurement that could not be had, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class FaultSeen:
    """What the world shows of one fault."""

    fault: str
    target: str
    found: Evidence | Missing

    @property
    def clause(self) -> str:
        return f"{self.fault} on {self.target} is gone"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the load generator says of the last window, and what it is set to."""

    stats: Mapping[str, object]
    load: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Before:
    """The world after its deployment and before the fault, and the load it was under."""

    world: Baseline
    load: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything a verdict rests on."""

    before: Before
    faults: tuple[FaultSeen, ...]
    traffic: Traffic | Missing
    after: Baseline | Missing
    allowed: Mapping[str, int]
    """Starts that each workload may have had since before the fault; none where it is not named."""


def judge(seen: Observations, objective: Objective) -> Judgement:
    """Give the verdict, clause by clause."""
    state = tuple(_gone(fault) for fault in seen.faults)
    return Judgement((*state, judge_served(seen.traffic, objective, seen.before.load), _unchanged(seen)))


def allowed_starts(specs: Sequence[Spec], own: Mapping[str, int], actions: int = 1) -> Mapping[str, int]:
    """Return how often each workload may have been started.

    Args:
        own: starts that the injection itself made.
        actions: what the repair may do in all; a workload in which a fault lies may be started so often.
    """
    suspects = Counter(check(spec).truth(spec)[0] for spec in specs)
    return Counter({name: max(faults, actions) for name, faults in suspects.items()}) + Counter(own)


def judge_served(traffic: Traffic | Missing, objective: Objective, load: Mapping[str, object]) -> Clause:
    """Say whether users are served under the load of before.

    Args:
        load: what the generator was set to before the fault; whatever it says, the declared rate is the least.
    """
    if isinstance(traffic, Missing):
        return Clause(SERVED, False, f"the measurement failed: {traffic.why}")
    rate = _number(traffic.load.get("rate"))
    if rate is None or not rate >= TRAFFIC_RATE:
        said = "nothing that is a rate" if rate is None else f"{rate:g}/s"
        return Clause(SERVED, False, f"the load generator is set to {said}; {TRAFFIC_RATE:g}/s are declared")
    other = [name for name in LOAD if name in load and traffic.load.get(name) != load[name]]
    if other:
        told = ", ".join(f"{name} {load[name]} before, {traffic.load.get(name)} now" for name in other)
        return Clause(SERVED, False, f"it is another load: {told}")
    return judge_traffic(traffic.stats, objective)


def judge_traffic(stats: Mapping[str, object], objective: Objective, rate: float = TRAFFIC_RATE) -> Clause:
    """Compare the load generator's figures with the objective.

    Args:
        rate: requests per second that are declared. Never the generator's own: who throttles it throttles that too.
    """
    ratio, p95, sent = (_number(stats.get(key)) for key in ("success_ratio", "p95_ms", "sent"))
    if sent is None or ((ratio is None or p95 is None) and sent > 0):
        return Clause(SERVED, False, f"the load generator's figures are incomplete: {dict(stats)}")
    if not sent >= MIN_TRAFFIC * rate * objective.window_s:  # so put, a NaN is too little as well
        return Clause(SERVED, False, f"only {sent:g} requests in {objective.window_s} s; {rate:g}/s are declared")
    if ratio is None or p95 is None:
        return Clause(SERVED, False, f"the load generator's figures are incomplete: {dict(stats)}")
    wanted = f"{objective.success_ratio:.0%} within {objective.latency_ms:g} ms are promised"
    detail = f"{ratio:.1%} of {sent:g} requests good in {objective.window_s} s, 95 % within {p95:.0f} ms"
    good = ratio >= objective.success_ratio and p95 <= objective.latency_ms
    return Clause(SERVED, good, detail if good else f"{detail}; {wanted}")


def _gone(seen: FaultSeen) -> Clause:
    if isinstance(seen.found, Missing):
        return Clause(seen.clause, False, f"the measurement failed: {seen.found.why}")
    return Clause(seen.clause, not seen.found.present, seen.found.detail)


def _unchanged(seen: Observations) -> Clause:
    if isinstance(seen.after, Missing):
        return Clause(UNCHANGED, False, f"the measurement failed: {seen.after.why}")
    found = changes(seen.before.world, seen.after, allowed=seen.allowed)
    kept = f"every workload runs as declared; the fingerprint {seen.before.world.fingerprint} is the one from before"
    return Clause(UNCHANGED, not found, "; ".join(found) or kept, found)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(str(value))
    except ValueError:
        return None
