"""What may go to a terminal: text, and nothing that drives it.

Texts of the journal come from people, models, and the logs of broken software. Contracts refuse control characters in
most of them, but a journal outlives its contracts, and a refused message is shown too. So what would move the cursor,
set the title, colour or turn round what stands beside it is written out once more on its way to the screen: `\\x1b`.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from pydantic import BaseModel

ValueT = TypeVar("ValueT")

_C0 = "\x00-\x08\x0b-\x1f"
"""All but tab and newline. A carriage return too would overwrite what stands before it."""
_DEL_AND_C1 = "\x7f-\x9f"
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""The characters of Unicode's property Bidi_Control."""
_SEPARATORS = "\u2028\u2029"
_SURROGATES = "\ud800-\udfff"
"""Bytes of a command line that were no text; no output takes them."""
DRIVING: Final = re.compile(f"[{_C0}{_DEL_AND_C1}{_BIDI}{_SEPARATORS}{_SURROGATES}]")


def visible(text: str) -> str:
    """Return a text with every character that drives a terminal written as an escape; tab and newline stay."""
    return DRIVING.sub(lambda found: _escape(found[0]), text)


def one_line(text: str) -> str:
    """Return a text as one line: as `visible`, and newlines are written `\\n`: no text can pose as a line."""
    return visible(text).replace("\n", "\\n")


def visible_throughout(value: ValueT) -> ValueT:
    """Return a value, such as a message of the journal, with every text in it made `visible`. Nothing is validated."""
    found: object = value
    if isinstance(value, str):
        found = visible(value)
    elif isinstance(value, BaseModel):
        fields = {name: visible_throughout(getattr(value, name)) for name in type(value).model_fields}
        found = value.model_copy(update=fields)
    elif isinstance(value, tuple):
        found = tuple(visible_throughout(item) for item in value)
    elif isinstance(value, dict):
        found = {visible_throughout(key): visible_throughout(item) for key, item in value.items()}
    return found  # type: ignore[return-value]  # each branch keeps the type


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
