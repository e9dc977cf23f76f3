"""What the planner's policy is made with: the inventory, the rulebook as data, and the bounds of its patience.

Cores do no I/O, so the rulebook's files are read by the shell (`planner_svc/config.py`) and handed in here. The whole
configuration stands in every recording: a replay decides with the rules of its day.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Annotated, Literal

from pydantic import Field, model_validator

from broker.contracts.base import Frozen, Scalar, Token, UnitInterval, added
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import DeviceKind, Inventory
from broker.contracts.plan import FaultClass, PromptForm

Signal = Literal["silent", "blame", "error", "slow", "cpu", "degraded", "finding", "storm"]
"""silent: the device's own probe got no answer. blame: it says that a dependency fails. error: it reports an error of
its own. slow: it waits long for a dependency. cpu: far more cores in use than usual. degraded: not OK, nothing more is
known. finding: an agent saw it with its own eyes (`check_config`). storm: a dependency gets many times the requests
that the devices which use it get."""

Fact = Literal["traffic_measured", "cpu_measured", "silent"]
"""What a step of a remedy may presuppose: a metric nobody measured cannot be looked at, and only a device whose own
probe stayed without answer may be restarted on suspicion."""


class ErrorClass(Frozen):
    """Error names that mean the same, whichever library says them: a regular expression, searched ignoring case."""

    name: Token
    pattern: str


class Rule(Frozen):
    """A sign in the telemetry and what it speaks for. Several rules may speak for different faults at one sign: what
    was tried in vain falls back, and the next one leads."""

    name: Token
    signal: Signal
    fault_class: FaultClass
    weight: UnitInterval
    errors: tuple[Token, ...] = ()
    """Error classes of the sign; empty: any."""
    kinds: tuple[DeviceKind, ...] = ()
    """Kinds of the device that shows the sign; empty: any."""
    dependency_kinds: tuple[DeviceKind, ...] = ()
    """For target `dependency`: the kind it must have; empty: any."""
    target: Literal["self", "dependency"] = "self"
    clients: Literal["one", "several", "any"] = "any"
    """How many devices show the sign towards the same dependency: one client's trouble is the client's own, everybody's
    trouble is the dependency's."""
    dependencies: Literal["one", "several", "any"] = "any"
    """Towards how many dependencies the device shows the sign: what is wrong with all of them is wrong with itself."""
    samples: Annotated[int, Field(ge=1)] = 1
    """In how many samples the sign must have been seen to count fully."""
    at_least: UnitInterval = 0.0
    at_most: UnitInterval = 1.0
    """Share of the samples since the sign was first seen that show it: loss flickers, a partition does not."""
    at_least_ms: Annotated[float, Field(ge=0)] = 0.0
    """For slow: the wait that counts. A busy machine makes everybody wait a little."""
    at_least_own_ms: Annotated[float, Field(ge=0)] = 0.0
    """How long the device's own probe must have waited for its answer: who is starved is late with everything, who is
    cut off answers at once."""
    now: bool = True
    """False: counts fully although the device is well again right now, as it is between two lost connections."""
    explainable: bool = True
    """False: no trouble of a dependency can cause it (a wrong password stays wrong)."""
    field: Token | None = None
    equals: Scalar | None = None
    """For findings: the fact of the result that must have been seen."""
    log: str | None = added(None)
    """A regular expression, ignoring case, that a log sample of the device must hold. Anybody may have written it: the
    rule then counts as one that was read from a log."""
    calm: bool = added(False)
    """True: what it speaks for harms no users, so that it counts half while they suffer or a device is in ERROR."""
    says: str
    """Evidence in words; may hold {device}, {dependency} and {error}."""


class Step(Frozen):
    """One task of a remedy. Text arguments of the form `{name}` are filled in by the compiler."""

    id: Token
    role: Literal["look", "confirm", "act", "verify"]
    type: str
    on: Literal["target", "witness", "traffic"] = "target"
    """witness: the device that shows the trouble, where it is not the one to be repaired."""
    args: dict[str, Scalar] = Field(default_factory=dict)
    after: tuple[Token, ...] = ()
    when_step: Token | None = None
    when_field: Token | None = None
    when_equals: Scalar | None = None
    needs: tuple[Fact, ...] = ()
    cost_ms: Annotated[int, Field(ge=0)] = 100


class Remedy(Frozen):
    """What is done about a fault class: look, confirm, act if confirmed, verify."""

    fault_class: FaultClass
    goal: Annotated[str, Field(max_length=200)]
    """In words; may hold {target}."""
    steps: Annotated[tuple[Step, ...], Field(max_length=6)]

    @cached_property
    def acts(self) -> tuple[Step, ...]:
        """Return the steps that change something."""
        return tuple(step for step in self.steps if step.role == "act")


