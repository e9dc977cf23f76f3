"""Plots as inline SVG: no script, no font, no file beside the page. Pure.

Colours are classes (`c0`, `c1`, …) that the page's style sheet gives for light and for dark. A plot never speaks by
colour alone: series are named beside their marks and have marks of different shapes, and every plot has a title and a
description for those who do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from harness.suite.result import LANES, Mark

WIDTH = 760
LEFT = 230
RIGHT = 64
"""Right of the axis stand the counts, so that no bar and no whisker runs through them."""
ROW = 22
SERIES = 6
"""Colours and shapes; the seventh series looks like the first."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rate with its interval, 0..1."""

    label: str
    series: int
    value: float
    low: float
    high: float
    note: str


@dataclass(frozen=True, slots=True)
class Dots:
    """Measured values of one series, with the interval of their median."""

    label: str
    series: int
    values: tuple[float, ...]
    median: float | None
    low: float | None
    high: float | None


def text(value: str, x: float, y: float, *, anchor: str = "start", css: str = "") -> str:
    """Return a text; whatever stands in it is shown, never parsed."""
    name = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{clean(value)}</text>'


def clean(value: str) -> str:
    """Return a text as it may stand in a page or an attribute of it, with what XML has no way to hold replaced."""
    return escape("".join(c if c in "\t\n" or (c >= " " and not _is_unfit(c)) else "\ufffd" for c in value))


def _is_unfit(character: str) -> bool:
    number = ord(character)
    return 0x7F <= number <= 0x9F or 0xD800 <= number <= 0xDFFF or number in (0xFFFE, 0xFFFF)


def frame(name: str, title: str, description: str, height: float, body: Iterable[str]) -> str:
    """Return an SVG element with its text alternatives.

    Args:
        name: of the element, unique on its page; ASCII letters, digits and dashes.
    """
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="{name}-t {name}-d" class="plot">'
        f'<title id="{name}-t">{clean(title)}</title><desc id="{name}-d">{clean(description)}</desc>'
    )
    return "".join([head, *body, "</svg>"])


def shape(series: int, x: float, y: float, size: float = 4.0) -> str:
    """Return a series' mark: a disc, a square, a diamond, a triangle, a cross or a ring."""
    css = f"c{series % SERIES}"
    kind = series % SERIES
    if kind == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" class="{css} fill"/>'
    if kind == 5:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" class="{css} line"/>'
    if kind == 4:
        left, right, top, low = (f"{value:.1f}" for value in (x - size, x + size, y - size, y + size))
        path = f"M{left} {top}L{right} {low}M{right} {top}L{left} {low}"
        return f'<path d="{path}" class="{css} line"/>'
    corners = {
        1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        2: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        3: ((0, -1.2), (1.2, 1), (-1.2, 1)),
    }[kind]
    points = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" class="{css} fill"/>'


