"""The planner's policy as a machine: requests, telemetry, results and a model's answers in, prompts and plans out.

States of one request (docs/state-machines/planner.md): waiting for a conclusive picture, asked (a model), answered.
There is no timer of its own: telemetry comes once a second and is its clock; if telemetry is silent, the scheduler's
time-out sends a second attempt, which is answered at once.
"""

from __future__ import annotations

from functools import lru_cache

from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Command, Event, Publish
from broker.contracts.plan import PlanAnswered, PlanPrompted, PlanProposed, PlanRequested, PromptForm
from broker.contracts.task import Result
from broker.contracts.telemetry import Telemetry
from planner_svc.core import question
from planner_svc.core.config import PlannerConfig
from planner_svc.core.context import Picture, look
from planner_svc.core.decide import Waiting, by_model, by_rulebook, is_ripe
from planner_svc.core.plain import plausible, suspects
from planner_svc.core.prompt import messages, prompt_hash
from planner_svc.core.state import (
    Open,
    PlannerState,
    with_prompt,
    with_proposal,
    with_request,
    with_result,
    with_telemetry,
    with_traffic_sample,
    without_incident,
)

TIMED_OUT = "timed_out"
"""Code of the scheduler's reason for a planning attempt that brought no plan in time: no model is asked again then."""
Step = tuple[PlannerState, tuple[Command, ...]]


class PlannerMachine:
    """The planner's decisions. Deterministic: the same events give the same commands, byte for byte."""

    name = "planner"
    version = 1
    state_type = PlannerState

    def __init__(self, config: PlannerConfig) -> None:
        self.config = config
        self._traffic = {device.name for device in config.inventory.devices if device.kind == "traffic"}
        self._devices = set(config.inventory.names())

    def configured(self, config: bytes) -> PlannerMachine:
        """Return the same machine with another configuration."""
        return PlannerMachine(PlannerConfig.decode(config))

    def reads(self, subject: str) -> bool:
        """Tell whether messages on this subject are events for the planner."""
        return _reads(subject)

    def initial(self) -> PlannerState:
        """Return the state before the first event."""
        return PlannerState()

    def step(self, state: PlannerState, event: Event) -> tuple[PlannerState, tuple[Command, ...]]:
        """Return the next state and what is said; never raises on a valid event."""
        match event.payload:
            case Telemetry() as telemetry:
                return self._on_telemetry(state, telemetry, event.time_us)
            case PlanRequested() as request:
                return self._try(with_request(state, request, event.time_us), request.incident, event.time_us)
            case PlanAnswered() as answered:
                return self._on_answered(state, answered, event.time_us)
            case Result() as result:
                return with_result(state, result, event.time_us), ()
            case IncidentClosed() as closed:
                return without_incident(state, closed.incident), ()
            case _:
                return state, ()

    def _on_telemetry(self, state: PlannerState, telemetry: Telemetry, time_us: int) -> Step:
        """Remember a sample; every request that waits for a clearer picture looks again."""
        if telemetry.device_id not in self._devices:
            return state, ()
        state = with_telemetry(state, telemetry, time_us)
        if telemetry.device_id in self._traffic:
            state = with_traffic_sample(state)
        commands: list[Command] = []
        for incident, waiting in state.open.items():
            if waiting.prompt_hash is None:
                state, said = self._try(state, incident, time_us)
                commands += said
        return state, tuple(commands)

    def _try(self, state: PlannerState, incident: str, time_us: int) -> Step:
        """Answer an open request, or ask a model, if the picture is ripe."""
        entry: Open = state.open[incident]
        picture = look(self.config, state, entry.request)
        if not is_ripe(picture, entry.request, Waiting(time_us - entry.since_us, entry.traffic_samples)):
            return state, ()
        if self.config.mode == "rulebook" or entry.request.rulebook_only:
            return self._propose(state, by_rulebook(picture, entry.request, time_us))
        if any(reason.code == TIMED_OUT for reason in entry.request.rejected):
            why = ("the attempt before brought no plan in time: the rulebook decides",)
            return self._propose(state, by_rulebook(picture, entry.request, time_us, why))
        asked = self._prompt(picture, entry.request)
        return with_prompt(state, incident, asked.prompt_hash, asked.form), (Publish(asked),)

    def _prompt(self, picture: Picture, request: PlanRequested) -> PlanPrompted:
        """Return the question to the model: by the template of the mode's form, or as before there were any."""
        form: PromptForm = "plan" if self.config.mode == "full" else "hypothesis"
        template = self.config.template(form)
        turns = messages(picture) if template is None else question.messages(picture, template)
        return PlanPrompted(
            incident=request.incident,
            version=request.version,
            attempt=request.attempt,
            messages=turns,
            prompt_hash=prompt_hash(turns),
            form="hypothesis" if template is None else form,
            template="" if template is None else template.label,
            template_hash="" if template is None else template.hash,
            targets=suspects(picture) if template is not None and template.plain else (),
            fault_classes=plausible(picture) if template is not None and template.plain else (),
        )

    def _on_answered(self, state: PlannerState, answered: PlanAnswered, time_us: int) -> Step:
        """Turn the answer to the prompt that is open into a plan; late answers to older prompts are nobody's."""
        entry = state.open.get(answered.incident)
        if entry is None or entry.prompt_hash != answered.prompt_hash:
            return state, ()
        if (entry.request.version, entry.request.attempt) != (answered.version, answered.attempt):
            return state, ()
        picture = look(self.config, state, entry.request)
        return self._propose(state, by_model(picture, entry.request, answered, time_us, entry.form))

    def _propose(self, state: PlannerState, proposal: PlanProposed) -> Step:
        said = Publish(proposal, tag=proposal.decision_tag)
        return with_proposal(state, proposal.incident, proposal.plan), (said,)


@lru_cache(maxsize=1_024)
def _reads(subject: str) -> bool:
    """Most of a journal is telemetry of the same few devices: a subject is taken apart once."""
    parts = subject.split(".")
    if len(parts) < 3 or parts[0] != "triage":
        return False
    if parts[1] in ("telemetry", "result"):
        return True
    return (parts[1], parts[-1]) in {("plan", "requested"), ("plan", "answered"), ("incident", "closed")}
