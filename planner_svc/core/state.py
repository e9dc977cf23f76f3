"""What the planner remembers: recent telemetry, open requests, and what agents found out, all bounded.

Frozen values throughout: every step makes a new state. Updates go through `model_copy`, which does not validate again.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from broker.contracts.base import Frozen, Scalar
from broker.contracts.excerpt import META_KEY, Excerpt, decode_excerpts
from broker.contracts.plan import Plan, PlanRequested, PromptForm
from broker.contracts.task import Result
from broker.contracts.telemetry import Status, Telemetry
from broker.errors import SchemaError

ValueT = TypeVar("ValueT")

MAX_SAMPLES = 30
MAX_INCIDENTS = 16
MAX_FINDINGS = 24
MAX_OUTCOMES = 8
MAX_ASKED = 40
MAX_SENTENCE = 240
BASELINE_WEIGHT = 0.1
"""Share of a new sample in the baseline: about the last twenty calm seconds count."""


class Sample(Frozen):
    """One telemetry record, with the broker's time. `silent`: the device's own probe got no answer."""

    time_us: int
    status: Status
    cpu_load: float | None = None
    latency_ms: float | None = None
    success_ratio: float | None = None
    request_rate: float | None = None
    mem_usage: float | None = None
    error_code: str | None = None
    log_sample: str | None = None
    note: str | None = None


class Baseline(Frozen):
    """How a device is when it is well: a running mean over samples with status OK."""

    cpu_load: float | None = None
    latency_ms: float | None = None
    request_rate: float | None = None


class Open(Frozen):
    """A request that waits for an answer. `prompt_hash` is set once a model was asked."""

    request: PlanRequested
    since_us: int
    traffic_samples: int = 0
    prompt_hash: str | None = None
    form: PromptForm = "hypothesis"
    """What the model was asked for."""


class Asked(Frozen):
    """A task of a plan that was proposed: what its result will be about."""

    task_id: str
    type: str
    target: str


class Finding(Frozen):
    """A fact that an agent saw on a device."""

    target: str
    field: str
    value: Scalar
    time_us: int


class Past(Frozen):
    """What has been done and found in one incident so far."""

    asked: tuple[Asked, ...] = ()
    findings: tuple[Finding, ...] = ()
    outcomes: tuple[str, ...] = ()
    """Results in one sentence each, newest last; untrusted."""
    excerpts: tuple[Excerpt, ...] = ()
    """What a search of the runbooks and past incidents brought last; untrusted."""


class PlannerState(Frozen):
    """The whole memory of the policy."""

    samples: dict[str, tuple[Sample, ...]] = Field(default_factory=dict)
    baselines: dict[str, Baseline] = Field(default_factory=dict)
    open: dict[str, Open] = Field(default_factory=dict)
    past: dict[str, Past] = Field(default_factory=dict)
    changed_us: int = 0
    """When an agent last changed the world, in whichever incident; older telemetry says nothing any more. 0: never."""


def with_telemetry(state: PlannerState, telemetry: Telemetry, time_us: int) -> PlannerState:
    """Return the state with one more telemetry record of a known device."""
    metrics, name = telemetry.metrics, telemetry.device_id
    sample = Sample.made(
        time_us=time_us,
        status=telemetry.status,
        cpu_load=metrics.cpu_load,
        latency_ms=metrics.latency_ms,
        success_ratio=metrics.success_ratio,
        request_rate=metrics.request_rate,
        mem_usage=metrics.mem_usage,
        error_code=telemetry.error_code,
        log_sample=telemetry.log_sample,
        note=telemetry.note,
    )
    history = (*state.samples.get(name, ())[-(MAX_SAMPLES - 1) :], sample)
    update: dict[str, object] = {"samples": {**state.samples, name: history}}
    baseline = state.baselines.get(name)
    if baseline is None or telemetry.status == "OK":
        update["baselines"] = {**state.baselines, name: _learned(baseline or Baseline(), sample)}
    return state.model_copy(update=update)


def _learned(baseline: Baseline, sample: Sample) -> Baseline:
    if sample.status != "OK":
        return baseline
    return Baseline.made(
        cpu_load=_mean(baseline.cpu_load, sample.cpu_load),
        latency_ms=_mean(baseline.latency_ms, sample.latency_ms),
        request_rate=_mean(baseline.request_rate, sample.request_rate),
    )


def _mean(old: float | None, new: float | None) -> float | None:
    """Move a running mean by one value; one wild value moves it by at most half of itself and a little."""
    if new is None:
        return old
    if old is None:
        return new
    return old + BASELINE_WEIGHT * (min(new, 1.5 * old + 0.05) - old)


def with_request(state: PlannerState, request: PlanRequested, time_us: int) -> PlannerState:
    """Return the state with an open request; it takes the place of an older attempt of the same incident."""
    incident = request.incident
    past = {**_without(state.past, incident), incident: state.past.get(incident, Past())}
    opened = {**_without(state.open, incident), incident: Open(request=request, since_us=time_us)}
    return state.model_copy(update={"open": _newest(opened), "past": _newest(past)})


def _newest(entries: dict[str, ValueT]) -> dict[str, ValueT]:
    return dict(list(entries.items())[-MAX_INCIDENTS:])


def _without(entries: dict[str, ValueT], key: str) -> dict[str, ValueT]:
    return {name: value for name, value in entries.items() if name != key}


def with_traffic_sample(state: PlannerState) -> PlannerState:
    """Return the state in which every open request has seen one more sample of the users' traffic."""
    if not state.open:
        return state
    opened = {k: v.model_copy(update={"traffic_samples": v.traffic_samples + 1}) for k, v in state.open.items()}
    return state.model_copy(update={"open": opened})


