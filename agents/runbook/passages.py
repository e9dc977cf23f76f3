"""Documents and their passages: what is stored, ranked and quoted. Pure.

A runbook's passages are its head (title, symptoms, errors) and its text cut at headings; a past incident is one
passage. A passage is short enough to be quoted whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

from agents.runbook.frontmatter import Runbook, clean
from broker.contracts.base import Scalar
from broker.contracts.excerpt import MAX_EXCERPT

MAX_PASSAGES: Final = 60
"""Most passages of one document."""
MAX_TITLE: Final = 120
FORM: Final = 1
"""Of how documents are cut into passages; another one has everything indexed again."""
_HEADING = re.compile(r"#{1,4} +(?P<title>.+?) *#*")

Kind = Literal["runbook", "incident"]


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """A passage's name: its document's, and its place there from 0."""

    document: str
    n: int

    @property
    def kind(self) -> str:
        """`runbook` or `incident`: what its document's id begins with."""
        return self.document.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Passage:
    """What is ranked, and quoted as it stands."""

    section: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One runbook or past incident."""

    id: str
    """`runbook/<id>` or `incident/<id>`."""
    kind: Kind
    title: str
    fault_class: str
    digest: str
    """Changes whenever anything of the document does."""
    passages: tuple[Passage, ...]
    symptoms: Mapping[str, float] = field(default_factory=dict)
    """Of a past incident: what it looked like (`broker.contracts.symptoms`)."""
    journal_seq: int = 0
    """Of a past incident: where its end stands in the journal."""

    @property
    def source(self) -> str:
        """The id as people know it."""
        return self.id.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Repaired:
    """A past incident as the audit tells it."""

    incident: str
    journal_seq: int
    text: str
    target: str
    fault_class: str
    actions: tuple[tuple[str, str, Mapping[str, Scalar]], ...]
    """Type, target, arguments of each task that changed the world, in order."""
    symptoms: Mapping[str, float]


def of_runbook(runbook: Runbook) -> Document:
    """Return a runbook as it is stored."""
    head = runbook.head
    signs = "; ".join(head.symptoms)
    about = f"{signs}. Errors: {', '.join(head.errors)}" if head.errors else signs
    passages = [Passage("Symptoms", part) for part in _cut(about)]
    for section, text in _sections(runbook.body):
        passages += [Passage(section[:MAX_TITLE], part) for part in _cut(text)]
    return Document(
        id=f"runbook/{head.id}",
        kind="runbook",
        title=head.title,
        fault_class=head.fault_class,
        digest=f"{FORM}:{runbook.sha256}",
        passages=tuple(passages[:MAX_PASSAGES]),
    )


def of_incident(repaired: Repaired) -> Document:
    """Return a past incident as it is stored. Its report is a stranger's text: cleaned, on one line, cut."""
    report = " ".join(clean(repaired.text).split())
    done = ", ".join(_action(*action) for action in repaired.actions)
    looked = ", ".join(repaired.symptoms) or "nothing that telemetry showed"
    head = f"Cause: {repaired.target}, {repaired.fault_class}. Repaired and verified by: {done}. Looked like: {looked}."
    room = MAX_EXCERPT - 20 - len(head)
    said = f" Reported as: {_short(report, room)}" if room > 40 else ""
    text = _short(head + said, MAX_EXCERPT)
    facts = json.dumps([repaired.incident, repaired.journal_seq, text, sorted(repaired.symptoms.items())])
    return Document(
        id=f"incident/{repaired.incident}",
        kind="incident",
        title=f"{repaired.fault_class} of {repaired.target}, repaired"[:MAX_TITLE],
        fault_class=repaired.fault_class,
        digest=f"{FORM}:{sha256(facts.encode()).hexdigest()}",
        passages=(Passage("", text),),
        symptoms=dict(repaired.symptoms),
        journal_seq=repaired.journal_seq,
    )


def _action(type_: str, target: str, args: Mapping[str, Scalar]) -> str:
    given = "".join(f" {name}={value}" for name, value in sorted(args.items()))
    return f"{type_} {target}{given}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """Cut Markdown at its headings, which inside code are none."""
    section, lines, in_code = "", [], False
    for line in body.split("\n"):
        in_code ^= line.lstrip().startswith("```")
        found = None if in_code else _HEADING.fullmatch(line.strip())
        if found is None:
            lines.append(line)
            continue
        yield section, "\n".join(lines)
        section, lines = found["title"].strip(), []
    yield section, "\n".join(lines)


def _cut(text: str) -> Iterator[str]:
    """Cut text into pieces of at most MAX_EXCERPT characters: between lines where that is possible, else words."""
    piece = ""
    for unit in _units(text):
        if piece and len(piece) + len(unit) > MAX_EXCERPT:
            yield piece.strip()
            piece = ""
        piece += unit
    if piece.strip():
        yield piece.strip()


def _units(text: str) -> Iterable[str]:
    for line in re.sub(r"\n{3,}", "\n\n", text.strip()).splitlines(keepends=True):
        if len(line) <= MAX_EXCERPT // 2:
            yield line
            continue
        for word in re.findall(r"\s*\S+\s*?", line):
            yield from (word[i : i + MAX_EXCERPT // 2] for i in range(0, len(word), MAX_EXCERPT // 2))
        yield "\n"
