"""What `triage suite` does: choose, run what is missing, count, hold against gates, write the report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadScenarioError
from harness.evaluation.record import machine
from harness.gates import Gate, Held
from harness.site import Deployment, Progress
from harness.suite import page
from harness.suite.commit import sources
from harness.suite.drive import Tell, drive
from harness.suite.gates import hold
from harness.suite.plan import SuitePlan, plan, planners
from harness.suite.report import About, Report, markdown, report, scores, tallies
from harness.suite.result import RunResult
from harness.suite.sets import chosen, read
from harness.suite.store import REPORT_HTML, REPORT_JSON, SCORES, SUMMARY, Results, write_whole


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be run."""

    set: str
    seeds: int
    planners: tuple[str, ...]
    gates: tuple[Gate, ...]
    folder: Path
    platform: str
    command: str
    mode: str
    """How a model is to be asked, where one is; `model`: which of the endpoint's, if that is set."""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What came out."""

    report: Report
    held: tuple[Held, ...]
    folder: Path

    @property
    def page(self) -> Path:
        """Return the page's path."""
        return self.folder / REPORT_HTML


async def run(wish: Wish, stack: Callable[[], Deployment], tell: Tell, progress: Progress) -> Written:
    """Run a suite to its end and write its report; also of what there is, if it ends before.

    Args:
        stack: gives the stack; asked only if something is to be run.

    Raises:
        NotFoundError, BadScenarioError: set, scenario or planner; nothing was started. And as `drive`.
    """
    suites = read()
    made = plan(
        chosen(wish.set, suites),
        wish.seeds,
        planners(wish.planners, mode=wish.mode, model=wish.model),
        platform=wish.platform,
        commit=sources(),
    )
    if not made.items:
        raise BadScenarioError(f"none of the scenarios can be made on {wish.platform}: {', '.join(made.skipped)}")
    results = Results(wish.folder)
    try:
        runs: Sequence[RunResult] = await drive(
            made.items, await asyncio.to_thread(stack), results, suites, tell, progress
        )
    except BaseException:
        there = [found for item in made.items if (found := results.find(item.key)) is not None]
        if there:
            _write(wish, made, there)
        raise
    return _write(wish, made, runs)


def _write(wish: Wish, made: SuitePlan, runs: Sequence[RunResult]) -> Written:
    held = hold(wish.gates, tallies(runs))
    found = report(_about(wish, made, runs), runs, held)
    write_whole(wish.folder / REPORT_JSON, found.model_dump_json(indent=1) + "\n")
    write_whole(wish.folder / REPORT_HTML, page.page(found))
    write_whole(wish.folder / SUMMARY, markdown(found))
    write_whole(wish.folder / SCORES, json.dumps(scores(found), indent=1) + "\n")
    return Written(found, held, wish.folder)


def _about(wish: Wish, made: SuitePlan, runs: Sequence[RunResult]) -> About:
    return About(
        set=wish.set,
        scenarios=tuple(dict.fromkeys(item.key.scenario for item in made.items)),
        seeds=wish.seeds,
        planners=tuple(dict.fromkeys(item.key.planner for item in made.items)),
        platform=wish.platform,
        planned=len(made.items),
        skipped=made.skipped,
        commit=made.items[0].key.commit,
        machine=machine(),
        date=max(run.started_at for run in runs).date().isoformat(),
        command=wish.command,
    )
