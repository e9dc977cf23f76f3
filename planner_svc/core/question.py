"""A prompt made of a template: the template's constant part first, so that a server can keep it; then the incident.

What comes from the incident is chosen by what it is worth and bounded by what it costs: the report and what deviates
from its own baseline always, worst first; then what was answered, ruled out, refused and tried; then excerpts of
runbooks and past incidents. Log lines stand as templates with counts. Text of strangers stands on one line between
marks that it cannot contain (`core/prompt.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from broker.contracts.catalogue import CATALOGUE, TaskType
from broker.contracts.plan import ChatMessage
from planner_svc.core import plain, wording
from planner_svc.core.answer import FAULT_CLASSES
from planner_svc.core.config import PlannerConfig, PromptTemplate
from planner_svc.core.context import Picture
from planner_svc.core.prompt import CLOSING, KINDS, MAX_LOG, OPENING, device_line, one_line, quoted
from planner_svc.core.rulebook import is_contradicted
from planner_svc.core.tokens import estimate, of_turns
from planner_svc.core.wording import named

SHORT_REPORT, SHORTEST_REPORT = 400, 150
"""Characters of a report that are shown where the whole does not fit."""
REPORT, DEVIATIONS = "Report:", "Deviations, worst first:"
SUSPECTS = "One of these is the cause:"
KEPT = 3
"""Deviations that stay whatever they cost."""
MAX_EXCERPT = 300
MAX_EXCERPTS = 3
LEAST = 12
"""Tokens that a line keeps whatever the constant part costs: enough for the device and its kind."""
_FACT = re.compile(r"[a-z_]+ [A-Za-z0-9_.-]+ [a-z_]+=(?:true|false|null|-?[0-9.eE+-]+)")


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one heading. Those of the section with the highest `spare` go first when the prompt is too long."""

    heading: str
    lines: tuple[str, ...]
    spare: int = 0
    kept: int = 0
    """So many lines never go."""

    def without_last(self) -> Section:
        return replace(self, lines=self.lines[:-1])


def messages(picture: Picture, template: PromptTemplate) -> tuple[ChatMessage, ...]:
    """Return the conversation for a picture, within the configuration's budget as far as the constant part leaves room.

    A long report is cut first. Some of it and the three worst deviations stay whatever the constant part costs, cut to
    what there is room for: a prompt without them asks nothing.
    """
    config = picture.config
    head = (ChatMessage(role="system", content=_system(config, template)), *_examples(config, template))
    room = config.max_prompt_tokens - of_turns(head)
    whole = _turn_of(_sections(picture, template, config.max_report_chars))
    if of_turns([whole]) <= room:
        return (*head, whole)
    for limit in (SHORT_REPORT, SHORTEST_REPORT):
        shortened = _fitted(_sections(picture, template, min(limit, config.max_report_chars)), room)
        if of_turns([shortened]) <= room:
            return (*head, shortened)
    return (*head, _turn_of(_squeezed(picture, template, room)))


