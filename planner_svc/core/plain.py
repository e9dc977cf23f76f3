"""What deviates, in plain words: for templates that ask for them (`PromptTemplate.plain`).

A small model matches words better than it knows what the names of errors mean (docs/planner.md): each error stands with
the words of its class in the rulebook, once for each device, with how often it was seen; log lines only where no class
is known.
"""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from planner_svc.core.answer import FAULT_CLASSES
from planner_svc.core.context import Picture, Sign, View
from planner_svc.core.prompt import MAX_ERROR, quoted, worst_first
from planner_svc.core.rulebook import rank
from planner_svc.core.wording import MAX_DEVICES, beside_baseline, log_lines, named

CLASSES = {
    "name_resolution": "host name unknown",
    "credentials": "login refused",
    "killed_by_oom": "killed, out of memory",
    "died": "has ended",
    "no_space": "no space left",
    "refused": "connection refused",
    "timeout": "no answer in time",
    "reset": "connection broken",
    "decode": "cannot decode what it read",
    "upstream": "an error from below",
    "too_many_connections": "no connection left",
    "no_privilege": "privilege missing",
    "no_such_column": "its query does not fit the tables",
    "own_bug": "a bug of its own",
    "unreadable_message": "a message it cannot read",
    "stalled": "messages wait and it is given none",
    "descriptors": "no file descriptor left",
    "overloaded": "more requests than it can work on",
    "cache_full": "cache full",
}
"""Words for the rulebook's error classes; a class that is not here stands by its name."""
SELDOM = 0.7
"""Up to this share of the samples since it was first seen, a sign comes and goes."""
ALL_WELL = 0.995
SEEN = 3
"""Samples from which on that can be told."""


def deviations(picture: Picture, *, logs: bool = True) -> list[str]:
    """Return one line per deviating device, worst first, the users' traffic last."""
    return worst_first(picture, lambda signs: _line(picture, signs, logs), MAX_DEVICES, status=False)


def suspects(picture: Picture) -> tuple[str, ...]:
    """Return the devices that can be the cause by what is told: those that deviate, and what they blame or cannot read.
    Where nothing deviates, the users' traffic, for which stands that nothing is wrong."""
    found = [name for name in picture.by_device if picture.config.inventory.get(name) is not None]
    for sign in picture.signs:
        if sign.dependency is not None:
            found.append(sign.dependency.name)
        elif sign.signal == "error" and "decode" in sign.classes:
            found += sign.device.depends_on
    if not found and picture.traffic is not None:
        found.append(picture.traffic.name)
    return tuple(dict.fromkeys(found))


def plausible(picture: Picture) -> tuple[FaultClass, ...]:
    """Return the kinds of fault for which some rule speaks at what was seen, however softly; all if none does. That
    nothing is broken is among them unless users suffer or a device fails."""
    found = {candidate.fault_class for candidate in rank(picture)}
    if not found and picture.deviates:
        return ()
    calm: set[FaultClass] = set() if picture.is_serious else {"none"}
    return tuple(kind for kind in FAULT_CLASSES if kind in found | calm)


def _line(picture: Picture, signs: tuple[Sign, ...], logs: bool) -> str:
    device = signs[0].device
    view = picture.views.get(device.name)
    parts = list(dict.fromkeys(words for sign in _told_once(picture, signs) if (words := _words(picture, sign))))
    if view is not None:
        parts += _served(view)
        parts += [*beside_baseline(picture, view), *(_logs(picture, view, signs) if logs else ())]
    return f"{device.name} ({device.kind}): {'; '.join(parts) or 'not well'}"


def _told_once(picture: Picture, signs: tuple[Sign, ...]) -> list[Sign]:
    """Return the signs without a device's own error where a dependency is blamed for the same."""
    blamed = {_class_of(picture, sign) for sign in signs if sign.signal == "blame"}
    return [sign for sign in signs if sign.signal != "error" or _class_of(picture, sign) not in blamed]


def _class_of(picture: Picture, sign: Sign) -> str:
    """Return the class of a sign's newest error, else of an earlier one; the error itself if no class is known."""
    newest = picture.config.rulebook.classes_of(sign.error)
    known = [item.name for item in picture.config.rulebook.errors if item.name in (newest or sign.classes)]
    return known[0] if known else sign.error


def _words(picture: Picture, sign: Sign) -> str:
    name = sign.dependency.name if sign.dependency else ""
    error = _error(picture, sign)
    return {
        "silent": f"its own probe: {error}",
        "blame": f"cannot use {_state(picture, name)}{name}: {error}{_how_often(sign)}",
        "slow": f"waits for {_state(picture, name)}{name} {named(sign.error, MAX_ERROR)}",
        "error": f"reports {error}{_how_often(sign)}",
        "cpu": f"burns {sign.error} cores",
        "degraded": "gives no reason",
        "finding": f"an agent saw {sign.field}={sign.value}",
        "storm": f"asks {name} {sign.error} times for each request it gets",
    }[sign.signal]


def _error(picture: Picture, sign: Sign) -> str:
    kind = _class_of(picture, sign)
    words = CLASSES.get(kind, kind if kind != sign.error else "")
    shown = quoted(sign.error, MAX_ERROR) if sign.from_log else named(sign.error, MAX_ERROR)
    return f"{words} ({shown})" if words else shown


def _state(picture: Picture, name: str) -> str:
    """Return "healthy" for a dependency that was seen and shows nothing: most kinds of fault are told apart by it."""
    return "healthy " if name in picture.views and name not in picture.by_device else ""


def _served(view: View) -> list[str]:
    """Return the share of a device's own requests that succeed, if some do and some do not."""
    share = view.newest.success_ratio
    return [f"success {share:.2f}"] if share is not None and 0.0 < share < ALL_WELL else []


def _how_often(sign: Sign) -> str:
    seldom = sign.total >= SEEN and sign.share <= SELDOM
    return f" now and then ({sign.count} of {sign.total} samples)" if seldom else ""


def _logs(picture: Picture, view: View, signs: tuple[Sign, ...]) -> list[str]:
    """Return what a device writes, where nothing else says what its trouble is."""
    told = any(sign.classes or sign.signal in ("slow", "cpu", "finding", "storm") for sign in signs)
    return [] if told else log_lines(view)
