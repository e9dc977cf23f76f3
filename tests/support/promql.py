"""What a PromQL expression asks for, without an engine: enough of its grammar to find names of metrics and labels."""

from __future__ import annotations

import re

KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"}
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUP = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SELECTED = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"\[[^\[\]]*\]")
_NAME = re.compile(r"(?<![\w:$.])([a-zA-Z_:][\w:]*)\s*(\(?)")


def metrics_of(expr: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    bare = _RANGE.sub("", _SELECTED.sub("", _TEXT.sub('""', _GROUP.sub(" ", expr))))
    return {name for name, call in _NAME.findall(bare) if not call and name not in KEYWORDS}


def labels_of(expr: str) -> set[str]:
    """Return the names of the labels that an expression selects or groups by."""
    selected = {part.strip() for group in _SELECTED.findall(_TEXT.sub("", expr)) for part in re.split(r",", group)}
    matched = {re.split(r"\s*(?:=~|!~|!=|=)", part)[0].strip() for part in selected if part}
    grouped = {name.strip() for _, names in _GROUP.findall(expr) for name in names.split(",")}
    return {name for name in matched | grouped if name}
