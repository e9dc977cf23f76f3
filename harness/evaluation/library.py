"""Reads the set: plans of recordings, windows, situations. A file that is not what it should be is refused by name."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from broker.contracts.base import Frozen, describe
from harness.errors import BadScenarioError, NotFoundError
from harness.evaluation.data import Half, Moment, RunPlan, Situation, SituationFile, Window

FOLDER = Path(__file__).parent
HALVES: tuple[Half, ...] = ("tuning", "measured")
RECORDED_KINDS = frozenset(
    {
        *("service_stopped", "service_killed", "service_hung", "mq_stopped", "db_conn_drift", "db_wrong_password"),
        *("cache_poison", "network_partition", "network_latency", "connections_dropped", "cpu_hog"),
    }
)
"""Kinds of fault that each half holds: all there were when the set was recorded. Scenarios measure the later ones."""
ValueT = TypeVar("ValueT", bound=Frozen)


@dataclass(frozen=True, slots=True)
class Case:
    """A situation with its window."""

    situation: Situation
    window: Window
    half: Half

    @property
    def moment(self) -> Moment:
        """The moment at which it is reported."""
        return self.window.moments[self.situation.moment]

    @property
    def key(self) -> str:
        """SHA-256, hex, of all that the decision and its judgement depend on."""
        return sha256(self.situation.encode() + b"\n" + self.window.encode()).hexdigest()


def plans() -> tuple[RunPlan, ...]:
    """Return the recordings that are to be made.

    Raises:
        BadScenarioError: `runs.json` is damaged.
    """
    path = FOLDER / "runs.json"
    try:
        return TypeAdapter(tuple[RunPlan, ...]).validate_json(_bytes(path))
    except ValidationError as error:
        raise BadScenarioError(f"{path}: {describe(error)}") from error


def window_path(name: str, folder: Path = FOLDER) -> Path:
    """Return where a window's file lies."""
    return folder / "windows" / f"{name}.json.gz"


def write_window(window: Window, folder: Path = FOLDER) -> Path:
    """Write a window: one sample a line, compressed, the same bytes for the same window; return the path."""
    whole = window.model_dump(mode="json", exclude_defaults=True)
    samples = whole.pop("samples")
    head = json.dumps(whole, ensure_ascii=False, indent=1)
    rows = ",\n".join(json.dumps(sample, ensure_ascii=False, separators=(",", ":")) for sample in samples)
    text = f'{head[:-2]},\n "samples": [\n{rows}\n ]\n}}\n'
    path = window_path(window.name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def read_window(name: str, folder: Path = FOLDER) -> Window:
    """Read a window.

    Raises:
        NotFoundError: it was never recorded. BadScenarioError: the file is damaged.
    """
    path = window_path(name, folder)
    try:
        data = gzip.decompress(_bytes(path))
    except (OSError, EOFError) as error:
        raise BadScenarioError(f"{path} is damaged: {error}") from error
    return _read(path, data, Window)


def cases(half: Half, folder: Path = FOLDER) -> tuple[Case, ...]:
    """Return a half of the set, in the file's order.

    Raises:
        NotFoundError, BadScenarioError: a file is missing or damaged, or a situation names what is not there.
    """
    path = folder / "situations" / f"{half}.json"
    file = _read(path, _bytes(path), SituationFile)
    if file.half != half:
        raise BadScenarioError(f"{path} says that it is the half {file.half}")
    windows = _windows(frozenset(item.window for item in file.situations), folder)
    found = []
    for situation in file.situations:
        window = windows[situation.window]
        if situation.moment >= len(window.moments):
            raise BadScenarioError(f"{path}: {situation.name} names moment {situation.moment} of {window.name}")
        found.append(Case(situation, window, half))
    return tuple(found)


@cache
def _windows(names: frozenset[str], folder: Path) -> dict[str, Window]:
    return {name: read_window(name, folder) for name in sorted(names)}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read ({error.strerror}); windows are recorded by: python -m harness.evaluation.record"
        ) from error


def _read(path: Path, data: bytes, model: type[ValueT]) -> ValueT:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise BadScenarioError(f"{path} is damaged: {describe(error)}") from error
