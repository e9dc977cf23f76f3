"""The rulebook on every scenario, several seeds each: verified recoveries, times, and what `no_fault` provokes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from harness.bench.figures import Figure
from harness.control import connect
from harness.errors import HarnessError
from harness.replay import Report, replay
from harness.run import Outcome, Runner
from harness.scenario import draw, load
from harness.score import mean_replan_latency, success_rate
from harness.store import remember

SCENARIOS = (
    "db_conn_drift",
    "cache_poison",
    "network_partition",
    "service_killed",
    "agent_killed_mid_task",
    "no_fault",
)
SEEDS = (1, 2, 3, 4, 5)
RECOVERY_BOUND_S = 20.0
OWN_BOUND_S = 1.0
REPLAY_BOUND = 6_000.0
"""Events a second, each recording replayed once beside a running stack: 8,700 were measured so before replay became
half again as fast."""


async def measure(home: Path, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Run every scenario with every seed on the running stack; record each run and replay it."""
    outcomes: list[Outcome] = []
    failures: list[str] = []
    replays: list[Report] = []
    different: list[str] = []
    for name in SCENARIOS:
        for seed in SEEDS:
            path = folder / f"{name}-{seed}.recording"
            try:
                outcome = await _run(home, name, seed, path)
            except HarnessError as error:
                failures.append(f"{name} seed {seed}: {error}")
                say(failures[-1])
                continue
            outcomes.append(outcome)
            say(_line(outcome))
            report = replay(path)
            replays.append(report)
            different += [] if report.difference is None else [f"{name} seed {seed}"]
    return [*_recovery(outcomes, len(failures)), _idle_hands(outcomes), _replays(replays, different)]


async def _run(home: Path, name: str, seed: int, path: Path) -> Outcome:
    async with connect(home) as control:
        outcome = await Runner(home, control).run(draw(load(name), seed=seed), record=path)
    await remember(home, outcome)
    return outcome


def _line(outcome: Outcome) -> str:
    score = outcome.score
    after = "-" if score.time_to_recover_s is None else f"{score.time_to_recover_s:.1f} s"
    word = "recovered" if outcome.ok else "NOT recovered"
    located = {None: "", True: ", cause found", False: ", cause NOT found"}[outcome.located]
    wrong = "".join(f"; {clause.name}: {clause.detail}" for clause in outcome.judgement.clauses if not clause.ok)
    return f"{outcome.scenario} seed {outcome.seed}: {word} after {after}{located}{wrong}"


def _recovery(outcomes: Sequence[Outcome], failed: int) -> list[Figure]:
    total, good = len(outcomes) + failed, sum(outcome.ok for outcome in outcomes)
    broken = [outcome for outcome in outcomes if outcome.injected_at is not None]
    spans = [o.score.time_to_recover_s for o in broken if o.score.time_to_recover_s is not None]
    own = [o.score.control_plane_s for o in broken if o.score.control_plane_s is not None]
    detect = [o.score.time_to_detect_s for o in broken if o.score.time_to_detect_s is not None]
    located = [outcome.located for outcome in broken]
    scores = [outcome.score for outcome in outcomes]
    mrl = mean_replan_latency(replan for score in scores for replan in score.replans)
    rate = success_rate(scores)
    middle, own_middle = (median(spans), median(own)) if spans and own else (float("inf"), float("inf"))
    return [
        Figure(
            "rulebook, each of the 6 scenarios, 5 seeds each: verified recoveries",
            "100 %",
            f"{good} of {total}",
            good == total == len(SCENARIOS) * len(SEEDS),
        ),
        Figure("fault injected -> verified, median", "20 s", f"{middle:.1f} s", middle <= RECOVERY_BOUND_S),
        Figure("of which the control plane's own work, median", "1 s", f"{own_middle:.2f} s", own_middle < OWN_BOUND_S),
        Figure("cause found (device and class of fault)", "-", f"{sum(map(bool, located))} of {len(located)}", True),
        Figure("MTTD (injected -> seen), mean", "-", _mean(detect), True),
        Figure("MTTR (injected -> verified), mean", "-", _mean(spans), True),
        Figure("SR (spec 10)", "-", "-" if rate is None else f"{rate:.2f}", True),
        Figure("MRL (spec 10)", "-", "no replan was needed" if mrl is None else f"{mrl:.1f} s", True),
    ]


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1f} s" if values else "-"


def _idle_hands(outcomes: Sequence[Outcome]) -> Figure:
    calm = [outcome.score.actions for outcome in outcomes if outcome.scenario == "no_fault"]
    return Figure("`no_fault`, 5 seeds: actions taken", "0", str(sum(calm)), len(calm) == len(SEEDS) and not sum(calm))


def _replays(reports: Sequence[Report], different: Sequence[str]) -> Figure:
    """The rate is of all replays together: one takes some 15 ms, too short to be a figure; the slowest is shown."""
    seconds = sum(report.seconds for report in reports)
    rate = sum(report.events for report in reports) / seconds if seconds else 0.0
    slowest = min((report.events_per_second for report in reports), default=0.0)
    same = f"same bytes in {len(reports) - len(different)} of {len(reports)}"
    measured = f"{same}, {rate:,.0f} events/s (slowest {slowest:,.0f})"
    reached = bool(reports) and not different and rate >= REPLAY_BOUND
    return Figure("replay of a recorded incident", f"same bytes, {REPLAY_BOUND:,.0f} events/s", measured, reached)
