"""Which commands a host hands on to the harness inside the stack, and what becomes of the files they name. Pure.

Inside is another file system: a file that a command reads is sent there first, one that it writes is fetched after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

INSIDE_HOME = PurePosixPath("/var/lib/triage/home")
"""TRIAGE_HOME of the container with the operator's keys."""
EXCHANGE = INSIDE_HOME / "recordings"
WITH_VALUE = frozenset({"--home", "--platform"})
"""Options of `triage` itself that take a value."""
HERE = frozenset({"up", "down", "doctor", "demo", "replay", "scenarios", "rulebook", "dashboard"})
"""Commands that the host carries out: they change the stack, or need none."""
LIVE = "live"
"""What `triage diff` is given for the running stack's journal."""
READS = {"run": "scenario", "scenario": "scenario", "diff": "recording"}
"""Commands whose words may be files of the host, and what those are."""
LLM_INSIDE = frozenset({"show", "replay"})
"""Of `triage llm` those that ask the stack; the others are about models of this machine."""


@dataclass(frozen=True, slots=True)
class Call:
    """One command to be run inside."""

    arguments: tuple[str, ...]
    sent: tuple[tuple[Path, PurePosixPath], ...] = ()
    fetched: tuple[tuple[PurePosixPath, Path], ...] = ()
    rotates: bool = False
    """New key files must be written before it."""
    forced: bool = False
    """A rotation that drops the oldest version whatever its age."""

    @property
    def names(self) -> dict[str, str]:
        """What each exchanged file is called inside, and here."""
        sent = {str(inside): str(path) for path, inside in self.sent}
        return sent | {str(inside): str(path) for inside, path in self.fetched}


def leading(arguments: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split a command line into the options of `triage` itself and the command with all that follows."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name, given, value = rest.pop(0).partition("=")
        if name in WITH_VALUE:
            options[name] = value if given or not rest else rest.pop(0)
        else:
            options[name] = value
    return options, tuple(rest)


def is_delegated(command: Sequence[str]) -> bool:
    """Tell whether a command (without `triage` and its own options) is one for the harness inside."""
    if not command or command[0] in HERE or {"-h", "--help"} & set(command):
        return False
    if command[0] == "faults":
        return "--open" in command
    if command[0] == "suite":
        return "compare" not in command[1:2]
    if command[0] == "diff":  # of recordings alone it needs no stack
        return any(word.partition(":")[0] == LIVE for word in command[1:])
    if command[0] == "scenario":
        return "validate" in command
    if command[0] == "llm":
        return len(command) > 1 and command[1] in LLM_INSIDE
    return True


def translate(command: Sequence[str], unique: str, is_file: Callable[[Path], bool] = Path.is_file) -> Call:
    """Return how a command is run inside.

    Args:
        unique: goes into the names of exchanged files, so that two commands at once do not meet.
    """
    if tuple(command[:2]) == ("keys", "rotate"):
        if "--announce" in command:
            return Call(tuple(command))
        announced = (*(word for word in command if word != "--force"), "--announce")
        return Call(announced, rotates=True, forced="--force" in command)
    if command[0] == "suite":
        return _suite(command)
    sent: list[tuple[Path, PurePosixPath]] = []
    fetched: list[tuple[PurePosixPath, Path]] = []
    words = list(command)
    for position, name, value in _files(words, is_file):
        inside = EXCHANGE / f"{unique}-{Path(value).name}"
        if name in ("--record", "audit export"):
            fetched.append((inside, Path(value)))
        else:
            sent.append((Path(value), inside))
        words[position] = f"{name}={inside}" if words[position].startswith("--") else str(inside)
    return Call(tuple(words), tuple(sent), tuple(fetched))


SUITE_FILES = ("report.json", "report.html", "summary.md", "scores.json")


def _suite(command: Sequence[str]) -> Call:
    """Return a suite that keeps its runs inside, so that it can go on there, and whose report is fetched."""
    words, out = [], "results/suite"
    rest = iter(command)
    for word in rest:
        name, given, value = word.partition("=")
        if name == "--out":
            out = value if given else next(rest, out)
        else:
            words.append(word)
    inside = EXCHANGE / f"suite-{Path(out).name or 'suite'}"
    fetched = tuple((inside / name, Path(out) / name) for name in SUITE_FILES)
    return Call((*words, "--out", str(inside)), fetched=fetched)


def _files(words: Sequence[str], is_file: Callable[[Path], bool]) -> list[tuple[int, str, str]]:
    """Return (position, what it is, path) of every word that names a file of the host."""
    found = []
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        name, given, value = word.partition("=")
        if before in ("--record", "--export"):
            found.append((position, before, word))
        elif given and name in ("--record", "--export"):
            found.append((position, name, value))
        elif words[0] in READS and position and not word.startswith("-") and is_file(Path(word)):
            found.append((position, READS[words[0]], word))
        elif tuple(words[:2]) == ("audit", "export") and position > 1 and not word.startswith("-"):
            found.append((position, "audit export", word))
    return found
