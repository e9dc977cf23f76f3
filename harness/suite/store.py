"""The results folder: a file per run, written whole or not at all, so that an interrupted suite goes on."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from broker.errors import SchemaError
from harness.errors import BadRecordingError
from harness.suite.result import Key, RunResult

RUNS = "runs"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
SUMMARY = "summary.md"
SCORES = "scores.json"
"""SR, MRL and TGED alone."""


def name_of(key: Key) -> str:
    """Return the name of a run's file: readable, and unique by a digest of the whole key."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:10]
    planner = re.sub(r"[^a-z0-9]+", "-", key.planner.lower()).strip("-")[:30] or "planner"
    commit = re.sub(r"[^a-z0-9]+", "-", key.commit.lower()).strip("-")[:24] or "unknown"
    return f"{key.scenario}--{key.seed}--{planner}--{commit}--{digest}.json"


class Results:
    """The runs under one folder."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be, and see that it can be written: for before the runs.

        Raises:
            OSError: it cannot be.
        """
        self.folder = folder
        (folder / RUNS).mkdir(parents=True, exist_ok=True)
        probe = folder / f".{SUMMARY}.part"
        probe.touch()
        probe.unlink()

    def find(self, key: Key) -> RunResult | None:
        """Return the run of this key, or None if it is not there yet.

        Raises:
            BadRecordingError: its file is no result, or one of another run.
        """
        path = self.folder / RUNS / name_of(key)
        try:
            found = RunResult.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except SchemaError as error:
            raise BadRecordingError(
                f"{path} is no result of this version: {error}; move it away, and the run is made again"
            ) from error
        if found.key != key:
            raise BadRecordingError(f"{path} holds the result of another run; move it away, and the run is made again")
        return found

    def keep(self, result: RunResult) -> Path:
        """Write a run; it is on disk on return."""
        path = self.folder / RUNS / name_of(result.key)
        write_whole(path, result.model_dump_json(indent=1) + "\n")
        return path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either there as a whole or as it was before."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
