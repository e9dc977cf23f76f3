"""Where fetched models lie on this machine, and which of them are there.

Not in a stack's home: `triage down --wipe` deletes that, and the bytes serve every stack.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NotFoundError
from harness.llm.known import KnownModel, find, known_models

VARIABLE = "TRIAGE_LLM_CACHE"
CHUNK = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Cached:
    """A model file in the cache."""

    path: Path
    bytes: int
    known: str | None
    """Name of the known model it has the name and the size of; its bytes are compared when it is served."""


def folder() -> Path:
    """Return the cache's folder: TRIAGE_LLM_CACHE, else `agentic-triage/models` in the user's cache."""
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "agentic-triage" / "models"


def cached(place: Path | None = None) -> tuple[Cached, ...]:
    """Return the model files in the cache, by name."""
    place = place or folder()
    by_file = {model.file: model for model in known_models()}
    found = []
    for path in sorted(place.glob("*.gguf")) if place.is_dir() else ():
        size, model = path.stat().st_size, by_file.get(path.name)
        found.append(Cached(path, size, model.name if model and model.bytes == size else None))
    return tuple(found)


def resolve(model: str) -> Path:
    """Return the file that a person means: a path, or the name of a known model that was fetched.

    Raises:
        NotFoundError: there is no such file, or that model was not fetched.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return path.absolute()
    if path.is_dir():
        raise NotFoundError(f"{path} is a folder; name the GGUF file in it")
    if (known := find(model)) is None:
        names = ", ".join(item.name for item in known_models())
        raise NotFoundError(f"there is no file {model}, and no model of that name is known; known are {names}")
    fetched = folder() / known.file
    if not fetched.is_file():
        raise NotFoundError(f"{known.name} is not on this machine; fetch it with: triage llm fetch {known.name}")
    return fetched


def digest(path: Path, progress: Callable[[int], None] = lambda _bytes: None) -> str:
    """Return the SHA-256, hex, of a file's bytes; `progress` is told how many were read.

    Raises:
        OSError: it cannot be read.
    """
    hashing, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hashing.update(chunk)
            done += len(chunk)
            progress(done)
    return hashing.hexdigest()


def is_whole(path: Path, model: KnownModel) -> bool:
    """Tell whether a file is there and has a known model's bytes."""
    return path.is_file() and path.stat().st_size == model.bytes and digest(path) == model.sha256
