"""A run ends with the incident that it reported, whatever the monitor has opened or closed before."""

from __future__ import annotations

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed, IncidentReported, IncidentVerdict
from broker.memory import MemoryJournal
from broker.port import Stored
from broker.subjects import Role
from harness.watching import Watching
from tests.support.signing import gate, signer


class Story:
    """A journal that is watched."""

    def __init__(self) -> None:
        self.seen = Watching()
        self._journal = MemoryJournal()
        self._gate = gate("operator")
        self._seq = 0

    def reported(self, incident: str) -> None:
        self._say("operator", IncidentReported(incident=incident, text="x", source="harness"))

    def closed(self, incident: str, verdict: IncidentVerdict = "verified", into: str | None = None) -> None:
        self._say(
            "scheduler",
            IncidentClosed(incident=incident, verdict=verdict, reason="r", plan_version=1, actions=0, merged_into=into),
        )

    def _say(self, role: Role, message: Contract) -> None:
        self._seq += 1
        frame = signer(role, journal=self._journal).seal(message)
        self.seen.take(self._gate.admit(Stored(self._seq, self._journal.now_us, message.subject(), frame)))


def test_without_a_report_the_first_incident_is_the_runs() -> None:
    story = Story()
    story.reported("m7")
    story.closed("m7")
    assert story.seen.incident == "m7"
    assert story.seen.closed is not None
    assert story.seen.done.is_set()


def test_the_end_of_the_monitors_own_incident_is_not_the_end_of_the_reported_one() -> None:
    story = Story()
    story.reported("m7")
    story.closed("m7")
    story.seen.expect("inc-1")
    assert not story.seen.done.is_set()
    story.reported("inc-1")
    story.closed("inc-1", "no_fault")
    assert story.seen.closed is not None
    assert (story.seen.closed.incident, story.seen.closed.verdict) == ("inc-1", "no_fault")


def test_a_report_that_is_merged_at_once_goes_on_as_the_incident_it_was_merged_into() -> None:
    story = Story()
    story.reported("m7")
    story.seen.expect("inc-1")
    story.reported("inc-1")
    story.closed("inc-1", "merged", "m7")
    assert not story.seen.done.is_set()
    story.closed("m7")
    assert story.seen.closed is not None
    assert story.seen.closed.incident == "m7"


def test_what_has_ended_the_watching_is_not_forgotten_over_a_report() -> None:
    story = Story()
    story.seen.fail(RuntimeError("the injection failed"))
    story.seen.expect("inc-1")
    assert story.seen.done.is_set()
