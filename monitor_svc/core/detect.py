"""Telemetry in, streaks of bad samples out (spec 8 and 10).

A sample is *bad* when the users' traffic misses its objective, or when a device says ERROR or does not answer. Bad
samples in a row are a streak; a streak of `confirm_samples` is a deviation, dated by its first sample. A device that is
silent while others speak is down, too. Broker time of the event is the only clock: what a sensor's own clock says is
never compared with anything.
"""

from __future__ import annotations

from broker.contracts.inventory import Device, Objective
from broker.contracts.monitor import DeviationKind
from broker.contracts.telemetry import Telemetry
from monitor_svc.core.config import MICRO, MonitorConfig, micro
from monitor_svc.core.state import DeviceState, MonitorState, Streak

Problem = tuple[DeviationKind, str]
ABSENT = DeviceState()
"""A device of which nothing was heard yet."""


def objective_fault(objective: Objective, success_ratio: float | None, latency_ms: float | None) -> str | None:
    """Return how a sample of the users' traffic misses the objective, or None. What was not measured misses nothing."""
    if success_ratio is not None and success_ratio < objective.success_ratio:
        return f"success ratio {success_ratio:.3f} below {objective.success_ratio:.3f}"
    if latency_ms is not None and latency_ms > objective.latency_ms:
        return f"95th percentile {latency_ms:.0f} ms above {objective.latency_ms:.0f} ms"
    return None


def problem_of(device: Device, sample: Telemetry, objective: Objective) -> Problem | None:
    """Return the kind of deviation a single sample shows and the facts in a few words, or None."""
    metrics = sample.metrics
    if device.kind == "traffic" and metrics.success_ratio is not None:
        fault = objective_fault(objective, metrics.success_ratio, metrics.latency_ms)
        return ("objective_missed", f"{fault} over {objective.window_s} s") if fault else None
    if sample.status != "ERROR":
        return None
    facts = ", ".join(fact for fact in (sample.error_code, sample.note) if fact) or "no cause given"
    answered = metrics.latency_ms is not None
    return "service_down", f"reports ERROR ({facts})" if answered else f"does not answer ({facts})"


def observe(config: MonitorConfig, state: MonitorState, sample: Telemetry, now_us: int) -> MonitorState:
    """Return the state after one sample. A device that is not in the inventory changes nothing."""
    device = config.inventory.get(sample.device_id)
    if device is None:
        return state
    if state.heard_us is None or now_us - state.heard_us > config.sensing_gap_us:
        state = _after_gap(config, state, now_us)
    name, devices = device.name, state.devices.copy()
    sampled = devices[name] = _sampled(config, device, devices.get(name, ABSENT), sample, now_us)
    silenced = _silence(config, devices, name, state.sensing_since_us, now_us)
    calm_since = state.calm_since_us
    if calm_since is None or silenced or sampled.streak is not None:
        deviates = any(item.streak is not None for item in devices.values())
        calm_since = None if deviates else now_us
    return state.model_copy(update={"heard_us": now_us, "devices": devices, "calm_since_us": calm_since})


def _after_gap(config: MonitorConfig, state: MonitorState, now_us: int) -> MonitorState:
    """Note that the sensors speak after a gap in which all were silent: nobody's silence counts."""
    update: dict[str, object] = {"sensing_since_us": now_us}
    if state.heard_us is None or now_us - state.heard_us > config.restart_gap_us:
        update["started_us"] = now_us
        update["devices"] = {
            name: item.model_copy(update={"seen_ok": False, "streak": None}) for name, item in state.devices.items()
        }
    return state.model_copy(update=update)


def _silence(
    config: MonitorConfig, devices: dict[str, DeviceState], speaker: str, sensing_since_us: int, now_us: int
) -> bool:
    """Count every other device that was silent for too long as down, in `devices`; tell whether one was.

    This runs for every sample of every device: whoever cannot have been silent is not looked at any closer.
    """
    silent_before = now_us - config.down_after_us
    nobody = sensing_since_us >= silent_before
    found = False
    for name in config.inventory.by_name:
        item = devices.get(name)
        if item is None:
            item = devices[name] = ABSENT
        if nobody or name == speaker or (item.last_us or 0) >= silent_before:
            continue
        devices[name] = _silenced(config, item, now_us)
        found = True
    return found


