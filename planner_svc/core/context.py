"""From telemetry to signs: what deviates right now, on which device, towards which dependency, since when.

A sign is an observation, not a cause. `core/rulebook.py` weighs signs into candidates, `core/prompt.py` shows them to a
model, worst first. Text from telemetry is untrusted: of a note only `dependency=error` pairs about declared
dependencies are read, and error names only ever choose among the rulebook's classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from broker.contracts.base import Scalar
from broker.contracts.inventory import Device
from broker.contracts.plan import Exchange, PlanRequested, Reason, Tried
from planner_svc.core.config import PlannerConfig, Signal
from planner_svc.core.state import Baseline, Past, PlannerState, Sample
from planner_svc.core.storms import storms

STALE_US = 5_000_000
"""A device whose newest sample is this much older than the newest of all is not looked at any more."""
REMEMBERED_US = 12_000_000
"""A service reports its last error for ten seconds, and a repair itself breaks connections: so long after an agent's
change, the error of a device that is well is a memory."""
LASTING_ERRORS = 3
MAX_ERROR = 80
_PAIR = re.compile(r"(?P<slow>slow:)?(?P<name>[a-z0-9][a-z0-9_-]*)=(?P<error>[^,]*)")


@dataclass(frozen=True, slots=True)
class Sign:
    """One deviation of one device, seen in `count` of `total` samples since it was first seen."""

    signal: Signal
    device: Device
    dependency: Device | None
    error: str
    classes: frozenset[str]
    first_us: int
    count: int
    total: int
    current: bool = True
    """True if the newest sample shows it; of an error, too, that the device is not well right now: a service goes on
    reporting its last error for some seconds."""
    from_log: bool = False
    """True if the error's class was read from a log line, which anybody may have written."""
    field: str | None = None
    value: Scalar | None = None

    @property
    def share(self) -> float:
        """Share of the samples since the first sight that show the sign, 0..1."""
        return self.count / max(self.total, 1)

    @property
    def milliseconds(self) -> float:
        """For slow: how long the device waits; 0 if its words are no number."""
        found = re.match(r"([0-9]{1,9}(?:\.[0-9]+)?) ?ms", self.error)
        return float(found[1]) if found else 0.0


@dataclass(frozen=True, slots=True)
class View:
    """One device's samples inside the window, oldest first."""

    device: Device
    samples: tuple[Sample, ...]

    @property
    def newest(self) -> Sample:
        return self.samples[-1]


