"""The decider: what stays open, what ends it, and the replay of a finished journal without any broker."""

from __future__ import annotations

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Timer
from broker.contracts.plan import PlanRequested
from broker.errors import DivergenceError, SnapshotError
from broker.gate import Gate
from broker.port import Stored
from broker.runtime.decider import Decided, Decider
from broker.runtime.snapshot import Snapshot, key_of, pack, restore
from broker.subjects import Role
from tests.support.machines import DeskConfig, DeskMachine, DeskState, answer, report, result, task
from tests.support.signing import signer

START_US = 1_750_000_000_000_000


class Tape:
    """A journal on paper: messages given to a decider as if they had been stored."""

    def __init__(self, machine: DeskMachine | None = None) -> None:
        self.decider: Decider[DeskState] = Decider(machine or DeskMachine())
        self.stored: list[Stored] = []
        self._gate = Gate(None)
        self._clock = START_US
        self._signers = {role: signer(role, clock=lambda: self._clock) for role in ("operator", "scheduler", "log")}

    def give(
        self,
        message: Contract,
        role: Role = "operator",
        *,
        cause: int = 0,
        subject: str | None = None,
        after_s: int = 0,
    ) -> tuple[Decided, ...]:
        where = subject or message.subject()
        frame = self._signers[role].seal(message, cause=cause, subject=where)
        self._clock += 1_000 + after_s * 1_000_000
        stored = Stored(len(self.stored) + 1, self._clock, where, frame)
        self.stored.append(stored)
        return self.decider.apply(self._gate.admit(stored))

    def open(self) -> list[tuple[str, str]]:
        return [(decided.kind, decided.subject) for decided in self.decider.open]


def asked(text: str = "please plan: orders are slow") -> PlanRequested:
    return PlanRequested(incident="i1", version=1, attempt=1, text=text)


def timer_of(decided: tuple[Decided, ...]) -> Timer:
    return next(item.message for item in decided if isinstance(item.message, Timer))


def test_a_decision_is_open_until_the_journal_shows_it() -> None:
    tape = Tape()
    decided = tape.give(report("i1"))
    assert [(item.kind, item.cause) for item in decided] == [("timer", 1), ("publish", 1)]
    tape.give(asked(), "scheduler", cause=1)
    assert tape.open() == [("timer", "triage.timer.scheduler.plan-i1")]


def test_a_due_timer_ends_its_setting_and_must_be_the_same() -> None:
    tape = Tape()
    timer = timer_of(tape.give(report("i1")))
    tape.give(timer, "scheduler", subject=timer.due_subject(), after_s=10)
    assert ("timer", timer.subject()) not in tape.open()

    other = Tape()
    timer = timer_of(other.give(report("i1")))
    changed = timer.model_copy(update={"due_us": timer.due_us - 7})
    with pytest.raises(DivergenceError, match="patience"):
        other.give(changed, "scheduler", subject=timer.due_subject(), after_s=10)


def test_a_result_ends_the_timer_of_its_task() -> None:
    tape = Tape()
    tape.give(answer("i1"))
    assert ("timer", "triage.timer.scheduler.task-i1-1") in tape.open()
    tape.give(result(task()), "log")
    assert ("timer", "triage.timer.scheduler.task-i1-1") not in tape.open()


def test_a_cancel_ends_a_timer_that_was_not_set_yet_and_is_said_all_the_same() -> None:
    tape = Tape()
    tape.give(report("i1"))
    tape.give(answer("i1"))
    assert ("timer", "triage.timer.scheduler.plan-i1") not in tape.open()
    assert ("cancel", "triage.timer.scheduler.plan-i1") in tape.open()


def test_what_was_said_is_still_compared_when_it_is_read() -> None:
    tape = Tape()
    for decided in tape.give(report("i1")):
        tape.decider.was_said(decided)
    assert tape.open() == []
    assert [decided.subject for decided in tape.decider.said] == [asked().subject()]
    with pytest.raises(DivergenceError) as error:
        tape.give(asked("forged"), "scheduler", cause=1)
    assert b"forged" in (error.value.recorded or b"")
    assert b"please plan" in (error.value.decided or b"")


def test_a_subject_that_another_role_took_is_no_divergence() -> None:
    # incident.<id>.reported may be said by an operator and by the monitor.
    class Watch(DeskMachine):
        name = "monitor"

    tape = Tape(Watch())
    tape.decider._open[False, report("m1").subject()] = Decided(
        "publish", report("m1").subject(), report("m1"), report("m1").encode(), "DETERMINISTIC", 0, 0
    )
    tape.give(report("m1", "said by a person"))
    assert ("publish", report("m1").subject()) not in tape.open()


def test_a_snapshot_goes_on_where_the_decider_was() -> None:
    tape = Tape()
    tape.give(report("i1"))
    tape.give(answer("i1"))
    machine, decider = tape.decider.machine, tape.decider
    decider.was_said(decider.open[0])
    data = pack(machine, Snapshot(decider.seq, decider.state, b"nonces", open=decider.open, said=decider.said))
    again = restore(machine, data)
    assert (again.seq, again.state, again.nonces) == (2, decider.state, b"nonces")
    assert again.decider(machine).open == decider.open
    assert again.decider(machine).said == decider.said
    assert key_of(machine) == "scheduler.v1"


@pytest.mark.parametrize("position", [0, 33, -1])
def test_a_snapshot_with_one_flipped_bit_is_refused(position: int) -> None:
    machine = DeskMachine()
    data = bytearray(pack(machine, Snapshot(1, machine.initial(), b"")))
    data[position] ^= 1
    with pytest.raises(SnapshotError, match="damaged"):
        restore(machine, bytes(data))


def test_a_snapshot_of_another_version_is_refused() -> None:
    machine = DeskMachine()
    data = pack(machine, Snapshot(1, machine.initial(), b""))
    with pytest.raises(SnapshotError, match="version 1"):
        restore(DeskMachine(version=2), data)


def test_a_recording_replayed_by_another_machine_differs_at_the_first_decision() -> None:
    tape = Tape()
    tape.give(report("i1"))
    tape.give(asked(), "scheduler", cause=1)
    gate = Gate(None)
    same = Decider(DeskMachine())
    for stored in tape.stored:
        same.apply(gate.admit(stored))
    gate, other = Gate(None), Decider(DeskMachine(DeskConfig(greeting="hm: ")))
    other.apply(gate.admit(tape.stored[0]))
    with pytest.raises(DivergenceError, match="hm: "):
        other.apply(gate.admit(tape.stored[1]))