def with_prompt(state: PlannerState, incident: str, prompt_hash: str, form: PromptForm = "hypothesis") -> PlannerState:
    """Return the state in which a model was asked for an incident's open request."""
    asked = state.open[incident].model_copy(update={"prompt_hash": prompt_hash, "form": form})
    return state.model_copy(update={"open": {**state.open, incident: asked}})


def with_proposal(state: PlannerState, incident: str, plan: Plan) -> PlannerState:
    """Return the state in which an incident's request is answered by `plan`."""
    asked = tuple(
        Asked(task_id=f"v{plan.plan_version}-{task.task_id}", type=task.type, target=task.target) for task in plan.tasks
    )
    past = state.past.get(incident, Past())
    again = {new.task_id for new in asked}
    kept = tuple(item for item in past.asked if item.task_id not in again)
    past = past.model_copy(update={"asked": (*kept, *asked)[-MAX_ASKED:]})
    opened = _without(state.open, incident)
    return state.model_copy(update={"open": opened, "past": {**state.past, incident: past}})


def with_result(state: PlannerState, result: Result, time_us: int) -> PlannerState:
    """Return the state that knows what an agent found or did; results nobody here asked for change nothing."""
    past = state.past.get(result.incident)
    asked = next((a for a in past.asked if a.task_id == result.task_id), None) if past else None
    if past is None or asked is None:
        return state
    findings, changed_us = past.findings, state.changed_us
    if result.changed:
        findings, changed_us = tuple(f for f in findings if f.target != asked.target), time_us
    elif asked.type == "check_config" and result.status == "OK":
        fresh = tuple(
            Finding(target=asked.target, field=field, value=result.meta[field], time_us=time_us)
            for field in ("drifted", "running", "paused")
            if field in result.meta
        )
        findings = (*(f for f in findings if f.target != asked.target), *fresh)[-MAX_FINDINGS:]
    sentence = f"{asked.type} {asked.target}: {result.status}, {result.out}"[:MAX_SENTENCE]
    past = past.model_copy(
        update={
            "findings": findings,
            "outcomes": (*past.outcomes, sentence)[-MAX_OUTCOMES:],
            "excerpts": _excerpts(result) or past.excerpts,
        }
    )
    return state.model_copy(update={"past": {**state.past, result.incident: past}, "changed_us": changed_us})


def _excerpts(result: Result) -> tuple[Excerpt, ...]:
    """Return what a search brought; nothing if it brought none, or what no search may bring."""
    text = result.meta.get(META_KEY)
    if result.status != "OK" or result.kind != "runbook" or not isinstance(text, str):
        return ()
    try:
        return decode_excerpts(text)
    except SchemaError:
        return ()


def without_incident(state: PlannerState, incident: str) -> PlannerState:
    """Return the state that has forgotten a closed incident."""
    return state.model_copy(update={"open": _without(state.open, incident), "past": _without(state.past, incident)})
