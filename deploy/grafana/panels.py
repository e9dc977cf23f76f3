"""The few shapes of panels that the dashboards use, and how they become Grafana's JSON. Pure.

Sizes are in Grafana's grid of 24 columns; panels are laid out in the order given, row by row, and numbered in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["timeseries", "stat", "state-timeline", "bargauge"]
Json = dict[str, Any]

COLUMNS: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
SCHEMA_VERSION: Final = 39
GOOD, FAIR, BAD = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query of a panel."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `unit` is Grafana's name of it (s, bytes, percentunit, reqps, short, ...)."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    about: str
    """What it shows and when to worry: the text behind the panel's i."""
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ((None, GOOD),)
    """Where its colour changes: (from which value on; None: from the start, colour)."""
    low: float | None = 0.0
    high: float | None = None
    stacked: bool = False
    line: bool = False
    """Draw the thresholds into the graph."""
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Values that are shown as a word in a colour: not by colour alone."""


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels under it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the head of a dashboard: the values of a label of a metric."""

    name: str
    label: str
    metric: str
    of: str
    """The label whose values are offered."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    def panels(self) -> Iterator[Panel]:
        """Yield all panels."""
        for row in self.rows:
            yield from row.panels


def stat(title: str, unit: str, expr: str, about: str, **more: Any) -> Panel:
    """Return one big number, four to six in a row."""
    shape: Json = {"kind": "stat", "width": 4, "height": 4}
    return Panel(title, unit, (Query(expr),), about, **(shape | more))


def as_json(dashboard: Dashboard) -> Json:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["agentic-triage"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_variable(variable) for variable in dashboard.variables]},
        "annotations": {"list": [_mark("Incidents", "triage_incidents_open > 0", BAD), _FAULTS]},
        "links": [{"type": "dashboards", "tags": ["agentic-triage"], "title": "Others", "asDropdown": True}],
        "panels": list(_laid_out(dashboard.rows)),
    }


def _laid_out(rows: Iterable[Row]) -> Iterator[Json]:
    number, top = 0, 0
    for row in rows:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": _at(0, top, COLUMNS, 1)}
        left, top, lowest = 0, top + 1, top + 1
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top = 0, lowest
            number += 1
            yield _panel(panel, number, _at(left, top, panel.width, panel.height))
            left += panel.width
            lowest = max(lowest, top + panel.height)
        top = lowest


def _at(left: int, top: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, chr(ord("A") + n)) for n, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, query: Query, letter: str) -> Json:
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": panel.kind in {"stat", "bargauge"},
        "range": panel.kind not in {"stat", "bargauge"},
    }


def _field(panel: Panel) -> Json:
    steps = [{"value": value, "color": colour} for value, colour in panel.steps]
    found: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "noValue": "none yet"}
    found |= {name: value for name, value in (("min", panel.low), ("max", panel.high)) if value is not None}
    if panel.words:
        shown = {str(value): {"text": text, "color": colour} for value, (text, colour) in panel.words.items()}
        found["mappings"] = [{"type": "value", "options": shown}]
    if panel.kind == "timeseries":
        found["custom"] = _drawing(panel)
    if panel.kind == "state-timeline":
        found["custom"] = {"fillOpacity": 80, "lineWidth": 0}
    return found


def _drawing(panel: Panel) -> Json:
    return {
        "drawStyle": "line",
        "lineWidth": 2,
        "fillOpacity": 25 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if panel.line else "off"},
    }


def _options(panel: Panel) -> Json:
    reduced = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    match panel.kind:
        case "timeseries":
            legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["last", "max"]}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return reduced | {"colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto"}
        case "bargauge":
            return reduced | {"displayMode": "gradient", "orientation": "horizontal"}
        case "state-timeline":
            return {"mergeValues": True, "showValue": "auto", "rowHeight": 0.9, "legend": {"showLegend": False}}


def _variable(variable: Variable) -> Json:
    query = f"label_values({variable.metric}, {variable.of})"
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _mark(name: str, expr: str, colour: str, title: str = "incident open") -> Json:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": expr,
        "step": "5s",
        "titleFormat": title,
    }


_FAULTS: Final = _mark("Injected faults", "triage_faults_open > 0", FAIR, "{{fault}} on {{target}}")
