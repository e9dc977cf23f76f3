"""The CLI as a user meets it, in this process: arguments in; exit code, output and errors out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cli.app import app, guarded


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one command."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """Fail unless the command was refused with this exit code and one clear sentence that holds these words."""
        assert self.code == code, self
        assert "Traceback" not in self.out + self.err
        assert self.err.count("triage: ") == 1, self.err
        assert len(self.err) < 700, self.err
        for word in words:
            assert word in self.err, self.err


Cli = Callable[..., Ran]


def cli_of(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return `cli(*arguments, stdin=b"")` for the stack under a home."""

    def call(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setenv("TRIAGE_HOME", str(home))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = guarded(app, arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call
