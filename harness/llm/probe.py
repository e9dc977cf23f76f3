"""Probe a model's endpoint: canned incidents through the planner's own prompt, client, reading of answers and policy.

Nothing of the planner is rebuilt here. Every case lets calm seconds and then the fault's telemetry pass through a
`PlannerMachine`; its prompt is asked by the `ModelWorker`, and the answer goes back into the machine, whose proposal is
judged. What is recommended follows from what was seen, by `recommend`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import TypeAdapter

from broker.contracts.base import Contract, Frozen, Token
from broker.contracts.inventory import Inventory
from broker.contracts.machine import Event, Publish
from broker.contracts.plan import (
    FaultClass,
    Hypothesis,
    PlanAnswered,
    PlanPrompted,
    PlanProposed,
    PlanRequested,
    PromptForm,
)
from broker.contracts.telemetry import Metrics, Status, Telemetry
from broker.runtime.worker_host import Work
from harness.errors import HarnessError, ModelDownError
from planner_svc.config import ModelSettings, load_rulebook, newest_templates
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from planner_svc.errors import ModelError
from planner_svc.llm_client import LlmClient, open_client
from planner_svc.llm_discovery import Found
from planner_svc.worker import ModelWorker
from services.inventory.declared import inventory
from services.inventory.ports import DEFAULT_BASE

SECOND = 1_000_000
CALM_S, BROKEN_S, PATIENCE_S = 5, 3, 30
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HEALTHY_MS = 4.0
ENOUGH = 3 / 4
"""Share of the closed questions that a model must answer rightly to be of use: the rulebook answers all of these, and
the choices are so few that a model of 135 million parameters has two thirds of them by luck."""
Mode = Literal["hypothesis", "full", "rulebook"]
NoteStep = Callable[[str], None]


class Look(Frozen):
    """How a device deviates."""

    status: Status
    error_code: str | None = None
    note: str | None = None
    success_ratio: float | None = None
    latency_ms: float | None = None
    silent: bool = False
    """Its own probe got no answer: nothing about it was measured."""


class Right(Frozen):
    """A right hypothesis. Where nothing is broken, nobody in particular is meant."""

    target: Token
    fault_class: FaultClass

    def fits(self, believed: Hypothesis) -> bool:
        """Tell whether a hypothesis says the same."""
        same = self.fault_class == believed.fault_class
        return same and (self.fault_class == "none" or self.target == believed.target)


class Case(Frozen):
    """A canned incident."""

    name: str
    report: str
    looks: dict[Token, Look]
    right: tuple[Right, ...]
    full: bool = False
    """It is also asked for as a whole plan."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one case."""

    case: str
    form: PromptForm
    usable: bool
    """The answer became a plan that the planner proposes as the model's."""
    right: bool
    said: str
    seconds: float
    prompt_tokens: int
    cached_tokens: int | None
    """Tokens of the prompt that the server still had, where it tells."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is known of an endpoint after the probe."""

    url: str
    model: str
    server: str
    loaded: bool | None
    """None: the endpoint does not tell."""
    listed: int
    fingerprint: str
    structured: bool | None
    """Whether it can be held to a schema; None: it answered nothing."""
    first_s: float
    repeated_s: float | None
    """Median of all closed questions but the first, whose constant part the server need not read again."""
    plan_s: float | None
    deterministic: bool | None
    """Whether the same question got the same answer; None: it was not answered twice."""
    answers: tuple[Answered, ...]
    recommended: Mode
    reason: str


@cache
def cases() -> tuple[Case, ...]:
    """Return the canned incidents."""
    return TypeAdapter(tuple[Case, ...]).validate_json((resources.files("harness.llm") / "probe.json").read_bytes())


async def probe(settings: ModelSettings, note: NoteStep = lambda _what: None) -> ModelReport:
    """Return what an endpoint is good for.

    Args:
        note: told in words what is done now.

    Raises:
        ModelDownError: nobody answers there, or there is no model.
    """
    shop = inventory(DEFAULT_BASE, {"orders_db_password": "", "catalog_db_password": ""})
    async with open_client(settings) as client:
        found = await _found(client, settings)
        worker = ModelWorker(settings, shop, client)
        asked: list[tuple[Answered, PlanAnswered]] = []
        for form, case in _questions():
            note(f"{case.name} ({form})")
            asked.append(await _ask(worker, shop, case, form))
        note("the first question again")
        _, again = await _ask(worker, shop, cases()[0], "hypothesis")
    return _report(settings, found, asked, again)


async def _found(client: LlmClient, settings: ModelSettings) -> Found:
    try:
        return await client.discover(settings.timeout_s)
    except ModelError as error:
        raise ModelDownError(f"no model to probe: {error}") from error


def _questions() -> list[tuple[PromptForm, Case]]:
    closed: list[tuple[PromptForm, Case]] = [("hypothesis", case) for case in cases()]
    return [*closed, *(("plan", case) for case in cases() if case.full)]


async def _ask(worker: ModelWorker, shop: Inventory, case: Case, form: PromptForm) -> tuple[Answered, PlanAnswered]:
    player = _Player(shop, "full" if form == "plan" else "hypothesis")
    prompt = player.prompt(case)
    work = Work(prompt, player.seq, player.now_us, 1, "DETERMINISTIC", prompt.subject())
    answered = await worker.handle(work)
    if not isinstance(answered, PlanAnswered):
        raise HarnessError(f"the planner's worker gave a {type(answered).__name__} for a prompt")
    proposal = player.proposal(answered)
    usable = proposal.origin == "llm" and not proposal.unusable
    believed = proposal.plan.hypothesis
    right = any(item.fits(believed) for item in case.right)
    why = "; ".join(reason.detail for reason in proposal.unusable) or next(iter(proposal.repairs), "")
    said = f"{believed.target} {believed.fault_class}" if usable else answered.error or why
    cached = answered.timings.get("cached_tokens")
    return (
        Answered(
            case=case.name,
            form=form,
            usable=usable,
            right=usable and right,
            said=said,
            seconds=round(answered.elapsed_ms / 1_000, 3),
            prompt_tokens=answered.prompt_tokens,
            cached_tokens=None if cached is None else int(cached),
        ),
        answered,
    )


