"""What a file is called for whoever gave its name. On the host of a compose stack files are carried in and out
(`compose/delegate.py`); the command inside knows them by other names, which nobody outside could use."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

VARIABLE = "TRIAGE_SHOWN_NAMES"
"""Set by the host for a command that it runs inside: paths there, and what its caller calls those files."""


def encoded(names: Mapping[str, str]) -> str:
    """Return what VARIABLE is set to: path inside -> name outside."""
    return json.dumps(names)


def shown_in(text: str) -> str:
    """Return a text for people with every such path in it replaced by its owner's name."""
    for inside, outside in _names().items():
        text = text.replace(inside, outside)
    return text


def _names() -> dict[str, str]:
    try:
        names = json.loads(os.environ.get(VARIABLE, "{}"))
    except ValueError:
        return {}
    if not isinstance(names, dict):
        return {}
    return {inside: outside for inside, outside in names.items() if inside and isinstance(outside, str)}
