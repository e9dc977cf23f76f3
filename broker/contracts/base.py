"""The base of every contract: a frozen value with one canonical byte form.

A contract is a public fact of the system. It has no I/O, imports nothing of ours but its siblings, and says itself on
which subject it may stand (`subject()`), so that a valid message moved to another subject is refused by the gate.

Canonical bytes are the compact JSON that `encode()` returns: fields in the order of declaration, UTF-8, no NaN or
infinity. Machines are compared by these bytes (docs/adr/0002), so they never depend on the host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from broker.errors import SchemaError

Token = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""A name that may stand as one token of a subject: incident, task, instance and device names."""

Scalar = str | int | float | bool
"""What an argument of a task may be."""

MAX_OUT = 2_000
"""Longest free text, in characters, that a result or a note may carry."""


_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]")
"""Unicode's category Cc without newline and tab. Long texts pass here at every reading of a journal."""


def _no_control_characters(text: str) -> str:
    bad = _CONTROL.search(text)
    if bad is not None:
        raise ValueError(f"contains the control character U+{ord(bad[0]):04X}")
    return text


CleanText = Annotated[str, AfterValidator(_no_control_characters)]
"""Text that people or software wrote: no control characters but newline and tab."""


_new = object.__new__
_set = object.__setattr__
"""How pydantic's own copy makes a value, past the refusal to change a frozen one."""


class Frozen(BaseModel):
    """An immutable value: unknown fields refused, no NaN, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    _every_field: ClassVar[set[str]] = set()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._every_field = set(cls.__pydantic_fields__)

    def encode(self) -> bytes:
        """Return the canonical JSON bytes of this value."""
        return self.model_dump_json().encode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields replaced, unchecked, as pydantic's own does it.

        Machines make every state this way, several for each message of the journal, so it takes the short way: a value
        of ours has neither extra fields nor private ones that would have to be copied. What was derived from the fields
        (`cached_property`) is derived anew.
        """
        if deep or self.__pydantic_private__ is not None:
            return super().model_copy(update=update, deep=deep)
        cls, values, given = self.__class__, self.__dict__.copy(), self.__pydantic_fields_set__
        copied = _new(cls)
        if len(values) > len(cls.__pydantic_fields__):
            values = {name: values[name] for name in cls.__pydantic_fields__}
        if update:
            values.update(update)
            # Nobody changes the set of a frozen value, so that a copy may share it.
            given = given if given.issuperset(update) else given.union(update)
        _set(copied, "__dict__", values)
        _set(copied, "__pydantic_fields_set__", given)
        _set(copied, "__pydantic_extra__", None)
        _set(copied, "__pydantic_private__", None)
        return copied

    @classmethod
    def made(cls, **values: Any) -> Self:
        """Return a value of all its fields, unchecked: for what machines put together, once or more for each message of
        the journal, out of values that were checked when they were decoded.

        Args:
            values: every field, in the order of declaration.
        """
        value = _new(cls)
        _set(value, "__dict__", values)
        _set(value, "__pydantic_fields_set__", cls._every_field)
        _set(value, "__pydantic_extra__", None)
        _set(value, "__pydantic_private__", None)
        return value

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a value from JSON bytes.

        Raises:
            SchemaError: the bytes are not a value of this type; the text names the first wrong field.
        """
        try:
            return cast(Self, cls.__pydantic_validator__.validate_json(data))
        except ValidationError as error:
            raise SchemaError(cls.__name__, describe(error)) from error


class Contract(Frozen):
    """A message. `TYPE` is its name in the envelope; `subject()` the only subject it may stand on."""

    TYPE: ClassVar[str] = ""

    def subject(self) -> str:
        """Return the subject this message is published on."""
        raise NotImplementedError(f"{type(self).__name__} names no subject")


def describe(error: ValidationError) -> str:
    """Return one line for the first few faults of a validation error: `field: what is wrong`."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(str(part) for part in fault['loc']) or 'value'}: {fault['msg']}" for fault in faults[:3]]
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return "; ".join(lines) + more


def added(default: Any) -> Any:
    """Return the declaration of a field that came to a contract later.

    At its default it stands in no canonical bytes, so that what was decided before the field existed is decided again
    byte for byte (docs/adr/0012).
    """
    return Field(default=default, exclude_if=lambda value: bool(value == default))


UnitInterval = Annotated[float, Field(ge=0.0, le=1.0)]
"""A ratio, 0..1."""
