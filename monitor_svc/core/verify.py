"""Is the repair real? Symptoms gone, and the users' objective met for a whole window after it.

A traffic sample says what users saw in the `window_s` seconds before it was measured. So the first sample that can
prove a repair is the one whose whole window lies after `plan.executed`; earlier ones still contain the outage.
Everything unknown counts against the repair: no traffic, too little of it, a silent sensor, a device not heard.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.contracts.inventory import Device
from monitor_svc.core.config import MICRO, MonitorConfig
from monitor_svc.core.detect import ABSENT, is_silent, objective_fault
from monitor_svc.core.state import Check, DeviceState, MonitorState

Reason = tuple[str, str]
"""Device, and what speaks against the repair."""


def objections(config: MonitorConfig, state: MonitorState, check: Check, now_us: int) -> Iterator[Reason]:
    """Give everything that speaks against the repair right now; nothing means that it is proved.

    One after the other: while a check runs, the first is all that anybody asks for, at every sample of every device.
    """
    traffic = config.traffic
    if traffic is None:
        yield "traffic", "no device of the inventory measures the users' traffic"
    else:
        fault = _traffic_fault(config, state, state.devices.get(traffic.name, ABSENT), check, now_us)
        if fault:
            yield traffic.name, fault
    for device in config.inventory.devices:
        fault = _device_fault(config, state, device, check, now_us) if device.managed else None
        if fault:
            yield device.name, fault


def _traffic_fault(
    config: MonitorConfig, state: MonitorState, sample: DeviceState, check: Check, now_us: int
) -> str | None:
    objective = config.inventory.objective
    whole_us = check.started_us + config.window_us
    if is_silent(config, state, sample, now_us) or _nobody_speaks(config, state, now_us):
        return "the measurement of the users' traffic fell silent"
    if sample.last_us is None or sample.last_us < whole_us:
        return f"no sample whose window of {objective.window_s} s lies wholly after the repair"
    requests = (sample.request_rate or 0.0) * objective.window_s
    if sample.success_ratio is None or requests < config.min_requests:
        return f"{requests:.0f} user requests in the window, {config.min_requests} are needed to prove anything"
    if sample.latency_ms is None:
        return "the latency of the users' requests was not measured"
    return objective_fault(objective, sample.success_ratio, sample.latency_ms)


def _device_fault(config: MonitorConfig, state: MonitorState, device: Device, check: Check, now_us: int) -> str | None:
    item = state.devices.get(device.name, ABSENT)
    if item.last_us is None or item.last_us <= check.started_us:
        return "was not heard since the repair"
    if is_silent(config, state, item, now_us) or _nobody_speaks(config, state, now_us):
        return f"silent for {(now_us - item.last_us) / MICRO:.1f} s"
    facts = ", ".join(fact for fact in (item.error_code, item.note) if fact) or "no cause given"
    if item.status == "ERROR":
        return f"is in ERROR ({facts})"
    if item.below_ok >= config.degraded_samples:
        return f"is still degraded ({facts})"
    return None


def _nobody_speaks(config: MonitorConfig, state: MonitorState, now_us: int) -> bool:
    return state.heard_us is None or now_us - state.heard_us > config.down_after_us
