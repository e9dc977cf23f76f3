"""Who may ask the operator, and who may answer: the walls of the gate and of the broker's users."""

from __future__ import annotations

import pytest

from broker.contracts.incident import IncidentAnswered, IncidentAsked
from broker.contracts.registry import CONTRACTS
from broker.errors import Refusal
from broker.port import Stored
from broker.subjects import ROLES, Role, channel_of, matches
from deploy.nats.permissions import permissions_of
from tests.support.signing import gate, signer

ASKED = IncidentAsked(incident="inc-1", n=1, question="Deployed?", version=1, attempt=1, plan_id="p", wait_s=5.0)
ANSWERED = IncidentAnswered(incident="inc-1", n=1, text="yes")


@pytest.mark.parametrize(("message", "speaker"), [(ASKED, "scheduler"), (ANSWERED, "operator")])
def test_one_role_may_say_it_and_the_broker_lets_no_other_publish_it(
    message: IncidentAsked | IncidentAnswered, speaker: Role
) -> None:
    subject = message.subject()
    assert [role for role in ROLES if channel_of(subject, role)] == [speaker]
    may = [role for role in ROLES if any(matches(pattern, subject) for pattern in permissions_of(role).publish)]
    assert may == [speaker]
    assert CONTRACTS[message.TYPE] is type(message)


@pytest.mark.parametrize(("message", "forger"), [(ASKED, "planner"), (ASKED, "operator"), (ANSWERED, "scheduler")])
def test_forged_question_or_answer_is_refused_at_the_gate(
    message: IncidentAsked | IncidentAnswered, forger: Role
) -> None:
    speaker: Role = "scheduler" if isinstance(message, IncidentAsked) else "operator"
    honest = signer(speaker).seal(message)
    stored = Stored(1, signer(speaker)._clock(), message.subject(), honest)
    assert gate("reader").admit(stored).message == message
    with pytest.raises((Refusal, ValueError, LookupError)):
        forged(message, forger)


def forged(message: IncidentAsked | IncidentAnswered, forger: Role) -> None:
    """Let a role sign what is not its to say, as far as its keys go, and hold it against the gate."""
    frame = signer(forger).seal(message)
    gate("reader").admit(Stored(2, signer(forger)._clock(), message.subject(), frame))
