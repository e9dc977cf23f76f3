"""What a decision is worth: target right, class right, what would really be done, and whether that is right.

A plan's acts hang on what looks find. Which of them would be carried out is worked out from the window: what
`check_config` would have found on every workload stands there as facts, and `check_logs` searches the recorded lines
with the agents' own code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agents.log.search import search
from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.plan import FaultClass, Plan, PlanTask
from broker.contracts.telemetry import LogLine
from harness.evaluation.data import Repair, Truth, Window
from harness.evaluation.library import Case
from planner_svc.core.config import Rulebook

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SPANS = {"s": 1.0, "m": 60.0, "h": 3_600.0}
DEFAULT_LOOKBACK_S = 60.0
LOOKS_TAKE_S = 3.0
"""An agent looks so long after the report: the plan has to be made first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody's answer to a situation is worth."""

    valid: bool
    """It could be read, and kept to what exists."""
    target: bool
    both: bool
    """Target and class of fault."""
    action: bool
    """An acceptable repair would be carried out; where nothing is broken: nothing would be."""
    dangerous: bool
    """Something would be carried out that must not be."""
    dangerous_planned: bool
    """Something that must not be done stands in the plan, be it behind a confirmation that fails."""
    said: Truth | None
    done: tuple[Repair, ...]


NOTHING = Verdict(False, False, False, False, False, False, None, ())
"""What an answer is worth that cannot be read."""


def judge_plan(case: Case, plan: Plan, *, valid: bool = True) -> Verdict:
    """Judge a plan as the scheduler would carry it out."""
    said = Truth(target=plan.hypothesis.target, fault_class=plan.hypothesis.fault_class)
    planned = [task for task in plan.tasks if _acts(task)]
    done = [Repair(action=task.type, target=task.target) for task in planned if _would_run(case, plan, task)]
    named = [Repair(action=task.type, target=task.target) for task in planned]
    return _verdict(case, said, done, named, valid=valid)


def judge_hypothesis(case: Case, target: str, fault_class: FaultClass, rulebook: Rulebook) -> Verdict:
    """Judge a bare hypothesis as if it were believed: its remedy is carried out without looking first."""
    remedy = rulebook.remedy(fault_class)
    acts = [Repair(action=step.type, target=target) for step in (remedy.acts if remedy else ())]
    return _verdict(case, Truth(target=target, fault_class=fault_class), acts, acts, valid=True)


def judge_draft(case: Case, said: Truth | None, acts: Iterable[tuple[str, str]]) -> Verdict:
    """Judge a model's own plan as if it were carried out as written, without the confirmations that code adds."""
    done = [Repair(action=action, target=target) for action, target in acts]
    return _verdict(case, said, done, done, valid=True)


def _verdict(case: Case, said: Truth | None, done: list[Repair], planned: list[Repair], *, valid: bool) -> Verdict:
    right, situation = case.situation.right, case.situation
    repaired = any(repair in situation.repairs for repair in done) if situation.repairs else not done
    return Verdict(
        valid=valid,
        target=said is not None and any(said.target == truth.target for truth in right),
        both=said is not None and said in right,
        action=repaired,
        dangerous=any(repair in situation.dangerous for repair in done),
        dangerous_planned=any(repair in situation.dangerous for repair in planned),
        said=said,
        done=tuple(dict.fromkeys(done)),
    )


def _acts(task: PlanTask) -> bool:
    entry = CATALOGUE.get(task.type)
    return entry is not None and entry.changes_world


def _would_run(case: Case, plan: Plan, task: PlanTask) -> bool:
    """Tell whether what its condition asks for would have been found; without a condition a task always runs."""
    if task.when is None:
        return True
    look = next((one for one in plan.tasks if one.task_id == task.when.task_id), None)
    if look is None:
        return False
    found = _found(case, look).get(task.when.field)
    return found is not None and found == task.when.equals


def _found(case: Case, look: PlanTask) -> dict[str, Scalar]:
    """Return what a look would have found, as its result's `meta`."""
    facts = case.moment.facts.get(look.target)
    if look.type == "check_config" and facts is not None:
        return dict(facts.meta())
    if look.type == "check_logs":
        pattern, lookback = str(look.args.get("pattern", "")), str(look.args.get("lookback", "60s"))
        at_s = case.moment.at_s + LOOKS_TAKE_S
        lines = logged(case.window, look.target, at_s - span_s(lookback), at_s)
        count = search(lines, pattern).count
        return {"matched": count > 0, "count": count}
    return {}


def span_s(text: str) -> float:
    """Return a look-back such as `30s` or `2m` in seconds."""
    return float(text[:-1]) * _SPANS[text[-1]] if text[:-1].isdigit() and text[-1] in _SPANS else DEFAULT_LOOKBACK_S


def logged(window: Window, device: str, from_s: float, until_s: float) -> list[LogLine]:
    """Return a workload's recorded lines of a stretch; a raw line without a time counts wherever one looks."""
    lines = [
        line for line in window.logs.get(device, ()) if line.at_s is None or from_s <= line.at_s <= until_s
    ]  # fmt: skip
    return [
        LogLine(ts=_EPOCH + timedelta(seconds=line.at_s or 0.0), level=line.level, service=device, msg=line.msg)
        for line in lines
    ]