@dataclass(frozen=True, eq=False)
class Picture:
    """Everything that is known about the world for one incident. Two pictures are never compared."""

    config: PlannerConfig
    views: dict[str, View]
    signs: tuple[Sign, ...]
    past: Past
    tried: tuple[Tried, ...]
    rejected: tuple[Reason, ...]
    text: str
    dialogue: tuple[Exchange, ...] = ()
    """Clarifying questions of the incident and their answers."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """How each device is when it is well."""
    report: str = ""
    """The report alone; `text` holds the operator's answers besides."""

    @cached_property
    def by_device(self) -> dict[str, tuple[Sign, ...]]:
        """Return the signs of each device that shows any."""
        found: dict[str, tuple[Sign, ...]] = {}
        for sign in self.signs:
            found[sign.device.name] = (*found.get(sign.device.name, ()), sign)
        return found

    @cached_property
    def traffic(self) -> Device | None:
        """Return the device that stands for the users."""
        return next((d for d in self.config.inventory.devices if d.kind == "traffic"), None)

    @cached_property
    def users_suffer(self) -> bool:
        """Tell whether the newest sample of the users' traffic misses the objective."""
        view = self.views.get(self.traffic.name) if self.traffic else None
        return view is not None and self._misses_objective(view.newest)

    @cached_property
    def lasts(self) -> bool:
        """Tell whether the trouble is more than a hiccup: users suffer for longer than the objective's window, in which
        one bad second is seen for its whole length, or a device says ERROR several times in a row."""
        if any(_ends_with(view.samples, LASTING_ERRORS, _is_error) for view in self.views.values() if _is_part(view)):
            return True
        view = self.views.get(self.traffic.name) if self.traffic else None
        count = self.config.inventory.objective.window_s + 1
        return view is not None and _ends_with(view.samples, count, self._misses_objective)

    def _misses_objective(self, sample: Sample) -> bool:
        objective = self.config.inventory.objective
        bad_ratio = sample.success_ratio is not None and sample.success_ratio < objective.success_ratio
        bad_latency = sample.latency_ms is not None and sample.latency_ms > objective.latency_ms
        return sample.status != "OK" or bad_ratio or bad_latency

    @cached_property
    def is_serious(self) -> bool:
        """Tell whether users suffer or a device is in ERROR right now: then a likely cause is better than none."""
        return self.users_suffer or any(view.newest.status == "ERROR" for view in self.views.values())

    @property
    def deviates(self) -> bool:
        """Tell whether anything at all is not as it should be."""
        return bool(self.signs) or self.users_suffer

    @cached_property
    def is_blind(self) -> bool:
        """Tell whether nothing is heard of the users' traffic from who measures it, whom no fault of the shop silences:
        then the machine itself may starve, and that others are silent says little."""
        if self.traffic is None:
            return False
        view = self.views.get(self.traffic.name)
        if view is None:
            return True
        newest = view.newest
        return newest.status == "ERROR" and newest.success_ratio is None and newest.latency_ms is None

    def is_silent(self, name: str, samples: int = 1) -> bool:
        """Tell whether the newest `samples` probes of a device all stayed without answer."""
        view = self.views.get(name)
        if view is None or len(view.samples) < samples:
            return False
        return all(got_no_answer(view.device, sample) for sample in view.samples[-samples:])

    def clients_of(self, dependency: str) -> tuple[str, ...]:
        """Return the devices that are declared to depend on a device."""
        return tuple(d.name for d in self.config.inventory.devices if dependency in d.depends_on)


def _ends_with(samples: tuple[Sample, ...], count: int, predicate: Callable[[Sample], bool]) -> bool:
    return len(samples) >= count and all(map(predicate, samples[-count:]))


def _is_error(sample: Sample) -> bool:
    return sample.status == "ERROR"


def _is_part(view: View) -> bool:
    return view.device.kind != "traffic"


def got_no_answer(device: Device, sample: Sample) -> bool:
    """Tell whether a sample says that the device's own probe got no answer.

    A service that answers says what it uses (`cpu_load`, `mem_usage`) and which dependency fails (`note`); of a
    database, cache or queue there is nothing but the probe.
    """
    if sample.status != "ERROR" or device.kind == "traffic":
        return False
    if device.kind != "service":
        return True
    return sample.cpu_load is None and sample.mem_usage is None and not _pairs(device, sample.note)


def look(config: PlannerConfig, state: PlannerState, request: PlanRequested) -> Picture:
    """Return the picture that the recent telemetry gives for a request.

    Telemetry from before an agent's last change is left out: it shows the world before the change.
    """
    past = state.past.get(request.incident, Past())
    newest = max((history[-1].time_us for history in state.samples.values() if history), default=0)
    since = max(newest - config.window_us, state.changed_us)
    views = {}
    for name, device in config.inventory.by_name.items():
        samples = tuple([s for s in state.samples.get(name, ()) if s.time_us > since])
        if samples and samples[-1].time_us > newest - STALE_US:
            views[name] = View(device, samples)
    signs = (
        *_signs_of_views(config, state, views.values()),
        *_signs_of_storms(config, state, views),
        *_signs_of_findings(config, past),
    )
    words = "\n".join((request.text, *(one.answer for one in request.dialogue if one.answer)))
    return Picture(
        config,
        views,
        tuple(signs),
        past,
        request.tried,
        request.rejected,
        words,
        request.dialogue,
        state.baselines,
        request.text,
    )


def _signs_of_views(config: PlannerConfig, state: PlannerState, views: Iterable[View]) -> Iterable[Sign]:
    for view in views:
        if view.device.kind == "traffic":
            continue
        baseline = state.baselines.get(view.device.name)
        usual = (baseline.cpu_load if baseline else None) or 0.0
        busy_from = max(config.cpu_cores, usual + config.cpu_rise)
        remembers_us = state.changed_us + REMEMBERED_US if state.changed_us else 0
        observed = [_observe(config, view, sample, busy_from, remembers_us) for sample in view.samples]
        if any(observed):
            yield from _merge(config, view, observed)