def _squeezed(picture: Picture, template: PromptTemplate, room: int) -> list[Section]:
    """Return the report and the worst deviations alone, without logs, every line cut to its share of the room.

    Whoever writes logs, notes or reports can make a line as costly as the contracts let it be.
    """
    worst = [f"- {line}" for line in _deviations(picture, template, logs=False)[:KEPT]] or ["- nothing deviates"]
    report = quoted(picture.report, SHORTEST_REPORT)
    sections = [Section(REPORT, ()), Section(DEVIATIONS, ())]
    headings = of_turns([_turn_of([replace(section, lines=("",)) for section in sections])])
    share = max(LEAST, (room - headings) // (1 + len(worst)))
    cut = [_cut(line, share) for line in (report, *worst)]
    return [replace(sections[0], lines=(cut[0],)), replace(sections[1], lines=tuple(cut[1:]))]


def _cut(line: str, tokens: int) -> str:
    """Return a line that costs at most so many tokens, its marks round strangers' words still closed."""
    if estimate(line) <= tokens:
        return line
    end = "" if OPENING not in line else f"… {CLOSING}"
    kept = line
    while kept and estimate(f"{kept}{end}") > tokens:
        kept = kept[: min(len(kept) - 1, len(kept) * 9 // 10)]
    kept = kept.rstrip("<>")
    return f"{kept}{end}" if kept.count(OPENING) > kept.count(CLOSING) else f"{kept}…"


def _fitted(sections: list[Section], room: int) -> ChatMessage:
    """Return the question without what is missed least, until it fits or nothing may go any more."""
    while of_turns([_turn_of(sections)]) > room and (shorter := _shorter(sections)) is not None:
        sections = shorter
    return _turn_of(sections)


def _turn_of(sections: Iterable[Section]) -> ChatMessage:
    return ChatMessage(role="user", content=_text(sections))


def _system(config: PlannerConfig, template: PromptTemplate) -> str:
    inventory = config.inventory
    kinds = [name for name in FAULT_CLASSES if config.rulebook.remedy(name) is not None]
    values = {
        "{devices}": "\n".join(f"- {device_line(device)}" for device in inventory.devices),
        "{kinds}": "\n".join(
            f"- {template.answers.get(name, name)}: {template.kinds.get(name, KINDS[name])}" for name in kinds
        ),
        "{catalogue}": "\n".join(_type_line(entry) for entry in CATALOGUE.values() if entry.agent != "RAGAgent"),
    }
    if template.form == "plan":
        values["{kinds}"] = ", ".join(kinds)
    text = template.system
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _type_line(entry: TaskType) -> str:
    """Return a type of task as a model must know it: name, what for, arguments with their bounds."""
    arguments = []
    for name, argument in entry.arguments.items():
        optional = "" if argument.required else "?"
        arguments.append(f"{name}{optional}={'|'.join(argument.choices) or argument.type.__name__}")
    if entry.name == "flush_cache":
        arguments = []  # the only prefix that may be deleted is the inventory's; code fills it in
    return f"- {entry.name}({', '.join(arguments)}) {entry.agent}: {entry.summary}"


def _examples(config: PlannerConfig, template: PromptTemplate) -> list[ChatMessage]:
    """Return solved incidents as turns; those about devices that do not exist here are left out, but not where they are
    about another system on purpose: what is learnt from them must not be which device has which fault."""
    known = set(config.inventory.names())
    turns: list[ChatMessage] = []
    for solved in template.examples:
        if template.plain or _devices_in(solved.answer) <= known:
            turns += _turn(solved.report, solved.deviations, solved.answer)
    for example in () if template.examples else config.rulebook.examples:
        answer = {"target": example.target, "fault_class": example.fault_class, "confidence": example.confidence}
        if example.target in known:
            turns += _turn(example.report, example.deviations, json.dumps(answer, separators=(",", ":")))
    return turns


def _devices_in(answer: str) -> set[str]:
    value = json.loads(answer)
    said = value.get("hypothesis", value)
    return {said["target"], *(task["target"] for task in value.get("tasks", ()))}


def _turn(report: str, deviations: Iterable[str], answer: str) -> list[ChatMessage]:
    sections = [
        Section(REPORT, (quoted(report, 400),)),
        Section(DEVIATIONS, tuple(f"- {line}" for line in deviations)),
    ]
    return [ChatMessage(role="user", content=_text(sections)), ChatMessage(role="assistant", content=answer)]


def _text(sections: Iterable[Section]) -> str:
    return "\n".join("\n".join((section.heading, *section.lines)) for section in sections if section.lines)


def _shorter(sections: list[Section]) -> list[Section] | None:
    """Return the sections without the line that is missed least, or None if nothing may go any more."""
    long = [n for n, section in enumerate(sections) if len(section.lines) > section.kept]
    if not long:
        return None
    place = max(long, key=lambda n: (sections[n].spare, len(sections[n].lines)))
    return [section.without_last() if n == place else section for n, section in enumerate(sections)]


def _sections(picture: Picture, template: PromptTemplate, report_chars: int) -> list[Section]:
    """Return what is to be told, in the order in which it stands."""
    deviations = tuple(f"- {line}" for line in _deviations(picture, template)) or ("- nothing deviates",)
    # The picture's text holds the answers too, for the rulebook's words; here they stand beside their questions.
    report = quoted(picture.report, report_chars)
    return [
        Section(REPORT, (report,), kept=1),
        Section(DEVIATIONS, deviations, 3, kept=KEPT),
        *([Section(SUSPECTS, (", ".join(plain.suspects(picture)),), kept=1)] if template.plain else []),
        Section("Questions to the operator:", tuple(_dialogue(picture)), 1),
        Section("Ruled out:", tuple(_ruled_out(picture)), 2),
        Section("Refused before:", tuple(_refused(picture)), 2),
        Section("Tried before, did not help:", tuple(_tried(picture)), 2),
        Section("Seen by agents:", tuple(_seen(picture)), 4),
        Section("Runbooks and past incidents:", tuple(_excerpts(picture)), 5),
    ]


def _deviations(picture: Picture, template: PromptTemplate, *, logs: bool = True) -> list[str]:
    words = plain.deviations if template.plain else wording.deviations
    return words(picture, logs=logs)


def _dialogue(picture: Picture) -> list[str]:
    return [
        f"- {quoted(one.question, 200)} {'not answered' if one.answer is None else quoted(one.answer, 400)}"
        for one in picture.dialogue
    ]


def _ruled_out(picture: Picture) -> list[str]:
    """Return what an agent has seen not to be so, by device: a fault whose remedy's every condition fails there."""
    found = []
    for name in dict.fromkeys(finding.target for finding in picture.past.findings):
        out = [kind for kind in FAULT_CLASSES if is_contradicted(picture, name, kind)]
        found += [f"- {name}: {', '.join(out)}"] if out else []
    return found


def _refused(picture: Picture) -> list[str]:
    return [f"- {reason.code}: {quoted(reason.detail, MAX_LOG)}" for reason in picture.rejected[:4]]


def _tried(picture: Picture) -> list[str]:
    lines = []
    for item in picture.tried[-4:]:
        done = f" [{one_line(', '.join(item.actions), 120)}]" if item.actions else ""
        lines.append(f"- {item.hypothesis.target} {item.hypothesis.fault_class}{done}: {quoted(item.outcome, MAX_LOG)}")
    return lines


def _seen(picture: Picture) -> list[str]:
    """Return what agents found in this incident, and what the scheduler tells of plans before that."""
    showed = dict.fromkeys(fact for item in picture.tried for fact in item.showed)
    told = [f"- {quoted(outcome, MAX_LOG)}" for outcome in picture.past.outcomes[-4:]]
    facts = (fact if len(fact) <= 120 and _FACT.fullmatch(fact) else quoted(fact, 120) for fact in list(showed)[-4:])
    return [*told, *(f"- {fact}" for fact in facts)]


def _excerpts(picture: Picture) -> list[str]:
    return [
        f"- {named(item.source, 60)}, {quoted(item.title, 60)}: {quoted(item.text, MAX_EXCERPT)}"
        for item in picture.past.excerpts[:MAX_EXCERPTS]
    ]
