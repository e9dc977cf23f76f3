"""A recorded journal decides the same again, byte for byte; an edited one is found at the edited place.

`test_scheduler_recorded.jsonl`: a header, then one event a line with the commands that followed. After a
wanted change of behaviour, which takes a new version of the machine, `python -m tests.replay.test_scheduler_replay`
writes it anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalGranted, ApprovalRequested, Timer
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Command, Event, Publish, SetTimer
from broker.contracts.registry import CONTRACTS
from broker.contracts.task import Task
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.machine import SchedulerMachine
from tests.support.scheduler import (
    HALT,
    LOOK_ACT,
    RESUME,
    Story,
    config,
    plan,
    proposed,
    reported,
    result,
    task,
    verified,
)

RECORDED = Path(__file__).with_name("test_scheduler_recorded.jsonl")
UNAPPROVED = Path(__file__).with_name("test_scheduler_unapproved.jsonl")
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a machine decides otherwise."""

    seq: int
    recorded: list[dict[str, Any]]
    decided: list[dict[str, Any]]


def written(command: Command) -> dict[str, Any]:
    """Return a command as it stands in a recording; messages by their exact bytes."""
    if isinstance(command, Publish):
        message = command.message
        return {"say": message.subject(), "tag": command.tag, "bytes": message.encode().decode()}
    if isinstance(command, SetTimer):
        return {"set": command.timer.subject(), "bytes": command.timer.encode().decode()}
    return {"cancel": command.timer_id}


def replay(lines: list[str]) -> Difference | None:
    """Feed a recording to a new machine; return the first difference, or None."""
    head, *events = [json.loads(line) for line in lines]
    assert (head["format"], head["machine"]) == (FORMAT, "scheduler")
    machine = SchedulerMachine(SchedulerConfig.decode(head["config"].encode()))
    assert machine.version == head["version"]
    state = machine.initial()
    for line in events:
        payload = CONTRACTS[line["type"]].decode(line["payload"].encode())
        event = Event(line["seq"], line["time_us"], line["subject"], payload, "recorded-1")
        state, commands = machine.step(state, event)
        decided = [written(command) for command in commands]
        if decided != line["commands"]:
            return Difference(line["seq"], line["commands"], decided)
    return None


def recorded(path: Path = RECORDED) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def edited(lines: list[str], seq: int, old: str, new: str) -> list[str]:
    """Return the recording with the payload of one event edited."""
    copy = list(lines)
    place = next(n for n, line in enumerate(copy) if json.loads(line).get("seq") == seq)
    line = json.loads(copy[place])
    assert old in line["payload"]
    line["payload"] = line["payload"].replace(old, new)
    copy[place] = json.dumps(line)
    return copy


def seq_of(lines: list[str], type_: str, holding: str) -> int:
    """Return the sequence of the first event of a type whose payload holds a text."""
    events = [json.loads(line) for line in lines[1:]]
    return next(int(line["seq"]) for line in events if line["type"] == type_ and holding in line["payload"])


def test_the_recorded_journal_decides_the_same_bytes() -> None:
    assert replay(recorded()) is None


def test_the_recording_holds_a_whole_life() -> None:
    said = "\n".join(recorded())
    for step in ("rejected", "accepted", "executed", "closed", "approval", "dead", "retry-", "replan-wait-"):
        assert step in said, step


def test_the_journal_of_an_incident_that_nobody_watched_decides_the_same_bytes() -> None:
    lines = recorded(UNAPPROVED)
    assert replay(lines) is None
    seq = seq_of(lines, "timer", "approval-timeout")
    late = [line for line in lines if json.loads(line).get("seq") != seq]
    difference = replay(late)
    assert difference is not None, "without its expiry the incident goes another way"


def test_an_edited_result_diverges_at_that_event_with_both_texts() -> None:
    lines = recorded()
    seq = seq_of(lines, "result", '"drifted":true')
    difference = replay(edited(lines, seq, '"drifted":true', '"drifted":false'))
    assert difference is not None
    assert difference.seq == seq
    assert [one["say"].split(".")[1] for one in difference.recorded if "say" in one] == ["approval"]
    assert [one["say"] for one in difference.decided if "say" in one] == ["triage.task.action.inc-1.v1-t3.a1"]


def test_an_edited_verdict_diverges_at_that_event() -> None:
    lines = recorded()
    seq = seq_of(lines, "verified", '"ok":false')
    difference = replay(edited(lines, seq, '"ok":false', '"ok":true'))
    assert difference is not None
    assert difference.seq == seq


def test_an_edited_command_diverges_where_it_was_decided() -> None:
    lines = recorded()
    place = next(n for n, line in enumerate(lines) if json.loads(line).get("type") == "approval.granted")
    assert "reconcile" in lines[place]
    copy = [*lines[:place], lines[place].replace("reconcile", "restart"), *lines[place + 1 :]]
    difference = replay(copy)
    assert difference is not None
    assert difference.seq == json.loads(lines[place])["seq"]


