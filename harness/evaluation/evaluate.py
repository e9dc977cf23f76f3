"""Measures rulebook, model, and both together on the set: every situation is decided by the planner's own code, twice.

Once by the rulebook alone; once with the model, whose raw answer is judged by itself and whose place in the pipeline is
judged by the plan that came out. Answers are kept, so a second run asks nobody (`answers.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from broker.contracts.plan import PlanAnswered, PlanPrompted
from harness.evaluation.answers import Answers
from harness.evaluation.data import Truth
from harness.evaluation.judge import NOTHING, Verdict, judge_draft, judge_hypothesis, judge_plan
from harness.evaluation.library import Case
from harness.evaluation.play import Ask, Asked, Decision, decide
from planner_svc.core.answer import NO_WORDS, UnusableAnswerError, read_answer
from planner_svc.core.config import PlannerConfig
from planner_svc.core.draft import read_draft

Mode = Literal["hypothesis", "full"]


@dataclass(frozen=True, slots=True)
class Raw:
    """A model's first answer by itself."""

    verdict: Verdict
    outcome: str
    text: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    prompt_hash: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one situation."""

    case: Case
    rules: Verdict
    rules_ms: float
    rules_waited_s: float
    model: Raw | None
    """None if no model was asked."""
    combined: Verdict | None
    fallback: bool | None
    """Whether the plan is the rulebook's although a model was asked."""
    attempts: int

    @property
    def agreed(self) -> bool | None:
        """Whether model and rulebook name the same device and class; None where no model said anything readable."""
        if self.model is None or self.model.verdict.said is None:
            return None
        return self.model.verdict.said == self.rules.said


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is."""

    done: int
    total: int
    left_s: float
    """Estimate from what the last ones took, seconds."""


async def evaluate(
    cases: Sequence[Case],
    config: PlannerConfig,
    *,
    mode: Mode | None = None,
    ask: Ask | None = None,
    answers: Answers | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> list[Outcome]:
    """Decide every situation.

    Args:
        config: the planner's configuration; its mode is set here.
        mode: how the model is asked; None measures the rulebook alone.
        answers: where answers are kept and found again.
    """
    outcomes, taken = [], []
    for number, case in enumerate(cases, 1):
        started = time.monotonic()
        outcomes.append(await _one(case, config, mode, ask, answers))
        taken.append(time.monotonic() - started)
        asked = [span for span in taken[-10:] if span > 0.5] or taken[-10:]  # what was kept is found at once
        tell(Progress(number, len(cases), sum(asked) / len(asked) * (len(cases) - number)))
    return outcomes


async def _one(
    case: Case, config: PlannerConfig, mode: Mode | None, ask: Ask | None, answers: Answers | None
) -> Outcome:
    ruled = await decide(case, config.model_copy(update={"mode": "rulebook"}))
    rules = judge_plan(case, ruled.proposal.plan, valid=ruled.valid)
    if mode is None or ask is None:
        return Outcome(case, rules, ruled.own_ms, ruled.waited_s, None, None, None, ruled.attempts)

    async def remembered(prompt: PlanPrompted) -> PlanAnswered:
        known = answers.find(case, prompt) if answers is not None else None
        if known is not None:
            return known
        answered = await ask(prompt)
        if answers is not None and answered.outcome == "ok":  # trouble with the endpoint is asked again the next time
            answers.keep(case, prompt, answered)
        return answered

    both = await decide(case, config.model_copy(update={"mode": mode}), remembered)
    combined = judge_plan(case, both.proposal.plan, valid=both.valid)
    raw = _raw(case, both.asked[0], config) if both.asked else None
    return Outcome(
        case,
        rules,
        ruled.own_ms,
        ruled.waited_s,
        raw,
        combined,
        _fell_back(both),
        both.attempts,
    )


def _fell_back(decision: Decision) -> bool:
    return bool(decision.asked) and decision.proposal.origin == "rulebook"


def _raw(case: Case, asked: Asked, config: PlannerConfig) -> Raw:
    answered = asked.answer
    return Raw(
        verdict=_raw_verdict(case, asked, config),
        outcome=answered.outcome,
        text=answered.response,
        seconds=answered.elapsed_ms / 1_000,
        prompt_tokens=answered.prompt_tokens,
        completion_tokens=answered.completion_tokens,
        prompt_hash=answered.prompt_hash,
    )


def _raw_verdict(case: Case, asked: Asked, config: PlannerConfig) -> Verdict:
    """Judge a model's answer as it stands; form may be mended, as in the pipeline."""
    if asked.answer.outcome != "ok":
        return NOTHING
    inventory = case.window.inventory
    try:
        if asked.prompt.form == "hypothesis":
            template = config.template("hypothesis")
            words = NO_WORDS if template is None else template.answers
            answer = read_answer(asked.answer.response, inventory, words)
            return judge_hypothesis(case, answer.target, answer.fault_class, config.rulebook)
        draft = read_draft(asked.answer.response, inventory)
    except UnusableAnswerError:
        return NOTHING
    said = Truth(target=draft.target, fault_class=draft.fault_class) if draft.target and draft.fault_class else None
    return judge_draft(case, said, [(task.type, task.target) for task in draft.tasks if task.acts])