class Words(Frozen):
    """Words of a report that hint at a fault: weak evidence, never more than a nudge among what telemetry shows."""

    fault_class: FaultClass
    pattern: str
    bonus: Annotated[float, Field(ge=0.0, le=0.05)]
    calm_samples: Annotated[int, Field(ge=1, le=40)] | None = added(None)
    """What such a report is about shows only now and then: so many calm samples of the users' traffic are waited for
    before the planner says that nothing is broken. None: as many as for any report."""


class Example(Frozen):
    """A solved incident, shown to the model as a turn of the conversation."""

    report: str
    deviations: tuple[str, ...]
    target: Token
    fault_class: FaultClass
    confidence: UnitInterval


class SolvedPlan(Frozen):
    """A solved incident, shown to the model as a turn of the conversation; in full mode with its whole plan."""

    report: str
    deviations: tuple[str, ...]
    answer: str
    """The assistant's turn: compact JSON."""


class PromptTemplate(Frozen):
    """A versioned file of `planner_svc/prompts/`: the constant part of a prompt."""

    name: Token
    version: Annotated[int, Field(ge=1)]
    hash: str
    """SHA-256 of the file's bytes, hex."""
    form: PromptForm
    system: str
    """May hold {devices}, {kinds} and {catalogue}."""
    examples: tuple[SolvedPlan, ...] = ()
    """Empty: the rulebook's examples."""
    plain: bool = added(False)
    """True: what deviates is told in plain words (`core/plain.py`)."""
    kinds: dict[FaultClass, str] = added({})
    """What a kind of fault looks like, in the template's own words; the others stand in the words of the code."""
    answers: dict[FaultClass, str] = added({})
    """Words for the kinds of fault, in the question and in its answer; empty: their names. A small model chooses better
    among words than among names (docs/planner.md)."""

    @model_validator(mode="after")
    def _answers_differ(self) -> PromptTemplate:
        if len(set(self.answers.values())) < len(self.answers):
            raise ValueError("answers has the same words for two kinds of fault")
        return self

    @property
    def label(self) -> str:
        """Return name and version, as in the file's name."""
        return f"{self.name}.v{self.version}"


class Rulebook(Frozen):
    """The rules as data (`planner_svc/rulebook/*.json`)."""

    errors: tuple[ErrorClass, ...]
    rules: tuple[Rule, ...]
    remedies: tuple[Remedy, ...]
    words: tuple[Words, ...] = ()
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Rulebook:
        logs = (rule.log for rule in self.rules if rule.log is not None)
        for pattern in (*(item.pattern for item in self.errors), *(item.pattern for item in self.words), *logs):
            _must_compile(pattern)
        known, covered = {item.name for item in self.errors}, {item.fault_class for item in self.remedies}
        for rule in self.rules:
            unknown = set(rule.errors) - known
            if unknown:
                raise ValueError(f"rule {rule.name} names unknown error classes: {', '.join(sorted(unknown))}")
            if rule.fault_class not in covered:
                raise ValueError(f"rule {rule.name} speaks for {rule.fault_class}, which has no remedy")
        for remedy in self.remedies:
            _must_hang_together(remedy)
        return self

    # While a request waits, every sample of every device is held against all of this.

    @cached_property
    def index(self) -> tuple[tuple[Signal, tuple[str, ...], tuple[str, ...], Rule], ...]:
        """Return every rule behind what decides most often whether it speaks: signal, error classes, kinds."""
        return tuple((rule.signal, rule.errors, rule.kinds, rule) for rule in self.rules)

    @cached_property
    def rule_of(self) -> dict[str, Rule]:
        """Return the rules by name."""
        return {rule.name: rule for rule in self.rules}

    @cached_property
    def words_for(self) -> dict[FaultClass, tuple[Words, ...]]:
        """Return the words that hint at each fault class."""
        found = dict.fromkeys(item.fault_class for item in self.words)
        return {name: tuple(item for item in self.words if item.fault_class == name) for name in found}

    @cached_property
    def _remedy_for(self) -> dict[FaultClass, Remedy]:
        return {item.fault_class: item for item in reversed(self.remedies)}

    @cached_property
    def _error_patterns(self) -> tuple[tuple[str, str], ...]:
        return tuple((item.name, item.pattern) for item in self.errors)

    def remedy(self, fault_class: FaultClass) -> Remedy | None:
        """Return what is done about a fault class."""
        return self._remedy_for.get(fault_class)

    def classes_of(self, text: str) -> frozenset[str]:
        """Return the names of the error classes whose pattern stands in `text`."""
        return _classes_of(self._error_patterns, text)


