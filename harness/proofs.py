"""Proofs of oracles that are kept, so that `triage scenario validate --all` goes on where it stopped.

A file a proof, under what it is about: the oracle (faults, allowed actions), the seed, the platform and the sources.
Only what holds is kept: what did not come out right is tried again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.scenario import Draw
from harness.suite.plan import remaining
from harness.suite.store import write_whole
from harness.validate import Proof, oracle_of

Prove = Callable[[Draw, tuple[str, ...]], Awaitable[Proof]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A proof on disk."""

    about: str
    """What it is about, as `Proofs` writes it."""
    seconds: float
    """What it took."""
    proof: Proof


@dataclass(frozen=True, slots=True)
class Step:
    """How far a validation is."""

    done: int
    total: int
    proof: Proof
    kept: bool
    """It was there already, and nothing was broken for it."""
    left_s: float | None
    """How long the rest may take, seconds; None while nothing was measured."""


_KEPT = TypeAdapter(Kept)


class Proofs:
    """The proofs under one folder; without a folder none is ever found or kept."""

    def __init__(self, folder: Path | None, *, platform: str, commit: str) -> None:
        """Make the folder if need be.

        Raises:
            OSError: it cannot be made.
        """
        self._folder = folder
        self._of = {"platform": platform, "commit": commit}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def find(self, drawn: Draw) -> Kept | None:
        """Return the proof of this draw's oracle if it is there and holds; a file that says something else is none."""
        if self._folder is None:
            return None
        about = self._about(drawn)
        try:
            found = _KEPT.validate_json(self._path(drawn, about).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return found if found.about == about and found.proof.ok else None

    def keep(self, drawn: Draw, proof: Proof, seconds: float) -> None:
        """Write a proof if it holds; it is on disk on return."""
        if self._folder is not None and proof.ok:
            about = self._about(drawn)
            text = _KEPT.dump_json(Kept(about, seconds, proof), indent=1).decode()
            write_whole(self._path(drawn, about), text + "\n")

    def _about(self, drawn: Draw) -> str:
        actions, faults = oracle_of(drawn)
        facts = {**self._of, "seed": drawn.seed, "max_actions": actions, "faults": faults}
        return json.dumps(facts, sort_keys=True)

    def _path(self, drawn: Draw, about: str) -> Path:
        assert self._folder is not None  # noqa: S101 - both callers have looked
        return self._folder / f"{drawn.scenario.name}--{hashlib.sha256(about.encode()).hexdigest()[:12]}.json"


async def all_of(
    oracles: Sequence[tuple[Draw, tuple[str, ...]]],
    proofs: Proofs,
    prove: Prove,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Step]:
    """Prove every oracle that is not proved yet, and keep each proof the moment it is made.

    Args:
        oracles: a draw for each, with the names of the other scenarios that have it.
        prove: tries one out; whatever it raises ends this, and what was kept stays.
        clock: monotonic seconds.
    """
    known = [(proofs.find(drawn), drawn, also) for drawn, also in oracles]
    kept = [(found, also) for found, _, also in known if found is not None]
    missing = [(drawn, also) for found, drawn, also in known if found is None]
    walls = [found.seconds for found, _ in kept]
    for done, (found, also) in enumerate(kept, 1):
        yield Step(done, len(oracles), replace(found.proof, also=also), True, remaining(walls, len(missing)))
    for left, (drawn, also) in zip(reversed(range(len(missing))), missing, strict=True):
        began = clock()
        proof = await prove(drawn, also)
        walls.append(clock() - began)
        proofs.keep(drawn, proof, walls[-1])
        yield Step(len(oracles) - left, len(oracles), proof, False, remaining(walls, left))
