"""The rulebook's files: those of the package, and the user's own in `<home>/rulebook/*.json`.

An own file adds rules, error classes, words and examples, replaces the remedy of a fault class, and may switch off
rules of the package by name (docs/rulebook.md). What is wrong with it is said by file, place and reason, all of it at
once; then nothing is loaded at all: a rule that somebody relies on is never silently missing (docs/adr/0016).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from broker.contracts.base import Frozen, Token
from planner_svc.core.config import ErrorClass, Example, Remedy, Rule, Rulebook, Step, Words
from planner_svc.errors import RulebookError
from planner_svc.rulebook_checks import faults_of_parts

FILES = ("errors", "rules", "remedies", "words", "examples")
MORE = "_of_servers"
"""`<part>_of_servers.json`, where there is one, goes on where `<part>.json` ends: what servers themselves say."""
MAX_BYTES = 256 * 1024
MAX_FILES = 50
MAX_SHOWN = 15
PACKAGE = "package"
"""Where a rule of ours comes from, as it is shown."""


class RulebookFile(Frozen):
    """One file of a user's own rulebook. Every part may be left out."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: str | None = Field(default=None, alias="$schema")
    """For editors: the address of this schema. Not looked at."""
    errors: tuple[ErrorClass, ...] = ()
    """A name that exists already gets this pattern beside its own."""
    rules: tuple[Rule, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    """What is done about a fault class, instead of what the package does."""
    words: tuple[Words, ...] = ()
    examples: tuple[Example, ...] = ()
    """Shown to the model behind those of the package; each costs about 100 tokens."""
    without: tuple[Token, ...] = ()
    """Names of rules of the package that are switched off."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file."""

    file: str
    place: str
    """Path inside the file, such as `rules[2] (queue-full).weight`; empty for the whole."""
    reason: str

    @property
    def line(self) -> str:
        """Return it as one line."""
        return ": ".join(part for part in (self.file, self.place, self.reason) if part)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The rulebook as it counts, and where each rule comes from."""

    rulebook: Rulebook
    sources: dict[str, str]
    """Rule's name: `package` or file."""


def load(own: Path | None = None, package: Traversable | None = None) -> Loaded:
    """Return the package's rulebook with what the files in the folder `own` add; a missing folder adds nothing.

    Raises:
        RulebookError: a file of the package is damaged, or one of the user's is refused; names file, place, reason.
    """
    base = _package(package)
    return check(own_files(own), base)


def check(files: Sequence[Path], base: Rulebook | None = None) -> Loaded:
    """Return what the package's rulebook becomes with these files.

    Raises:
        RulebookError: names every fault, the first `MAX_SHOWN` in full.
    """
    base = _package(None) if base is None else base
    faults: list[Fault] = []
    read = [(path, part) for path in files if (part := _own(path, faults)) is not None]
    faults += _crossed(base, read)
    if faults:
        raise RulebookError(_sentence(faults, len(files)))
    joined = _joined(base, [part for _, part in read])
    sources = {rule.name: PACKAGE for rule in base.rules}
    sources |= {rule.name: str(path) for path, part in read for rule in part.rules}
    return Loaded(joined, {rule.name: sources[rule.name] for rule in joined.rules})


def own_files(folder: Path | None) -> list[Path]:
    """Return the JSON files of a folder by name; none if there is no such folder.

    Raises:
        RulebookError: the folder cannot be read, or holds more than `MAX_FILES`.
    """
    if folder is None:
        return []
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RulebookError(f"the rulebook's folder {folder} cannot be read: {error.strerror}") from error
    if len(found) > MAX_FILES:
        raise RulebookError(f"{folder} holds {len(found)} files, at most {MAX_FILES} are read; join some of them")
    return found


def _package(place: Traversable | None) -> Rulebook:
    place = place if place is not None else resources.files("planner_svc") / "rulebook"
    faults: list[Fault] = []
    parts = {name: _part(place, name, faults) for name in FILES}
    if not faults:
        try:
            return Rulebook.model_validate_json(json.dumps(parts))
        except ValidationError as error:
            faults += faults_of(str(place), error, parts)
    raise RulebookError(f"the rulebook is damaged; install the package anew: {'; '.join(f.line for f in faults[:3])}")


def _part(place: Traversable, name: str, faults: list[Fault]) -> Any:
    """Return what the file of a part says, and the file that goes on from it."""
    found = _json(str(place / f"{name}.json"), _bytes(place / f"{name}.json"), faults)
    further = place / f"{name}{MORE}.json"
    if not further.is_file() or not isinstance(found, list):
        return found
    more = _json(str(further), _bytes(further), faults)
    return [*found, *more] if isinstance(more, list) else more


def _bytes(file: Traversable) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RulebookError(f"{file} cannot be read: {error.strerror}; install the package anew") from error


def _own(path: Path, faults: list[Fault]) -> RulebookFile | None:
    """Return what a file of the user's says; what is wrong goes to `faults`."""
    name = str(path)
    try:
        if path.exists() and not path.is_file():  # a pipe, for one, would be waited for
            faults.append(Fault(name, "", "is no regular file"))
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        faults.append(Fault(name, "", f"cannot be read: {error.strerror}"))
        return None
    if len(data) > MAX_BYTES:
        faults.append(Fault(name, "", f"is larger than {MAX_BYTES // 1024} KiB; split it"))
        return None
    before = len(faults)
    value = _json(name, data, faults)
    if len(faults) > before:
        return None
    try:
        return RulebookFile.model_validate_json(json.dumps(value))
    except ValidationError as error:
        faults += faults_of(name, error, value)
        return None


def _json(name: str, data: bytes, faults: list[Fault]) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ValueError(f"the key {twice[:40]!r} stands twice in one object")
        return dict(pairs)

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        faults.append(Fault(name, f"line {error.lineno}, column {error.colno}", f"is no JSON: {error.msg}"))
    except UnicodeDecodeError as error:
        faults.append(Fault(name, f"byte {error.start}", "is no UTF-8 text"))
    except (ValueError, RecursionError) as error:
        faults.append(Fault(name, "", f"is no JSON of ours: {error}"))
    return None


def faults_of(file: str, error: ValidationError, value: Any) -> list[Fault]:
    """Return a validation's findings with their places, and the nearest known name of an unknown key."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            reason = f"is no field{_hint(str(item['loc'][-1]), _fields(item['loc']))}"
        found.append(Fault(file, place_of(item["loc"], value), reason))
    return found


def place_of(location: Iterable[int | str], value: Any) -> str:
    """Return a path as `rules[2] (queue-full).weight`."""
    text = ""
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        if isinstance(part, int) and isinstance(value, dict):
            own = value.get("name") or value.get("id") or value.get("fault_class")
            text += f" ({own[:60]})" if isinstance(own, str) else ""
    return text


def _fields(location: Sequence[int | str]) -> list[str]:
    known: dict[str, type[Frozen]] = {
        "errors": ErrorClass, "rules": Rule, "remedies": Remedy, "words": Words, "examples": Example,
    }  # fmt: skip
    names = [part for part in location[:-1] if isinstance(part, str)]
    if names == ["remedies", "steps"]:
        return list(Step.model_fields)
    model = known.get(names[0]) if names else RulebookFile
    return [name if name != "schema_" else "$schema" for name in model.model_fields] if model else []


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _crossed(base: Rulebook, read: Sequence[tuple[Path, RulebookFile]]) -> Iterator[Fault]:
    """Give what is wrong between files: doubled names, names that nobody has."""
    ours = {rule.name for rule in base.rules}
    classes = {item.name for item in base.errors} | {item.name for _, part in read for item in part.errors}
    rules: dict[str, str] = dict.fromkeys(ours, f"a rule of the {PACKAGE}")
    remedies: dict[str, str] = {}
    for path, part in read:
        file = str(path)
        for n, rule in enumerate(part.rules):
            place = f"rules[{n}] ({rule.name})"
            if rule.name in rules:
                yield Fault(file, place, f"there is {rules[rule.name]} of this name already; choose another")
            rules.setdefault(rule.name, f"a rule in {file}")
            for name in rule.errors:
                if name not in classes:
                    yield Fault(file, f"{place}.errors", f"there is no error class {name}{_hint(name, classes)}")
        for n, remedy in enumerate(part.remedies):
            if remedy.fault_class in remedies:
                reason = f"a remedy for it stands in {remedies[remedy.fault_class]} already"
                yield Fault(file, f"remedies[{n}] ({remedy.fault_class})", reason)
            remedies.setdefault(remedy.fault_class, file)
        for n, name in enumerate(part.without):
            if name not in ours:
                yield Fault(file, f"without[{n}]", f"the {PACKAGE} has no rule {name}{_hint(name, ours)}")
        for place, reason in faults_of_parts(part.errors, part.rules, part.remedies, part.words):
            yield Fault(file, place, reason)


def _joined(base: Rulebook, parts: Sequence[RulebookFile]) -> Rulebook:
    off = {name for part in parts for name in part.without}
    replaced = {remedy.fault_class for part in parts for remedy in part.remedies}
    return Rulebook(
        errors=(*base.errors, *(item for part in parts for item in part.errors)),
        rules=(
            *(rule for rule in base.rules if rule.name not in off),
            *(rule for part in parts for rule in part.rules),
        ),
        remedies=(
            *(remedy for remedy in base.remedies if remedy.fault_class not in replaced),
            *(remedy for part in parts for remedy in part.remedies),
        ),
        words=(*base.words, *(item for part in parts for item in part.words)),
        examples=(*base.examples, *(item for part in parts for item in part.examples)),
    )


def _sentence(faults: Sequence[Fault], files: int) -> str:
    """Return all faults on one screen."""
    count = f"{len(faults)} faults" if len(faults) > 1 else "one fault"
    head = f"the rulebook is refused, {count} in {files} file{'s' if files != 1 else ''}; mend or move away:"
    more = [f"  and {len(faults) - MAX_SHOWN} more"] if len(faults) > MAX_SHOWN else []
    return "\n".join([head, *(f"  {_short(fault.line)}" for fault in faults[:MAX_SHOWN]), *more])


def _short(line: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in line)
    return printable if len(printable) <= 300 else printable[:297] + "..."
