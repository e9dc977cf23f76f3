"""Where runbooks lie: ours beside the packages, the users' in a folder of theirs. A bad file never hides a good one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.runbook.errors import FrontMatterError
from agents.runbook.frontmatter import MAX_FILE, Runbook, clean, parse

BUILT_IN: Final = Path(__file__).resolve().parents[2] / "runbooks"
"""Ours: `runbooks/*.md` of the repository, installed beside the packages."""
MAX_FILES: Final = 500
"""Most files that are read of one folder; what comes after, by name, is refused."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is no runbook, and why, in a sentence without its subject."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Library:
    """All runbooks by id, and what was refused."""

    runbooks: tuple[Runbook, ...]
    refused: tuple[Refused, ...] = ()

    def get(self, name: str) -> Runbook | None:
        """Return the runbook of that id, or None."""
        return next((item for item in self.runbooks if item.head.id == name), None)


def load(users: Path | None = None, built_in: Path = BUILT_IN) -> Library:
    """Read every runbook. A user's with the id of one of ours takes its place.

    Args:
        users: the users' folder; a missing one holds nothing.
    """
    ours, refused = _read(built_in, "built-in")
    theirs, bad = _read(users, None) if users is not None else ({}, ())
    both = {**ours, **theirs}
    return Library(tuple(both[name] for name in sorted(both)), (*refused, *bad))


def _read(folder: Path, origin: str | None) -> tuple[dict[str, Runbook], tuple[Refused, ...]]:
    found: dict[str, Runbook] = {}
    refused: list[Refused] = []
    try:
        paths = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    except OSError as error:
        return {}, (Refused(folder.name, f"cannot be read: {error.strerror}"),)
    for path in paths[:MAX_FILES]:
        name = shown(path.name)
        try:
            runbook = parse(_bytes(path, folder), origin or name)
            if (other := found.get(runbook.head.id)) is not None:
                raise FrontMatterError(f"has the id {runbook.head.id}, which {other.origin} has already")
            found[runbook.head.id] = runbook
        except FrontMatterError as error:
            refused.append(Refused(name, str(error)))
    if len(paths) > MAX_FILES:
        reason = f"and {len(paths) - MAX_FILES - 1} files after it are more than the {MAX_FILES} that are read"
        refused.append(Refused(shown(paths[MAX_FILES].name), reason))
    return found, tuple(refused)


def _bytes(path: Path, folder: Path) -> bytes:
    """Return a file's bytes, no more than tell that it is too long. A link may not lead out of the folder.

    Raises:
        FrontMatterError: it is no file of this folder, or cannot be read.
    """
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise FrontMatterError("is a link that leads out of its folder")
        if not path.is_file():
            raise FrontMatterError("is no regular file")
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise FrontMatterError(f"cannot be read: {error.strerror or 'unknown reason'}") from error
    except RuntimeError as error:  # pathlib's own word for links in a circle
        raise FrontMatterError("is a link that leads in a circle") from error


def shown(name: str) -> str:
    """Return a file's name as it may be logged and shown."""
    fit = clean(name.encode("utf-8", "replace").decode()).replace("\n", " ")
    return fit if len(fit) <= 80 else f"{fit[:79]}…"