Observed = tuple[Signal, str, str, bool]
"""Signal, name of the dependency or "", error, whether it was read from a log line."""


def _observe(config: PlannerConfig, view: View, sample: Sample, busy_from: float, remembers_us: int) -> list[Observed]:
    """Return what one sample shows; until `remembers_us` a device that is well only remembers its error."""
    is_ok, load = sample.status == "OK", sample.cpu_load
    code = (sample.error_code or "")[:MAX_ERROR]
    if is_ok and not code and not sample.note and (load is None or load < busy_from):
        return []  # nearly always, and every sample of the window is looked at with every new one
    if is_ok and sample.time_us < remembers_us:
        code = ""
    if got_no_answer(view.device, sample):
        return [("silent", "", code or "no answer", False)]
    found: list[Observed] = []
    for slow, name, error in _pairs(view.device, sample.note):
        found.append(("slow" if slow else "blame", name, error, False))
    if load is not None and load >= busy_from:
        found.append(("cpu", "", f"{load:.2f}", False))
    if code:
        found.append(("error", "", code, False))
    elif not is_ok and sample.log_sample and config.rulebook.classes_of(sample.log_sample):
        found.append(("error", "", sample.log_sample[:MAX_ERROR], True))
    if not is_ok and not found:
        found.append(("degraded", "", sample.status, False))
    return found


def _pairs(device: Device, note: str | None) -> list[tuple[bool, str, str]]:
    """Return (slow?, dependency, error) of the note's pairs about declared dependencies."""
    return [pair for pair in _parsed(note) if pair[1] in device.depends_on] if note else []


@lru_cache(maxsize=512)
def _parsed(note: str) -> tuple[tuple[bool, str, str], ...]:
    """A sample is looked at again with every later one, as long as it is in the window."""
    return tuple(
        (bool(pair["slow"]), pair["name"], pair["error"].strip()[:MAX_ERROR] or "unknown")
        for pair in _PAIR.finditer(note)
    )


def _merge(config: PlannerConfig, view: View, observed: list[list[Observed]]) -> Iterable[Sign]:
    """Put observations of several samples that are alike into one sign; the newest error gives it its words."""
    seen: dict[tuple[Signal, str], list[tuple[int, Observed]]] = {}
    for position, items in enumerate(observed):
        for item in items:
            seen.setdefault(item[:2], []).append((position, item))
    for (signal, name), sightings in seen.items():
        places = sorted({position for position, _ in sightings})
        _, _, error, from_log = sightings[-1][1]
        yield Sign(
            signal=signal,
            device=view.device,
            dependency=config.inventory.get(name) if name else None,
            error=error,
            classes=frozenset().union(*(config.rulebook.classes_of(item[2]) for _, item in sightings)),
            first_us=view.samples[places[0]].time_us,
            count=len(places),
            total=len(view.samples) - places[0],
            current=places[-1] == len(view.samples) - 1 and (signal != "error" or view.newest.status != "OK"),
            from_log=from_log,
        )


def _signs_of_storms(config: PlannerConfig, state: PlannerState, views: Mapping[str, View]) -> Iterable[Sign]:
    for storm in storms(config, {name: view.samples for name, view in views.items()}, state.baselines):
        yield Sign(
            signal="storm",
            device=storm.client,
            dependency=storm.dependency,
            error=f"{storm.times:.0f}",
            classes=frozenset(),
            first_us=storm.first_us,
            count=storm.count,
            total=storm.total,
            current=storm.current,
        )


def _signs_of_findings(config: PlannerConfig, past: Past) -> Iterable[Sign]:
    for finding in past.findings:
        device = config.inventory.get(finding.target)
        if device is not None:
            yield Sign(
                signal="finding",
                device=device,
                dependency=None,
                error="",
                classes=frozenset(),
                first_us=finding.time_us,
                count=1,
                total=1,
                field=finding.field,
                value=finding.value,
            )
