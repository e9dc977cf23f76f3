"""Incidents: what a person or the monitor reports, and how it ended."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints

from broker.contracts.base import CleanText, Contract, Token, added
from broker.contracts.plan import QuestionText

MAX_TEXT = 8_192
"""Longest incident text, in characters."""


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


IncidentText = Annotated[CleanText, StringConstraints(max_length=MAX_TEXT), AfterValidator(_says_something)]

Source = Literal["operator", "harness", "monitor"]
IncidentVerdict = Literal["verified", "no_fault", "unresolved", "merged"]
"""verified: repaired and proved. no_fault: nothing deviates, nothing was done. unresolved: gave up, people must look.
merged: reported while another incident was open; see `merged_into`."""


class IncidentReported(Contract):
    """A report in free text. Untrusted input: it can never add an action, a target or an approval."""

    TYPE: ClassVar[str] = "incident.reported"
    incident: Token
    text: IncidentText
    source: Source

    def subject(self) -> str:
        return f"triage.incident.{self.incident}.reported"


class IncidentAsked(Contract):
    """A clarifying question to the operator: the incident waits for the answer, until the time is over."""

    TYPE: ClassVar[str] = "incident.asked"
    incident: Token
    n: Annotated[int, Field(ge=1)]
    """Number of the question within the incident."""
    question: QuestionText
    version: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    """The planning attempt whose plan asks."""
    plan_id: str
    wait_s: Annotated[float, Field(gt=0)]
    """How long the incident waits; then the rulebook goes on."""

    def subject(self) -> str:
        return f"triage.incident.{self.incident}.asked.{self.n}"


class IncidentAnswered(Contract):
    """An operator's answer to a clarifying question."""

    TYPE: ClassVar[str] = "incident.answered"
    incident: Token
    n: Annotated[int, Field(ge=1)]
    """Number of the question that is answered."""
    text: IncidentText

    def subject(self) -> str:
        return f"triage.incident.{self.incident}.answered.{self.n}"


class IncidentClosed(Contract):
    """The end of an incident, said once."""

    TYPE: ClassVar[str] = "incident.closed"
    incident: Token
    verdict: IncidentVerdict
    reason: str
    plan_version: int
    actions: int
    """Tasks that changed the world and ended OK."""
    merged_into: Token | None = None
    unapproved: tuple[Token, ...] = added(())
    """Tasks that waited for a person's approval and that nobody decided on in time, oldest first."""

    def subject(self) -> str:
        return f"triage.incident.{self.incident}.closed"
