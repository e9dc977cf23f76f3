"""What people do from the page: signed as the operator's, refused by name. The same rules as the command line's.

Every method does what it says once, or raises; nothing is assumed of what the stack then makes of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from broker.contracts.base import Contract, describe
from broker.contracts.control import ApprovalDenied, ApprovalGranted, Halt, Resume
from broker.contracts.incident import IncidentAnswered
from broker.errors import AlreadyExistsError, DuplicateError
from dashboard.api.answers import AlertGroup, Decision, Done
from dashboard.api.core.alerts import Firing, incident_name, incident_text
from dashboard.api.core.view import ApprovalView, IncidentView
from dashboard.api.errors import Problem, bad_request, not_found
from dashboard.api.feed import Feed, now_us
from harness.control import checked_report

MessageT = TypeVar("MessageT", bound=Contract)


class Commands:
    """Speaks through the feed's connection; judges by the feed's fold and lets the broker have the last word."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def report(self, text: str, message_id: str) -> Done:
        """Report an incident; its name follows from the intention, so that a second try is the same report."""
        incident = f"inc-{message_id[:12]}"
        message = checked_report(incident, text, "operator")
        try:
            seq = await self._say(message, message_id, once=True)
        except AlreadyExistsError as error:  # an earlier try, before this process started
            seq = error.seq
        return Done(seq=seq, sentence=f"Reported as {incident}.", incident=incident)

    async def alerts(self, group: AlertGroup) -> Done:
        """Report what fires; a group that was told before, or has ended, is taken and changes nothing."""
        firing = [Firing(a.labels, a.annotations, a.startsAt) for a in group.alerts if a.status == "firing"]
        if not firing:
            return Done(seq=None, sentence="Nothing of this group fires; nothing was reported.")
        incident = incident_name(group.groupKey, firing)
        message = checked_report(incident, incident_text(firing), "operator")
        control = self._feed.operator()
        try:
            seq = await control.say(message, once=True)
        except AlreadyExistsError as error:
            return Done(seq=error.seq, sentence=f"This alert is {incident} already.", incident=incident)
        return Done(seq=seq, sentence=f"Reported as {incident}.", incident=incident)

    async def answer(self, incident: str, text: str, message_id: str) -> Done:
        """Answer the question that is open.

        Raises:
            Problem: `not_found`, `not_asked`, `already_answered`.
        """
        question = self._incident(incident).question
        if question is None or now_us() > question.until_us:
            raise Problem(409, "not_asked", f"{incident} asks nothing now.", "Look at the incident as it stands.")
        message = _checked("The answer", lambda: IncidentAnswered(incident=incident, n=question.n, text=text))
        try:
            seq = await self._say(message, message_id, once=True)
        except AlreadyExistsError:
            raise Problem(
                409,
                "already_answered",
                f"Question {question.n} of {incident} has an answer already.",
                "Look at the incident as it stands.",
            ) from None
        return Done(seq=seq, sentence=f"Answered question {question.n} of {incident}.", incident=incident)

    async def decide(self, incident: str, task_id: str, decision: Decision, message_id: str) -> Done:
        """Grant or deny what is asked for, exactly as it was asked for.

        Raises:
            Problem: `not_found`, `approval_decided`, `approval_expired`, `approval_changed`.
        """
        asked = next((item for item in self._incident(incident).approvals if item.task_id == task_id), None)
        if asked is None:
            raise not_found(f"task {task_id} of {incident} that waits, or waited, for approval")
        _require_open(asked, incident, decision)
        message = _checked("The decision", lambda: _word(asked, incident, decision))
        control = self._feed.operator()
        # Whoever was faster in the other direction counts too: one word for each request.
        other = "denied" if decision.decision == "grant" else "granted"
        if await control.broker.last(f"triage.approval.{incident}.{task_id}.{other}") is not None:
            raise _decided(task_id, incident, other)
        try:
            seq = await self._say(message, message_id, once=True)
        except AlreadyExistsError:
            raise _decided(task_id, incident, "granted" if decision.decision == "grant" else "denied") from None
        word = "approved" if decision.decision == "grant" else "denied"
        return Done(seq=seq, sentence=f"{task_id} of {incident} is {word}.", incident=incident)

    async def halt(self, reason: str, message_id: str) -> Done:
        """Press the kill switch."""
        message = _checked("The halt", lambda: Halt(reason=reason or "halted from the dashboard"))
        seq = await self._say(message, message_id)
        return Done(seq=seq, sentence="Halted: nothing acts any more until it is resumed.")

    async def resume(self, reason: str, message_id: str) -> Done:
        """End a halt."""
        message = _checked("The resume", lambda: Resume(reason=reason or "resumed from the dashboard"))
        seq = await self._say(message, message_id)
        return Done(seq=seq, sentence="Resumed.")

    def _incident(self, name: str) -> IncidentView:
        incident = self._feed.view.incidents.get(name)
        if incident is None:
            raise not_found(f"incident {name[:60]!r} among those of late")
        return incident

    async def _say(self, message: Contract, message_id: str, *, once: bool = False) -> int:
        """Say it, once: what an earlier try of the same intention stored counts as said by this one."""
        control = self._feed.operator()
        try:
            return await control.say(message, once=once, message_id=message_id)
        except DuplicateError as error:
            return error.seq


def _require_open(asked: ApprovalView, incident: str, decision: Decision) -> None:
    if asked.state in ("granted", "denied"):
        raise _decided(asked.task_id, incident, asked.state)
    if asked.state == "expired":
        raise Problem(
            409,
            "approval_expired",
            f"{asked.task_id} of {incident} does not wait any more: the incident was closed or planned anew.",
            "Look at the incident as it stands.",
        )
    if decision.binding is not None and decision.binding != asked.binding:
        raise Problem(
            409,
            "approval_changed",
            f"{asked.task_id} of {incident} now waits for something else: {asked.action} {asked.target}.",
            "Read it again and decide anew.",
        )


def _decided(task_id: str, incident: str, word: str) -> Problem:
    return Problem(
        409, "approval_decided", f"{task_id} of {incident} was {word} already.", "Look at the incident as it stands."
    )


def _word(asked: ApprovalView, incident: str, decision: Decision) -> ApprovalGranted | ApprovalDenied:
    if decision.decision == "grant":
        return ApprovalGranted(incident=incident, task_id=asked.task_id, binding=asked.binding)
    return ApprovalDenied(
        incident=incident,
        task_id=asked.task_id,
        binding=asked.binding,
        reason=decision.reason or "denied from the dashboard",
    )


def _checked(what: str, make: Callable[[], MessageT]) -> MessageT:
    try:
        message = make()
        message.encode()
    except ValidationError as error:
        raise bad_request(f"{what} was refused: {describe(error)}.") from error
    except ValueError as error:
        raise bad_request(f"{what} was refused: it is no text.") from error
    return message


def nearest(name: str, known: list[str]) -> str:
    """Return a hint for a name that is not known."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else "See: triage status"
