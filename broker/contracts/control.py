"""The operator's hand on the switch, approvals, timers and audit checkpoints."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from broker.contracts.base import CleanText, Contract, Token, added


class Halt(Contract):
    """Kill switch: nothing acts any more until a Resume. Reading goes on."""

    TYPE: ClassVar[str] = "control.halt"
    reason: CleanText

    def subject(self) -> str:
        return "triage.control.halt"


class Resume(Contract):
    """Ends a Halt."""

    TYPE: ClassVar[str] = "control.resume"
    reason: CleanText

    def subject(self) -> str:
        return "triage.control.resume"


class Rotate(Contract):
    """A key version is new in the key files, or is now the one to sign with there; read them again."""

    TYPE: ClassVar[str] = "control.rotate"
    key_version: Annotated[int, Field(ge=1)]

    def subject(self) -> str:
        return "triage.control.rotate"


class Takeover(Contract):
    """From this place of the journal on, a new version of a machine decides (design: limits to mind)."""

    TYPE: ClassVar[str] = "control.takeover"
    machine: Token
    version: Annotated[int, Field(ge=1)]

    def subject(self) -> str:
        return f"triage.control.takeover.{self.machine}.v{self.version}"


class _Approval(Contract):
    incident: Token
    task_id: Token
    binding: str
    """SHA-256 of action, target and arguments, hex: an approval holds for exactly that."""
    _STEP: ClassVar[str] = ""

    def subject(self) -> str:
        return f"triage.approval.{self.incident}.{self.task_id}.{self._STEP}"


class ApprovalRequested(_Approval):
    """A risky task waits for a person."""

    TYPE: ClassVar[str] = "approval.requested"
    _STEP: ClassVar[str] = "requested"
    action: str
    target: str
    why: str
    wait_s: Annotated[float, Field(ge=0)] = added(0.0)
    """How long the task waits, seconds; then it counts as not approved. 0: for ever."""


class ApprovalGranted(_Approval):
    """A person let the task go ahead."""

    TYPE: ClassVar[str] = "approval.granted"
    _STEP: ClassVar[str] = "granted"


class ApprovalDenied(_Approval):
    """A person forbade the task."""

    TYPE: ClassVar[str] = "approval.denied"
    _STEP: ClassVar[str] = "denied"
    reason: CleanText


class ApprovalExpired(_Approval):
    """Nobody granted or denied the task in time: it is not carried out."""

    TYPE: ClassVar[str] = "approval.expired"
    _STEP: ClassVar[str] = "expired"
    action: str
    target: str
    wait_s: Annotated[float, Field(ge=0)]
    """How long a person was waited for, seconds; time under a halt does not count."""


class Timer(Contract):
    """A broker-scheduled message: stands on `timer.…` until it is due, then comes back on `due.…`."""

    TYPE: ClassVar[str] = "timer"
    machine: Token
    timer_id: Token
    due_us: int
    """When it is due, broker time, microseconds since the epoch."""
    purpose: Token
    incident: Token | None = None
    task_id: Token | None = None
    number: int = 0
    """Attempt, version or round the timer belongs to; the purpose says which."""

    def subject(self) -> str:
        return f"triage.timer.{self.machine}.{self.timer_id}"

    def due_subject(self) -> str:
        return f"triage.due.{self.machine}.{self.timer_id}"


class Checkpoint(Contract):
    """The auditor's signed chain head: whoever kept one can tell a cut-off or rebuilt chain."""

    TYPE: ClassVar[str] = "audit.checkpoint"
    n: Annotated[int, Field(ge=1)]
    rows: int
    """Rows in the chain."""
    journal_seq: int
    """Journal sequence of the last row."""
    head: str
    """Hash of the last row, hex."""
    signature: str
    """Ed25519 over `n|rows|journal_seq|head`, hex."""

    def subject(self) -> str:
        return f"triage.audit.checkpoint.{self.n}"