class PlannerConfig(Frozen):
    """Everything the policy depends on besides the journal. Times are microseconds of event time."""

    inventory: Inventory
    rulebook: Rulebook
    mode: Literal["auto", "hypothesis", "full", "rulebook"] = "auto"
    """hypothesis, by its other name auto: a model is asked what is broken. full: it is asked for the whole plan.
    rulebook: no model is ever asked."""
    window_us: int = 6_000_000
    """Telemetry younger than this, seen from the newest, makes the picture."""
    settle_us: int = 300_000
    """A device counts as healthy beside a sign only by a sample at least this much younger than the sign."""
    patience_us: int = 4_000_000
    """A request waits at least this long for a conclusive picture, and no longer if the trouble lasts."""
    long_patience_us: int = 10_000_000
    """It waits this long if the trouble does not last: a hiccup of a busy machine passes by itself."""
    unhurried_samples: Annotated[int, Field(ge=0)] = 2
    """So many more samples a sign needs while users are served and no device is in ERROR: it may pass by itself."""
    calm_samples: Annotated[int, Field(ge=0)] = 3
    """Samples of calm traffic after the request before the planner says that nothing is broken."""
    rare_samples: Annotated[int, Field(ge=0)] = 15
    """The same for a report of something that happens now and then: one request in a hundred takes its time."""
    sure: UnitInterval = 0.6
    """From this score on a candidate is acted on, confirmation provided, without waiting any longer."""
    suspect: UnitInterval = 0.45
    """From this score on it is acted on when patience is over and users suffer or a device is in ERROR."""
    cpu_cores: Annotated[float, Field(gt=0)] = 0.4
    cpu_rise: Annotated[float, Field(gt=0)] = 0.3
    """CPU counts as a sign from `cpu_cores` cores in use, if that is `cpu_rise` above the device's baseline."""
    max_report_chars: Annotated[int, Field(ge=100)] = 1_200
    """How much of a report the model is shown."""
    # What follows came later. Its defaults decide as before, so that recordings from then, whose configuration does not
    # name it, are decided again byte for byte (docs/adr/0012); the role's shell sets it.
    templates: tuple[PromptTemplate, ...] = ()
    """One for each form; empty: the prompt of `core/prompt.py`, of the time before templates were files."""
    clear_margin: UnitInterval | None = None
    """From this lead over every other repair on, the rulebook's cause leads against a model that differs, and whoever
    leads, both causes are confirmed before anything acts. None: the model leads always."""
    asks_again: bool = False
    """True: an answer that is no plan is refused with its reasons, and the model is asked once more. False: the
    rulebook decides at once."""
    recalls: bool = False
    """True: a plan at a loss also searches the runbooks and past incidents (`core/recall.py`)."""
    doubts_silence: bool = False
    """True: while the users' traffic is not measured either, nothing is restarted for being silent (docs/adr/0027)."""
    certain: UnitInterval | None = None
    """From this score on the rulebook's device is not in doubt: between its near causes there a model decides only by
    naming one of them, and with a third it does not lead. None: it leads wherever the rulebook is not clear."""
    amplification: Annotated[float, Field(gt=1)] | None = None
    """From so many requests at a dependency on for each that its clients get, they ask it again and again
    (docs/adr/0029). None: rates of requests say nothing."""
    max_prompt_tokens: Annotated[int, Field(ge=500)] = 1_500
    """What a prompt made of a template may cost, by the conservative estimate of `core/tokens.py`."""

    def template(self, form: PromptForm) -> PromptTemplate | None:
        """Return the template for a form, the newest version first."""
        return max((item for item in self.templates if item.form == form), key=lambda t: t.version, default=None)


@lru_cache(maxsize=512)
def matcher(pattern: str) -> re.Pattern[str]:
    """Return a pattern of the rulebook, compiled; it ignores case. Every sign is held against every pattern."""
    return re.compile(pattern, re.IGNORECASE)


@lru_cache(maxsize=512)
def _classes_of(patterns: tuple[tuple[str, str], ...], text: str) -> frozenset[str]:
    """A sample is looked at again with every later one, as long as it is in the window."""
    return frozenset(name for name, pattern in patterns if matcher(pattern).search(text))


def _must_compile(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error


def _must_hang_together(remedy: Remedy) -> None:
    seen: set[str] = set()
    for step in remedy.steps:
        if step.type not in CATALOGUE:
            raise ValueError(f"remedy {remedy.fault_class}: {step.type} is not in the catalogue")
        if step.id in seen or not {*step.after, *([step.when_step] if step.when_step else [])} <= seen:
            raise ValueError(f"remedy {remedy.fault_class}: step {step.id} is doubled or refers to a later step")
        if step.when_step and (step.when_field is None or step.when_equals is None):
            raise ValueError(f"remedy {remedy.fault_class}: step {step.id} has half a condition")
        if step.role == "act" and not step.when_step:
            raise ValueError(f"remedy {remedy.fault_class}: step {step.id} acts without a confirmation")
        seen.add(step.id)