def _sampled(config: MonitorConfig, device: Device, old: DeviceState, sample: Telemetry, now_us: int) -> DeviceState:
    metrics, status = sample.metrics, sample.status
    problem = problem_of(device, sample, config.inventory.objective)
    measured = device.kind != "traffic" or metrics.success_ratio is not None
    return DeviceState.made(
        last_us=now_us,
        status=status,
        success_ratio=metrics.success_ratio,
        latency_ms=metrics.latency_ms,
        request_rate=metrics.request_rate,
        error_code=sample.error_code,
        note=sample.note,
        below_ok=0 if status == "OK" else old.below_ok + 1,
        seen_ok=old.seen_ok or (problem is None and measured),
        streak=None if problem is None else _extended(old.streak, problem, now_us),
    )


def _extended(old: Streak | None, problem: Problem, now_us: int) -> Streak:
    kind, detail = problem
    if old is None:
        return Streak.made(kind=kind, first_us=now_us, count=1, detail=detail)
    return Streak.made(kind=kind, first_us=old.first_us, count=old.count + 1, detail=detail)


def _silenced(config: MonitorConfig, old: DeviceState, now_us: int) -> DeviceState:
    """Return a device that was silent while another one spoke (`is_silent`)."""
    first_us = now_us if old.streak is None else old.streak.first_us
    detail = f"said nothing for more than {config.down_after_s:g} s"
    count = max(config.confirm_samples, 0 if old.streak is None else old.streak.count)
    streak = Streak(kind="service_down", first_us=first_us, count=count, detail=detail)
    return old if old.streak == streak else old.model_copy(update={"streak": streak})


def is_silent(config: MonitorConfig, state: MonitorState, device: DeviceState, now_us: int) -> bool:
    """Tell whether a device said nothing for `down_after_s` although the sensors spoke."""
    since = max(state.sensing_since_us, device.last_us or 0)
    return now_us - since > config.down_after_us


def confirmed(config: MonitorConfig, state: MonitorState) -> tuple[tuple[Device, Streak], ...]:
    """Return every deviation that lasts right now: the users' traffic first, then in the inventory's order."""
    if state.calm_since_us is not None:
        return ()  # no device has a streak
    least = config.confirm_samples
    streaks = [(name, streak) for name, item in state.devices.items() if (streak := item.streak) is not None]
    certain = {name: streak for name, streak in streaks if streak.count >= least}
    if not certain:
        return ()
    found = [(device, certain[name]) for name, device in config.inventory.by_name.items() if name in certain]
    found.sort(key=lambda pair: pair[0].kind != "traffic")
    return tuple(found)


def worth_reporting(config: MonitorConfig, state: MonitorState, now_us: int) -> bool:
    """Tell whether a deviation lasted through the grace without anybody reporting it.

    A measuring device that does not answer is nobody's outage, and a device that was not yet healthy since the stack
    started gets `startup_s` to become so.
    """
    if state.calm_since_us is not None:
        return False  # and most of the time it is so
    starting = now_us - state.started_us < micro(config.startup_s)
    return any(
        now_us - streak.first_us >= micro(config.report_grace_s)
        and (device.managed or streak.kind == "objective_missed")
        and not (starting and not state.devices[device.name].seen_ok)
        for device, streak in confirmed(config, state)
    )


def describe(deviations: tuple[tuple[Device, Streak], ...], now_us: int) -> str:
    """Return the text of the monitor's own report: which devices, what is seen, for how long. Facts only."""
    lines = [
        f"{device.name}: {streak.detail[:300]}, for {(now_us - streak.first_us) / MICRO:.1f} s"
        for device, streak in deviations
    ]
    return "Seen in telemetry, reported by nobody:\n" + "\n".join(lines[:20])
