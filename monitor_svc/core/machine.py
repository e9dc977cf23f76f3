"""The monitor's decisions: deviations, incidents nobody reported, and verdicts on repairs.

| event | what follows |
|---|---|
| `telemetry` | what became certain is said in the open incident; a running check passes once nothing speaks |
| | against it; with no incident open and nobody reporting, an incident of the monitor's own |
| `incident.reported` | everything that deviates right now is said in it at once |
| `task`, `result`, `dead` | a failed or abandoned task is a deviation |
| `agent.lost` | a deviation, unless the agent left with empty hands |
| `plan.executed` | check round n begins, with a deadline timer |
| `due` | the deadline: what still speaks against the repair becomes the verdict, and a deviation |
| `incident.closed` | counters and check of the incident are dropped; a cool-down or a back-off begins |

The theory of operation stands in docs/state-machines/monitor.md. Time is the broker's, identifiers come from the event.
"""

from __future__ import annotations

from functools import lru_cache

from broker.contracts.control import Timer
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import CancelTimer, Command, Event, Publish, SetTimer
from broker.contracts.monitor import AgentLost, Deviation, DeviationKind, Verified
from broker.contracts.plan import PlanExecuted
from broker.contracts.task import DeadLetter, Result, Task
from broker.contracts.telemetry import Telemetry
from monitor_svc.core import detect, verify
from monitor_svc.core.config import MonitorConfig, micro
from monitor_svc.core.state import Check, MonitorState, OpenIncident

Step = tuple[MonitorState, tuple[Command, ...]]

PURPOSE = "verify"
MAX_TARGETS = 64
"""Most tasks of one incident whose target is remembered: four plans of eight tasks, twice."""
MAX_CLOSED = 256
"""Most ended incidents that are remembered."""
LEFT_IN_PEACE = "Client Closed"
"""The broker's word for a client whose connection ended in good order, or with its process."""


