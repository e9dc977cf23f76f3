"""The models' answers, kept: an evaluation that was interrupted goes on where it stopped, and a changed judge asks
nobody again. One JSON object a line, appended as it comes; a half line at the end, left by a kill, is cut off.

An answer is found again by the situation's hash, the model, its settings and the prompt's hash: whatever changes the
question makes it a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.errors import SchemaError
from harness.errors import BadRecordingError
from harness.evaluation.library import Case


class Answers:
    """A file of answers."""

    def __init__(self, path: Path, model: str, settings: dict[str, Any]) -> None:
        """Read what is there.

        Args:
            model: name that the endpoint lists; `settings`: what else an answer depends on (temperature, seed, …).

        Raises:
            BadRecordingError: a line before the last is no answer.
        """
        self.path = path
        self._head = {"model": model, "settings": settings}
        self._known: dict[str, PlanAnswered] = {}
        if path.exists():
            _cut_half_line(path)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                self._take(number, line)

    def __len__(self) -> int:
        return len(self._known)

    def find(self, case: Case, prompt: PlanPrompted) -> PlanAnswered | None:
        """Return the answer that was given to this prompt before, or None."""
        return self._known.get(self._key(case, prompt))

    def keep(self, case: Case, prompt: PlanPrompted, answered: PlanAnswered) -> None:
        """Append an answer; it is on disk on return."""
        key = self._key(case, prompt)
        record = {
            "key": key,
            "situation": case.situation.name,
            **self._head,
            "answered": json.loads(answered.encode()),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[key] = answered

    def _key(self, case: Case, prompt: PlanPrompted) -> str:
        what = json.dumps([case.key, self._head, prompt.prompt_hash, prompt.attempt], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()

    def _take(self, number: int, line: str) -> None:
        try:
            record = json.loads(line)
            answered = PlanAnswered.decode(json.dumps(record["answered"]).encode())
            self._known[str(record["key"])] = answered
        except (ValueError, KeyError, TypeError, SchemaError) as error:
            raise BadRecordingError(
                f"line {number} of {self.path} is no answer of a model: {error}; move the file away to begin anew"
            ) from error


def _cut_half_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
