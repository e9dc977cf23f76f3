"""What every value is made of: copies that take the short way, and text without control characters."""

from __future__ import annotations

import unicodedata
from functools import cached_property

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from broker.contracts.base import CleanText, Frozen, added


class Inner(Frozen):
    number: int = 0


class Value(Frozen):
    name: str
    inner: Inner = Inner()
    items: dict[str, Inner] = Field(default_factory=dict)
    later: str = added("")


@pytest.mark.parametrize("update", [None, {}, {"name": "b"}, {"inner": Inner(number=2), "later": "x"}])
def test_a_copy_is_the_copy_that_pydantic_would_make(update: dict[str, object] | None) -> None:
    value = Value(name="a", items={"one": Inner(number=1)})
    ours, theirs = value.model_copy(update=update), BaseModel.model_copy(value, update=update)
    assert ours == theirs
    assert ours.encode() == theirs.encode()
    assert ours.model_fields_set == theirs.model_fields_set
    assert list(ours.__dict__) == list(theirs.__dict__)
    assert Value.decode(ours.encode()) == ours


class Derived(Frozen):
    number: int

    @cached_property
    def doubled(self) -> int:
        return 2 * self.number


def test_a_copy_derives_anew_what_was_derived_from_the_fields_it_replaces() -> None:
    value = Derived(number=2)
    assert value.doubled == 4
    copied = value.model_copy(update={"number": 5})
    assert copied.doubled == 10
    assert value.doubled == 4


def test_what_was_derived_stands_in_no_bytes_and_makes_no_difference() -> None:
    value = Derived(number=2)
    before = value.encode()
    assert value.doubled == 4
    assert value.encode() == before
    assert value == Derived(number=2) == Derived.decode(before)


def test_a_copy_leaves_the_original_as_it_was_and_is_as_frozen() -> None:
    value = Value(name="a")
    copied = value.model_copy(update={"name": "b"})
    assert (value.name, copied.name) == ("a", "b")
    assert value.model_fields_set == {"name"}
    field = "name"
    with pytest.raises(ValidationError):
        setattr(copied, field, "c")


def test_a_deep_copy_shares_nothing() -> None:
    value = Value(name="a", items={"one": Inner(number=1)})
    deep = value.model_copy(deep=True)
    assert deep == value
    assert deep.items is not value.items


def test_exactly_the_control_characters_but_newline_and_tab_are_refused() -> None:
    text = TypeAdapter(CleanText)
    fine = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    bad = {character for character in fine if unicodedata.category(character) == "Cc"} - {"\n", "\t"}
    assert text.validate_python("".join(character for character in fine if character not in bad))
    for character in sorted(bad):
        with pytest.raises(ValidationError, match=f"U\\+{ord(character):04X}"):
            text.validate_python(f"before{character}after")