def ticks(most: float, wanted: int = 5) -> tuple[float, ...]:
    """Return round numbers from 0 to at least `most`: steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(most) and most > 0):
        return (0.0, 1.0)
    rough = most / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    count = math.ceil(most / step - 1e-9)
    return tuple(step * n for n in range(count + 1))


def _axis(marks: Sequence[float], top: float, bottom: float, unit: str) -> list[str]:
    most = marks[-1]
    found = []
    for mark in marks:
        x = _x(mark, most)
        found.append(f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" class="grid"/>')
        found.append(text(f"{mark:g}{unit}", x, bottom + 14, anchor="middle", css="small"))
    return found


def _x(value: float, most: float, least: float = 0.0) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - least) / ((most - least) or 1.0)


def _label(value: str) -> str:
    """Return a text that fits left of the axis, cut where it tells least: endpoints end with a model."""
    return value if len(value) <= 29 else f"{value[:8]}…{value[-20:]}"


def bars(name: str, title: str, rows: Sequence[Bar]) -> str:
    """Return rates as horizontal bars with their intervals as whiskers."""
    bottom = 8.0 + ROW * len(rows)
    body = _axis((0.0, 0.25, 0.5, 0.75, 1.0), 4.0, bottom, "")
    for n, row in enumerate(rows):
        y = 8.0 + ROW * n + ROW / 2
        start, end = _x(0.0, 1.0), _x(row.value, 1.0)
        body.append(text(_label(row.label), LEFT - 22, y + 4, anchor="end"))
        body.append(shape(row.series, LEFT - 11, y))
        body.append(
            f'<rect x="{start:.1f}" y="{y - 6:.1f}" width="{max(0.0, end - start):.1f}" height="12" '
            f'class="c{row.series % SERIES} fill soft"/>'
        )
        body.append(_whisker(_x(row.low, 1.0), _x(row.high, 1.0), y))
        body.append(text(row.note, WIDTH - 2, y + 4, anchor="end", css="small"))
    said = "; ".join(f"{row.label}: {row.value:.2f}, 95 % interval {row.low:.2f} to {row.high:.2f}" for row in rows)
    return frame(name, title, said or "nothing was measured", bottom + 22, body)


def _whisker(low: float, high: float, y: float) -> str:
    path = f"M{low:.1f} {y - 4:.1f}v8m0 -4H{high:.1f}m0 -4v8"
    return f'<path d="{path}" class="whisker"/>'


def dots(name: str, title: str, rows: Sequence[Dots], unit: str = "s") -> str:
    """Return measured values, one row a series: every value a mark, the median a line, its interval a whisker."""
    marks = ticks(max((value for row in rows for value in row.values), default=0.0))
    height = 34.0
    bottom = 8.0 + height * len(rows)
    body = _axis(marks, 4.0, bottom, f" {unit}")
    for n, row in enumerate(rows):
        y = 8.0 + height * n + height / 2
        body.append(text(_label(row.label), LEFT - 12, y + 4, anchor="end"))
        if not row.values:
            body.append(text("no value", LEFT + 8, y + 4, css="small"))
        for place, value in enumerate(row.values):
            body.append(shape(row.series, _x(value, marks[-1]), y - 5 + 5 * (place % 3), 3.0))
        if row.median is not None and row.low is not None and row.high is not None:
            x = _x(row.median, marks[-1])
            body.append(f'<line x1="{x:.1f}" y1="{y - 13:.1f}" x2="{x:.1f}" y2="{y + 13:.1f}" class="median"/>')
            body.append(_whisker(_x(row.low, marks[-1]), _x(row.high, marks[-1]), y + 13))
    said = "; ".join(_dots_said(row, unit) for row in rows)
    return frame(name, title, said or "nothing was measured", bottom + 24, body)


def _dots_said(row: Dots, unit: str) -> str:
    if row.median is None or not row.values:
        return f"{row.label}: no value"
    span = f"{min(row.values):.2f} to {max(row.values):.2f} {unit}"
    return f"{row.label}: {len(row.values)} values from {span}, median {row.median:.2f} {unit}"


def lanes(name: str, title: str, marks: Sequence[Mark]) -> str:
    """Return a run as a timeline: a lane for each actor, a bar for what lasted, a mark for what happened; a hollow bar
    or a cross where it is bad news."""
    used = [lane for lane in LANES if any(mark.lane == lane for mark in marks)]
    least = min((0.0, *(mark.at_s for mark in marks)))  # as in the run's table: from its start
    most = max((mark.at_s if mark.until_s is None else mark.until_s for mark in marks), default=1.0)
    scale = ticks(max(most - least, 0.001))
    bottom = 8.0 + ROW * len(used)
    body = _axis(scale, 4.0, bottom, " s")
    for n, lane in enumerate(used):
        y = 8.0 + ROW * n + ROW / 2
        body.append(text(lane, LEFT - 12, y + 4, anchor="end"))
        body += [_placed(mark, y, least, scale[-1]) for mark in marks if mark.lane == lane]
    said = "; ".join(f"{mark.at_s - least:.1f} s {mark.lane}: {mark.label}" for mark in marks)
    return frame(name, title, said or "nothing happened", bottom + 24, body)


def _placed(mark: Mark, y: float, least: float, most: float) -> str:
    css = "good" if mark.ok else "bad"
    start = _x(mark.at_s - least, most)
    told = f"<title>{clean(mark.label)}</title>"
    if mark.until_s is None:
        path = f"M{start:.1f} {y - 7:.1f}l5 7l-5 7l-5 -7z"
        if not mark.ok:
            path = f"M{start - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
        return f'<g class="{css}">{told}<path d="{path}"/></g>'
    width = max(2.0, _x(mark.until_s - least, most) - start)
    return f'<g class="{css}">{told}<rect x="{start:.1f}" y="{y - 6:.1f}" width="{width:.1f}" height="12" rx="2"/></g>'


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of two reports, each with its interval."""

    label: str
    first: tuple[float, float, float]
    """Value, low, high."""
    second: tuple[float, float, float]


def pairs(name: str, title: str, rows: Sequence[Pair], unit: str, names: tuple[str, str] = ("A", "B")) -> str:
    """Return figures of two reports below each other, with their intervals."""
    marks = (
        (0.0, 0.25, 0.5, 0.75, 1.0)
        if not unit
        else ticks(max((max(r.first[2], r.second[2]) for r in rows), default=0.0))
    )
    height = 36.0
    bottom = 8.0 + height * len(rows)
    body = _axis(marks, 4.0, bottom, f" {unit}" if unit else "")
    for n, row in enumerate(rows):
        y = 8.0 + height * n + height / 2
        body.append(text(_label(row.label), LEFT - 34, y + 4, anchor="end"))
        for series, (value, low, high) in enumerate((row.first, row.second)):
            at = y - 7 + 14 * series
            body.append(text(names[series], LEFT - 14, at + 4, anchor="end", css="small"))
            body.append(_whisker(_x(low, marks[-1]), _x(high, marks[-1]), at))
            body.append(shape(series, _x(value, marks[-1]), at))
    said = "; ".join(
        f"{row.label}: {names[0]} {row.first[0]:.2f}, {names[1]} {row.second[0]:.2f}{f' {unit}' if unit else ''}"
        for row in rows
    )
    return frame(name, title, said or "nothing to compare", bottom + 24, body)
