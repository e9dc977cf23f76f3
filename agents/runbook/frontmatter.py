"""A runbook file: a head between two lines `---`, then Markdown. Pure; whatever a file holds, nothing is executed.

The head is a small, closed part of YAML, read by a parser of our own, so that nothing in it can refer, repeat, nest or
construct: `name: text`, `name: [text, text]`, or `name:` followed by lines `  - text`. Text stands as it is, without
quotes. Anything else is refused with the line's number.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, ValidationError, model_validator

from agents.runbook.errors import FrontMatterError
from broker.contracts.base import Frozen, Token, describe
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import DeviceKind
from broker.contracts.plan import FaultClass
from broker.contracts.task import Risk

MAX_FILE: Final = 64 * 1024
"""Longest file, bytes."""
MAX_HEAD_LINES: Final = 80
MAX_LINE: Final = 300
MAX_ITEMS: Final = 24
FENCE: Final = "---"
_RISKS: Final[tuple[Risk, ...]] = ("read", "safe", "risky")
_FIELD = re.compile(r"(?P<name>[a-z_]{1,30}):(?: +(?P<value>.*))?")
_ITEM = re.compile(r" {2,4}- +(?P<value>.+)")
_SPECIAL = re.compile(r"[\"'&*!|>%@`{}]")
"""What begins a quoted text, an anchor, a tag, a block or a mapping in YAML; in Markdown's own text it may stand."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LINE)]


class Head(Frozen):
    """The schema of a runbook's head. Unknown fields are refused."""

    id: Token
    """Unique; a user's runbook with the id of one of ours takes its place."""
    title: Annotated[str, StringConstraints(min_length=3, max_length=100)]
    fault_class: FaultClass
    applies_to: Annotated[tuple[DeviceKind, ...], Field(min_length=1, max_length=5)]
    symptoms: Annotated[tuple[Line, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    """What people and telemetry say, in any language: what a report is compared with."""
    errors: Annotated[tuple[Line, ...], Field(max_length=MAX_ITEMS)] = ()
    """Names that software gives the failure: exception classes, errno names, SQLSTATE."""
    actions: Annotated[tuple[Token, ...], Field(min_length=1, max_length=12)]
    """Task types of the catalogue that it speaks of."""
    risk: Risk
    """The highest risk of its actions; the catalogue has the last word."""
    version: Annotated[int, Field(ge=1, le=10_000)]

    @model_validator(mode="after")
    def _fits_the_catalogue(self) -> Head:
        if self.fault_class == "none":
            raise ValueError("fault_class none is no fault; there is nothing to repair")
        unknown = [name for name in self.actions if name not in CATALOGUE]
        if unknown:
            raise ValueError(f"actions name {unknown[0]}, which is not in the catalogue")
        idle = [name for name in self.actions if not CATALOGUE[name].targets & set(self.applies_to)]
        if idle:
            raise ValueError(f"actions name {idle[0]}, which applies to none of {', '.join(self.applies_to)}")
        highest = max((CATALOGUE[name].risk for name in self.actions), key=_RISKS.index)
        if highest != self.risk:
            raise ValueError(f"risk is {self.risk}, but the riskiest of its actions is {highest}")
        return self


class Runbook(Frozen):
    """One runbook: a valid head and its text."""

    head: Head
    body: str
    sha256: str
    """Of the file's bytes, hex."""
    origin: str
    """Where it is from: `built-in` or the file's name."""


def parse(data: bytes, origin: str) -> Runbook:
    """Read a runbook file.

    Raises:
        FrontMatterError: too long, no UTF-8 text, no head, or a head outside the schema; one sentence with the reason.
    """
    if len(data) > MAX_FILE:
        raise FrontMatterError(f"is longer than {MAX_FILE // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FrontMatterError(f"is no UTF-8 text (byte {error.start})") from error
    head, body = _split(text.replace("\r\n", "\n"))
    return Runbook(head=_head(head), body=clean(body), sha256=sha256(data).hexdigest(), origin=origin)


def _split(text: str) -> tuple[list[str], str]:
    lines = text.split("\n", MAX_HEAD_LINES + 1)
    if lines[0].rstrip() != FENCE:
        raise FrontMatterError(f"does not begin with a line {FENCE}")
    for number, line in enumerate(lines[1 : MAX_HEAD_LINES + 1], 1):
        if line.rstrip() == FENCE:
            body = "\n".join(lines[number + 1 :])
            if not body.strip():
                raise FrontMatterError("has a head and no text")
            return lines[1:number], body
    raise FrontMatterError(f"its head does not end with a line {FENCE} within {MAX_HEAD_LINES} lines")


def _head(lines: list[str]) -> Head:
    fields = _fields(lines)
    version = fields.get("version")
    if isinstance(version, str) and re.fullmatch("[0-9]{1,5}", version):
        fields["version"] = int(version)
    try:
        return Head.model_validate(fields)
    except ValidationError as error:
        raise FrontMatterError(describe(error).removeprefix("value: ").replace("Value error, ", "")) from error


def _fields(lines: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    items: list[str] | None = None
    for number, line in enumerate(lines, 2):
        if not line.strip() or line.startswith("#"):
            continue
        _must_be_plain(line, number)
        if (item := _ITEM.fullmatch(line)) and items is not None:
            items.append(_text(item["value"], number))
            if len(items) > MAX_ITEMS:
                raise FrontMatterError(f"line {number}: a list has more than {MAX_ITEMS} items")
            continue
        name, items = _field(fields, line, number)
        if items is not None:
            fields[name] = items
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _field(fields: dict[str, Any], line: str, number: int) -> tuple[str, list[str] | None]:
    """Take one line `name: ...`; return the name, and the list that following lines add to."""
    found = _FIELD.fullmatch(line.rstrip())
    if found is None:
        raise FrontMatterError(f"line {number} is neither `name: text` nor `  - text`")
    name, value = found["name"], (found["value"] or "").strip()
    if name in fields:
        raise FrontMatterError(f"line {number}: {name} stands twice")
    if not value:
        return name, []
    if value.startswith("["):
        if not value.endswith("]") or "[" in value[1:]:
            raise FrontMatterError(f"line {number}: {name} is no list on one line")
        fields[name] = [_text(item, number) for item in value[1:-1].split(",") if item.strip()]
    else:
        fields[name] = _text(value, number)
    return name, None


def _must_be_plain(line: str, number: int) -> None:
    if len(line) > MAX_LINE:
        raise FrontMatterError(f"line {number} is longer than {MAX_LINE} characters")
    bad = next((c for c in line if unicodedata.category(c) in ("Cc", "Cf")), None)
    if bad is not None:
        raise FrontMatterError(f"line {number} contains the control character U+{ord(bad):04X}")


def _text(value: str, number: int) -> str:
    value = value.strip()
    if _SPECIAL.match(value):
        raise FrontMatterError(f"line {number}: write plain text; it may not begin with {value[0]}")
    return value


def clean(text: str) -> str:
    """Return text without control and formatting characters but newlines: a tab becomes a blank, the rest goes."""
    text = text.replace("\t", " ").replace("\r", "\n")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