class MonitorMachine:
    """Implements `broker.contracts.machine.Machine`. Holds its configuration and nothing else."""

    name: str = "monitor"
    version: int = 1
    state_type: type[MonitorState] = MonitorState

    def __init__(self, config: MonitorConfig) -> None:
        self.config: MonitorConfig = config

    def configured(self, config: bytes) -> MonitorMachine:
        """Return the same machine with another configuration."""
        return MonitorMachine(MonitorConfig.decode(config))

    def reads(self, subject: str) -> bool:
        """Tell whether messages on this subject are events for the monitor."""
        return _reads(subject)

    def initial(self) -> MonitorState:
        """Return the state before the first event."""
        return MonitorState()

    def step(self, state: MonitorState, event: Event) -> Step:
        """Return the next state and what to say, in a fixed order. Never raises on a valid event."""
        match event.payload:
            case Telemetry():
                return self._on_telemetry(state, event, event.payload)
            case IncidentReported():
                return self._on_reported(state, event, event.payload)
            case IncidentClosed():
                return self._on_closed(state, event, event.payload)
            case Task():
                return self._on_task(state, event.payload), ()
            case Result() if event.payload.status == "FAIL":
                failed = event.payload
                why = f"attempt {failed.attempt} failed ({failed.error_code or 'no code'}): {failed.out[:300]}"
                return self._on_task_failed(state, event, failed.incident, failed.task_id, why)
            case DeadLetter():
                dead = event.payload
                return self._on_task_failed(state, event, dead.incident, dead.task_id, f"given up: {dead.reason[:300]}")
            case AgentLost():
                return self._on_agent_lost(state, event, event.payload)
            case PlanExecuted():
                return self._on_executed(state, event, event.payload)
            case Timer():
                return self._on_due(state, event, event.payload)
        return state, ()

    # telemetry

    def _on_telemetry(self, state: MonitorState, event: Event, sample: Telemetry) -> Step:
        before = state
        state = detect.observe(self.config, state, sample, event.time_us)
        if state is before:
            return state, ()  # a device that is not in the inventory
        said: tuple[Command, ...] = ()
        if state.open:
            state, said = self._say_what_deviates(state)
        if state.check is not None:
            state, checked = self._look_at_check(state, event, state.check, sample)
            said += checked
        if state.unrepaired:
            state = self._settled(state, event.time_us)
        if not state.open:
            state, opened = self._open_if_unreported(state, event)
            said += opened
        return state, said

    def _say_what_deviates(self, state: MonitorState) -> Step:
        """Say each certain deviation once in the incident that is worked on."""
        commands: list[Command] = []
        for device, streak in detect.confirmed(self.config, state) if state.open else ():
            key = f"{device.name}/{streak.kind}"
            if key not in state.open[0].said:
                noted = state.open[0].model_copy(update={"said": (*state.open[0].said, key)})
                state, said = self._deviate(
                    state.with_incident(noted), noted.incident, streak.kind, device.name, streak.first_us, streak.detail
                )
                commands += said
        return state, tuple(commands)

    def _deviate(
        self, state: MonitorState, incident: str, kind: DeviationKind, device: str, trigger_us: int, detail: str
    ) -> Step:
        item = state.find(incident)
        if item is None or item.deviations >= self.config.max_deviations:
            return state, ()
        item = item.model_copy(update={"deviations": item.deviations + 1})
        deviation = Deviation(
            incident=incident, n=item.deviations, kind=kind, device=device, t_trigger_us=trigger_us, detail=detail
        )
        return state.with_incident(item), (Publish(deviation),)

    def _open_if_unreported(self, state: MonitorState, event: Event) -> Step:
        """Open an incident for what deviates and nobody reported. Its deviations follow when it is read back, so
        that a person's report which won the race gets them instead."""
        now_us = event.time_us
        waiting = max(state.quiet_until_us, state.backoff_until_us)
        if state.open or state.opening is not None or now_us < waiting:
            return state, ()
        if not detect.worth_reporting(self.config, state, now_us):
            return state, ()
        incident = f"m{event.seq}"
        text = detect.describe(detect.confirmed(self.config, state), now_us)
        report = IncidentReported(incident=incident, text=text, source="monitor")
        return state.model_copy(update={"opening": incident}), (Publish(report),)

    def _settled(self, state: MonitorState, now_us: int) -> MonitorState:
        """End the back-off once nothing deviated for a while: what comes next is new."""
        if state.calm_since_us is None:
            return state
        if now_us - state.calm_since_us < micro(self.config.settle_s):
            return state
        return state.model_copy(update={"backoff_until_us": 0, "unrepaired": 0})

    # incidents

    def _on_reported(self, state: MonitorState, event: Event, report: IncidentReported) -> Step:
        if state.find(report.incident) is not None or report.incident in state.closed:
            return state, ()
        opening = None if state.opening == report.incident else state.opening
        item = OpenIncident(incident=report.incident)
        return self._say_what_deviates(state.model_copy(update={"open": (*state.open, item), "opening": opening}))

    def _on_closed(self, state: MonitorState, event: Event, closed: IncidentClosed) -> Step:
        if state.find(closed.incident) is None:
            return state, ()
        update: dict[str, object] = {
            "open": tuple(item for item in state.open if item.incident != closed.incident),
            "closed": (*state.closed, closed.incident)[-MAX_CLOSED:],
        }
        commands: tuple[Command, ...] = ()
        if state.check is not None and state.check.incident == closed.incident:
            update["check"] = None
            commands = (CancelTimer(self.name, state.check.timer_id),)
        if closed.verdict != "merged":
            update |= self._rest(state, event.time_us, repaired=closed.verdict == "verified")
        return state.model_copy(update=update), commands

    def _rest(self, state: MonitorState, now_us: int, *, repaired: bool) -> dict[str, object]:
        """Return what a close changes: a short cool-down always, a growing back-off if nothing was repaired."""
        unrepaired = 0 if repaired else state.unrepaired + 1
        doublings = min(max(unrepaired - 1, 0), self.config.backoff_doublings)
        return {
            "quiet_until_us": now_us + micro(self.config.cooldown_s),
            "backoff_until_us": 0 if repaired else now_us + micro(self.config.backoff_s) * 2**doublings,
            "unrepaired": unrepaired,
        }

    # tasks and agents

    def _on_task(self, state: MonitorState, task: Task) -> MonitorState:
        item = state.find(task.incident)
        if item is None or (len(item.targets) >= MAX_TARGETS and task.task_id not in item.targets):
            return state
        targets = item.targets | {task.task_id: task.target}
        return state.with_incident(item.model_copy(update={"targets": targets}))

    def _on_task_failed(self, state: MonitorState, event: Event, incident: str, task_id: str, why: str) -> Step:
        item = state.find(incident)
        if item is None:
            return state, ()
        device = item.targets.get(task_id, task_id)
        return self._deviate(state, incident, "task_failed", device, event.time_us, f"{task_id}: {why}")

    def _on_agent_lost(self, state: MonitorState, event: Event, lost: AgentLost) -> Step:
        item = state.current
        if item is None or (lost.reason == LEFT_IN_PEACE and not lost.handed_on):
            return state, ()
        detail = f"{lost.reason}; {len(lost.handed_on)} tasks handed on"
        return self._deviate(state, item.incident, "agent_lost", lost.instance, event.time_us, detail)

    # verification

    def _on_executed(self, state: MonitorState, event: Event, executed: PlanExecuted) -> Step:
        item = state.find(executed.incident)
        running = state.check
        if item is None or _is_older(executed, running):
            return state, ()
        commands: tuple[Command, ...] = ()
        if running is not None:
            reason = (
                "plan",
                f"version {executed.version} was executed before the check of {running.plan_version} ended",
            )
            state, commands = self._conclude(state, event, running, (reason,))
        return self._begin(state, event, executed, commands)

    def _begin(self, state: MonitorState, event: Event, executed: PlanExecuted, before: tuple[Command, ...]) -> Step:
        item = state.find(executed.incident)
        if item is None:
            return state, before
        item = item.model_copy(update={"rounds": item.rounds + 1})
        check = Check(
            incident=item.incident,
            n=item.rounds,
            plan_version=executed.version,
            started_us=event.time_us,
            timer_id=f"{PURPOSE}-{event.seq}",
        )
        timer = Timer(
            machine=self.name,
            timer_id=check.timer_id,
            due_us=event.time_us + micro(self.config.verify_deadline_s),
            purpose=PURPOSE,
            incident=item.incident,
            number=check.n,
        )
        return state.with_incident(item).model_copy(update={"check": check}), (*before, SetTimer(timer))

    def _look_at_check(self, state: MonitorState, event: Event, check: Check, sample: Telemetry) -> Step:
        """Count a sample of the users' traffic; say the verdict once nothing speaks against the repair any more."""
        if self.config.traffic is not None and sample.device_id == self.config.traffic.name:
            check = check.model_copy(update={"samples": check.samples + 1})
            state = state.model_copy(update={"check": check})
        if next(verify.objections(self.config, state, check, event.time_us), None) is not None:
            return state, ()
        return self._conclude(state, event, check, ())

    def _on_due(self, state: MonitorState, event: Event, timer: Timer) -> Step:
        check = state.check
        if check is None or timer.timer_id != check.timer_id:
            return state, ()
        return self._conclude(state, event, check, tuple(verify.objections(self.config, state, check, event.time_us)))

    def _conclude(self, state: MonitorState, event: Event, check: Check, reasons: tuple[verify.Reason, ...]) -> Step:
        """Say the verdict of a round, exactly once: the check is gone afterwards."""
        traffic = self.config.traffic
        seen = None if traffic is None else state.devices.get(traffic.name)
        texts = tuple(f"{device}: {text}"[:400] for device, text in reasons)
        verdict = Verified(
            incident=check.incident,
            n=check.n,
            plan_version=check.plan_version,
            ok=not reasons,
            reasons=texts,
            window_s=float(self.config.inventory.objective.window_s),
            samples=check.samples,
            success_ratio=None if seen is None else seen.success_ratio,
        )
        commands: tuple[Command, ...] = (Publish(verdict),)
        if event.subject != f"triage.due.{self.name}.{check.timer_id}":
            commands += (CancelTimer(self.name, check.timer_id),)
        state = state.model_copy(update={"check": None})
        if not reasons:
            return state, commands
        detail = "; ".join(texts)[:1_000]
        state, said = self._deviate(state, check.incident, "verification_failed", reasons[0][0], event.time_us, detail)
        return state, (*commands, *said)


@lru_cache(maxsize=1_024)
def _reads(subject: str) -> bool:
    """Most of a journal is telemetry of the same few devices: a subject is taken apart once."""
    match subject.split("."):
        case ["triage", "telemetry" | "task" | "result" | "dead", *_]:
            return True
        case ["triage", "incident", _, "reported" | "closed"]:
            return True
        case ["triage", "plan", *_, "executed"]:
            return True
        case ["triage", "agent", _, "lost"]:
            return True
        case ["triage", "due", "monitor", _]:
            return True
    return False


def _is_older(executed: PlanExecuted, running: Check | None) -> bool:
    """Tell whether a running check of the same incident already stands for this plan version or a later one."""
    if running is None or running.incident != executed.incident:
        return False
    return running.plan_version >= executed.version