class _Player:
    """A planner and the journal it reads, second by second."""

    def __init__(self, shop: Inventory, mode: Literal["hypothesis", "full"]) -> None:
        config = PlannerConfig(
            inventory=shop, rulebook=load_rulebook(), mode=mode, templates=newest_templates(), asks_again=True
        )
        self._shop = shop
        self._machine = PlannerMachine(config)
        self._state = self._machine.initial()
        self._said: list[Contract] = []
        self.now_us = int(EPOCH.timestamp()) * SECOND
        self.seq = 0

    def prompt(self, case: Case) -> PlanPrompted:
        """Let a case pass until the planner asks a model."""
        for _ in range(CALM_S):
            self._second({})
        for _ in range(BROKEN_S):
            self._second(case.looks)
        self._say(PlanRequested(incident="probe", version=1, attempt=1, text=case.report))
        for _ in range(PATIENCE_S):
            if isinstance(prompt := self._said[-1] if self._said else None, PlanPrompted):
                return prompt
            self._second(case.looks)
        raise HarnessError(f"the planner asks no model about the case {case.name!r}: the case is damaged")

    def proposal(self, answered: PlanAnswered) -> PlanProposed:
        """Return what the planner makes of an answer."""
        self._say(answered)
        proposal = self._said[-1]
        if not isinstance(proposal, PlanProposed):
            raise HarnessError("the planner proposes nothing for an answer")
        return proposal

    def _second(self, looks: dict[str, Look]) -> None:
        for device in self._shop.devices:
            self.now_us += SECOND // (len(self._shop.devices) + 1)
            measured = device.kind in ("service", "traffic")
            self._say(_sample(device.name, measured, looks.get(device.name), self.now_us))
        self.now_us += SECOND // (len(self._shop.devices) + 1)

    def _say(self, message: Contract) -> None:
        self.seq += 1
        event = Event(self.seq, self.now_us, message.subject(), message, "probe")
        self._state, commands = self._machine.step(self._state, event)
        self._said += [command.message for command in commands if isinstance(command, Publish)]


def _sample(device: str, measured: bool, look: Look | None, time_us: int) -> Telemetry:
    """Return one telemetry record: healthy, but for what `look` says."""
    look = look or Look(status="OK")
    alive = not look.silent
    served = measured and alive
    metrics = Metrics(
        cpu_load=0.12 if served else None,
        mem_usage=6e7 if served else None,
        latency_ms=(look.latency_ms or HEALTHY_MS) if alive else None,
        success_ratio=(1.0 if look.success_ratio is None else look.success_ratio) if served else None,
        request_rate=20.0 if served else None,
    )
    return Telemetry(
        device_id=device,
        timestamp=EPOCH + timedelta(microseconds=time_us - int(EPOCH.timestamp()) * SECOND),
        metrics=metrics,
        status=look.status,
        error_code=look.error_code,
        note=look.note,
    )


def _report(
    settings: ModelSettings, found: Found, asked: Sequence[tuple[Answered, PlanAnswered]], again: PlanAnswered
) -> ModelReport:
    answers = tuple(answer for answer, _ in asked)
    first = asked[0][1]
    closed = [answer for answer in answers if answer.form == "hypothesis"]
    plans = [answer for answer in answers if answer.form == "plan"]
    took = [answer.seconds for answer in closed[1:] if answer.usable]
    repeated_s = statistics.median(took) if took else None
    plan_s = max((answer.seconds for answer in plans), default=None)
    mode, reason = recommend(answers, repeated_s, settings.timeout_s)
    ok = [reply for _, reply in asked if reply.outcome == "ok"]
    return ModelReport(
        url=settings.shown_url,
        model=settings.name or found.name,
        server=found.server,
        loaded=found.loaded if settings.name in (None, found.name) else None,
        listed=found.listed,
        fingerprint=ok[0].fingerprint if ok else "",
        structured=all(reply.structured for reply in ok) if ok else None,
        first_s=round(first.elapsed_ms / 1_000, 3),
        repeated_s=repeated_s,
        plan_s=plan_s,
        deterministic=first.response == again.response if "ok" == first.outcome == again.outcome else None,
        answers=answers,
        recommended=mode,
        reason=reason,
    )


def recommend(answers: Sequence[Answered], repeated_s: float | None, budget_s: float) -> tuple[Mode, str]:
    """Return the planner's mode for an endpoint that answered so, and why."""
    closed = [answer for answer in answers if answer.form == "hypothesis"]
    plans = [answer for answer in answers if answer.form == "plan"]
    right, total = sum(answer.right for answer in closed), len(closed)
    score = f"it names the right cause in {right} of {total}"
    if repeated_s is None or right < ENOUGH * total:
        return "rulebook", f"{score}, and the rulebook alone in all of them"
    if repeated_s > budget_s / 2:
        return "rulebook", f"{score}, but takes {repeated_s:.1f} s of the {budget_s:g} s it has, even with a warm cache"
    good = sum(answer.right for answer in plans)
    if right == total and plans and good == len(plans) and all(plan.seconds <= budget_s / 2 for plan in plans):
        return "full", f"{score} and writes {good} of {len(plans)} plans that can be carried out as they are meant"
    return "hypothesis", f"{score} in {repeated_s:.1f} s; of {len(plans)} whole plans {good} can be used as meant"
