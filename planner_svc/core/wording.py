"""What deviates, in the words of the templates of version 1. `core/plain.py` has plainer ones.

Log lines stand as templates with counts: what varies in them stands as #.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from planner_svc.core.context import Picture, Sign, View
from planner_svc.core.prompt import MAX_ERROR, MAX_LOG, one_line, quoted, words_of, worst_first

MAX_DEVICES: Final = 12
MAX_LOGS: Final = 2
"""Templates of log lines that one device shows."""
FACTOR: Final = 3.0
RISE_MS: Final = 50.0
"""A device answers slowly from this many times its baseline on, and this much above it."""
_NAME = re.compile(r"[A-Za-z0-9_.:-]+|no answer")
"""Names of errors, files and incidents, which can say nothing to a model; "no answer" is code's own word."""
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|[0-9]+(?:\.[0-9]+)*")


def deviations(picture: Picture, *, logs: bool = True) -> list[str]:
    """Return one line per deviating device, worst first, the users' traffic last."""
    return worst_first(picture, lambda signs: _line(picture, signs, logs), MAX_DEVICES)


def _line(picture: Picture, signs: tuple[Sign, ...], logs: bool) -> str:
    device = signs[0].device
    view = picture.views.get(device.name)
    parts = [words for sign in signs if (words := words_of(sign, named(sign.error, MAX_ERROR)))]
    if view is not None:
        parts += [*beside_baseline(picture, view), *(log_lines(view) if logs else ())]
    return f"{device.name} ({device.kind}) {view.newest.status if view else 'unseen'}; {'; '.join(parts)}"


def named(text: str, limit: int) -> str:
    """Return a name as it is, and anything else that stands where a name is expected as a stranger's words."""
    return text[:limit] if not text or _NAME.fullmatch(text) else quoted(text, limit)


def beside_baseline(picture: Picture, view: View) -> list[str]:
    """Return where a device is far from how it is when it is well."""
    usual, newest = picture.baselines.get(view.device.name), view.newest
    found = []
    if usual is not None and _is_far(newest.latency_ms, usual.latency_ms, RISE_MS):
        found.append(f"answers in {newest.latency_ms:.0f} ms, usually {usual.latency_ms:.0f}")
    if usual is not None and _is_far(newest.cpu_load, usual.cpu_load, picture.config.cpu_rise):
        found.append(f"usually {usual.cpu_load:.2f} cores")
    return found


def _is_far(value: float | None, usual: float | None, rise: float) -> bool:
    return value is not None and usual is not None and value > max(FACTOR * usual, usual + rise)


def log_lines(view: View) -> list[str]:
    """Return the commonest log lines of the window as templates with counts: what varies in them stands as #."""
    lines = [_VARIABLE.sub("#", one_line(sample.log_sample, MAX_LOG)) for sample in view.samples if sample.log_sample]
    return [
        f"log: {quoted(line, MAX_LOG)}{f' x{count}' if count > 1 else ''}"
        for line, count in Counter(lines).most_common(MAX_LOGS)
    ]
