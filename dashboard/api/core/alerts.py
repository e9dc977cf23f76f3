"""An alert group of Prometheus' Alertmanager as an incident: its name, its words. Pure.

Alertmanager sends the same group again and again while it fires, and once when it is over. The name follows from the
group and from when its first alert began to fire, so that one outage is one incident, however often it is told.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_ALERTS = 10
MAX_VALUE = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_TOLD_FIRST = ("alertname", "severity", "instance", "job", "service")


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert that fires."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str


def incident_name(group: str, firing: Sequence[Firing]) -> str:
    """Return the incident of a group: `alert-` and twelve digits."""
    began = min(alert.starts_at for alert in firing)
    return "alert-" + hashlib.sha256(f"{group}\n{began}".encode("utf-8", "replace")).hexdigest()[:12]


def incident_text(firing: Sequence[Firing]) -> str:
    """Return what is reported. Labels and annotations are other people's words: cleaned and cut, and never more than
    data to the planner."""
    lines = [_line(alert) for alert in firing[:MAX_ALERTS]]
    if len(firing) > MAX_ALERTS:
        lines.append(f"and {len(firing) - MAX_ALERTS} more alerts of this group")
    return "\n".join(lines)


def _line(alert: Firing) -> str:
    name = _clean(alert.labels.get("alertname", "an alert"))
    told = [f"{key} {_clean(alert.labels[key])}" for key in _TOLD_FIRST[1:] if alert.labels.get(key)]
    words = [_clean(alert.annotations[key]) for key in ("summary", "description") if alert.annotations.get(key)]
    return ": ".join([f"Prometheus alert {name}" + (f" ({', '.join(told)})" if told else ""), *words])


def _clean(text: str) -> str:
    text = " ".join(_CONTROL.sub(" ", text).split())
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