def test_an_event_left_out_diverges_later() -> None:
    lines = recorded()
    seq = seq_of(lines, "control.halt", "stop")
    rest = [line for line in lines if json.loads(line).get("seq") != seq]
    difference = replay(rest)
    assert difference is not None
    assert difference.seq > seq


def test_a_recording_of_another_version_is_not_replayed() -> None:
    lines = recorded()
    head = json.loads(lines[0]) | {"version": 99}
    with pytest.raises(AssertionError):
        replay([json.dumps(head), *lines[1:]])


class Recorder(Story):
    """A story that writes down what it is told and what follows."""

    def __init__(self, given: SchedulerConfig) -> None:
        super().__init__(given)
        self.lines = [
            json.dumps(
                {
                    "format": FORMAT,
                    "machine": self.machine.name,
                    "version": self.machine.version,
                    "config": given.encode().decode(),
                }
            )
        ]

    def tell(self, message: Contract, after_s: float = 0.0) -> tuple[Command, ...]:
        said = super().tell(message, after_s)
        subject = message.due_subject() if isinstance(message, Timer) else message.subject()
        line = {
            "seq": self.seq,
            "time_us": self.now_us,
            "subject": subject,
            "type": message.TYPE,
            "payload": message.encode().decode(),
            "commands": [written(command) for command in said],
        }
        self.lines.append(json.dumps(line))
        return said

    def carry_out(self, order: Task) -> None:
        done = result(order, changed=order.risk != "read", drifted=True, healthy=True)
        self.tell(done, after_s=0.2)

    def approve(self) -> None:
        [wish] = self.messages(ApprovalRequested)
        granted = ApprovalGranted(incident=wish.incident, task_id=wish.task_id, binding=wish.binding)
        self.tell(granted, after_s=3.0)


def record() -> list[str]:
    """Play one long incident: refusals, an approval, a retry, a halt, a bad check, dead letters, flapping, the end."""
    story = Recorder(config(auto_approve="safe"))
    story.tell(reported())
    story.tell(proposed(plan(task("t1", "rm_rf"), number=1), origin="llm"), after_s=2.0)
    story.tell(proposed(plan(*LOOK_ACT, number=2), 2, origin="llm"), after_s=2.0)
    story.carry_out(story.messages(Task)[0])
    story.approve()
    [act] = story.messages(Task)
    story.tell(result(act, "FAIL", "TimeoutError"), after_s=1.0)
    story.fire(story.timers("retry")[0])
    [act] = story.messages(Task)
    story.tell(HALT)
    story.carry_out(act)
    story.tell(reported("inc-2"), after_s=1.0)
    story.tell(RESUME, after_s=30.0)
    story.carry_out(story.messages(Task)[0])
    story.tell(verified(1, ok=False), after_s=20.0)
    story.tell(proposed(plan(task("t1"), version=2, number=3)), after_s=0.1)
    for _ in range(2):
        story.fire(story.timers("task-timeout")[0])
        story.fire(story.timers("retry")[0])
    story.fire(story.timers("task-timeout")[0])
    flapping = (task("t1"),)
    story.tell(proposed(plan(*flapping, version=3, number=4)), after_s=0.1)
    story.tell(result(story.messages(Task)[0], "FAIL", "refused"), after_s=0.1)
    story.tell(proposed(plan(*flapping, version=4, number=5)), after_s=0.1)
    story.fire(story.timers("replan-wait")[0])
    story.tell(proposed(plan(task("t1", "restart"), version=4, number=6), 2), after_s=0.1)
    story.approve()
    story.carry_out(story.messages(Task)[0])
    story.tell(verified(4, ok=True, n=2), after_s=6.0)
    assert [one.verdict for one in story.messages(IncidentClosed)] == ["verified"]
    return story.lines


def record_unapproved() -> list[str]:
    """Play an incident that nobody watches: an approval expires, then one under a halt, and it is given up."""
    limits = config(auto_approve="safe", approval_timeout_s=300.0, max_plan_versions=2, remembers_failed=True)
    story = Recorder(limits)
    story.tell(reported())
    story.tell(proposed(plan(*LOOK_ACT, number=1)), after_s=2.0)
    story.carry_out(story.messages(Task)[0])
    story.fire(story.timers("approval-timeout")[0])
    story.tell(proposed(plan(task("t1", "restart"), version=2, number=2)), after_s=2.0)
    [timer] = story.timers("approval-timeout")
    story.tell(HALT)
    story.fire(timer)
    story.tell(RESUME, after_s=60.0)
    story.fire(story.timers("approval-timeout")[0])
    assert [one.unapproved for one in story.messages(IncidentClosed)] == [("v1-t2", "v2-t1")]
    return story.lines


if __name__ == "__main__":
    RECORDED.write_text("\n".join(record()) + "\n", encoding="utf-8")
    UNAPPROVED.write_text("\n".join(record_unapproved()) + "\n", encoding="utf-8")
