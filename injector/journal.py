"""Open faults on disk, written before the world is touched, so that healing survives the injector's own crash."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from injector.errors import DamagedNoteError, NotOpenError
from injector.fault import Spec

DRAFT = ".tmp"


@dataclass(frozen=True, slots=True)
class OpenFault:
    """One fault that is, or may be, in the world."""

    id: str
    spec: Spec
    state: Literal["injecting", "open"]
    """`injecting`: begun and perhaps half made; healing mends that too."""
    at: str
    """When it was begun, ISO 8601."""


class FaultJournal:
    """A folder with one file per open fault."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, spec: Spec, at: str) -> OpenFault:
        """Write down that a fault is about to be injected; durable on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            target = spec.target.replace("--", "-")
            fault = OpenFault(f"{spec.fault}-{target}-{number}", spec, "injecting", at)
            try:
                self._write(fault, exclusive=True)
            except FileExistsError:
                number += 1
                continue
            return fault

    def opened(self, fault: OpenFault) -> OpenFault:
        """Note that the injection was completed."""
        done = OpenFault(fault.id, fault.spec, "open", fault.at)
        self._write(done, exclusive=False)
        return done

    def close(self, fault: OpenFault) -> None:
        """Forget a healed fault, and what an injector that was killed left of its note half written."""
        self._path(fault.id).unlink(missing_ok=True)
        for draft in self._folder.glob(f"{fault.id}{DRAFT}*"):
            draft.unlink(missing_ok=True)

    def get(self, fault_id: str) -> OpenFault:
        """Return an open fault.

        Raises:
            NotOpenError: no open fault has this id; the text names those that are open.
        """
        for fault in self:
            if fault.id == fault_id:
                return fault
        names = ", ".join(fault.id for fault in self) or "none"
        raise NotOpenError(f"no open fault is called {fault_id[:80]!r}; open: {names}")

    def __iter__(self) -> Iterator[OpenFault]:
        """Yield every open fault.

        Raises:
            DamagedNoteError: after all others, where there is a file that this program cannot have written.
        """
        damaged: list[str] = []
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            try:
                fault = _read(path)
            except FileNotFoundError:
                continue  # healed by somebody else since the folder was listed
            except (ValueError, TypeError, KeyError) as error:
                damaged.append(f"{path} ({type(error).__name__}: {error})")
                continue
            yield fault
        if damaged:
            raise DamagedNoteError(
                f"the note of an open fault cannot be read: {'; '.join(damaged)}; see by its name what it broke, "
                "put that right (triage status), and remove the file"
            )

    def _path(self, fault_id: str) -> Path:
        return self._folder / f"{fault_id}.json"

    def _write(self, fault: OpenFault, *, exclusive: bool) -> None:
        path = self._path(fault.id)
        text = json.dumps(asdict(fault) | {"spec": asdict(fault.spec)}, indent=1)
        temporary = path.with_suffix(f"{DRAFT}{os.getpid()}")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            if exclusive:
                os.link(temporary, path)
            else:
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> OpenFault:
    row = json.loads(path.read_text())
    return OpenFault(row["id"], Spec(**row["spec"]), row["state"], row["at"])
