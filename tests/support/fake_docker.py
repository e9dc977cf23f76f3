"""A docker program that says what a test wants it to say, and writes down how it was called."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

PROGRAM = """#!{python} -IS
import json, os, sys, time
folder = {folder!r}
given = sys.argv[1:]
with open(folder + "/calls.jsonl", "a") as calls:
    calls.write(json.dumps(given) + "\\n")
for answer in json.load(open(folder + "/answers.json")):
    words = answer["call"]
    if all(word in given for word in words):
        if answer["reads"]:
            open(folder + "/stdin", "wb").write(sys.stdin.buffer.read())
        sys.stdout.write(answer["out"])
        sys.stderr.write(answer["err"])
        if answer["hangs"]:
            time.sleep(60)
        sys.exit(answer["code"])
sys.stderr.write("fake docker: no answer to " + " ".join(given))
sys.exit(99)
"""

ENGINE_DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
NO_RIGHT = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: '
    "connect: permission denied\n"
)


class FakeDocker:
    """The only docker on PATH. The first answer whose words all stand in a call is given; later ones go first."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._answers: list[dict[str, object]] = []
        folder.mkdir(parents=True)
        program = folder / "docker"
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))

    def says(
        self, *call: str, out: str = "", err: str = "", code: int = 0, reads: bool = False, hangs: bool = False
    ) -> None:
        """Answer calls that hold all these words; `reads` keeps what comes on standard input, `hangs` does not end."""
        self._answers.insert(0, {"call": call, "out": out, "err": err, "code": code, "reads": reads, "hangs": hangs})
        (self._folder / "answers.json").write_text(json.dumps(self._answers))

    def healthy(self, engine: str = "26.1.5+dfsg1", compose: str = "2.26.1-4") -> None:
        """Be a good engine with a good compose and nothing running."""
        self.says("version", "--format", out=f"{engine}\n")
        self.says("compose", "version", "--short", out=f"{compose}\n")
        self.is_called("agentic-triage")
        self.says("ps", "--all", out="")

    def is_called(self, project: str) -> None:
        """Have compose take the project by this name."""
        self.says("compose", "config", "json", out=json.dumps({"name": project, "services": {}}))

    def runs(self, folder: Path, *services: str, status: str = "Up 5 seconds (healthy)") -> None:
        """Have containers of these services, one each, of a project in a folder."""
        rows = (f"{folder}\t{name}\tFalse\tagentic-triage-{name}-1\trunning\t{status}\n" for name in services)
        self.says("ps", "--all", out="".join(rows))

    @property
    def calls(self) -> list[list[str]]:
        """Every call, in order."""
        path = self._folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def called(self, *words: str) -> list[list[str]]:
        """Return the calls that hold all these words."""
        return [call for call in self.calls if all(word in call for word in words)]

    @property
    def stdin(self) -> bytes:
        """What the last call with `reads` got."""
        return (self._folder / "stdin").read_bytes()
