"""Questions, marked plans and plans that failed, among any other messages: the machine's invariants hold."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from broker.contracts.control import ApprovalRequested
from broker.contracts.incident import IncidentAnswered, IncidentAsked
from broker.contracts.plan import ClarifyingTask, PlanTask, Reason
from broker.contracts.task import Task
from tests.property.test_scheduler_machine import INCIDENTS, AnyJournal, sound_tasks
from tests.support.scheduler import Story, config, plan, proposed

MAX_QUESTIONS = 2


class AnyJournalWithQuestions(AnyJournal):
    """The same, of a scheduler that asks, remembers failures and wants agreement."""

    def __init__(self) -> None:
        super().__init__()
        settings_ = config(
            auto_approve="agreed",
            max_questions=MAX_QUESTIONS,
            question_timeout_s=9.0,
            approval_timeout_s=7.0,
            remembers_failed=True,
        )
        self.story = Story(settings_)

    def propose_marked(self, tasks: tuple[PlanTask, ...], **marks: object) -> None:
        self.number += 1
        incident = self.story.incident
        version, attempt = len(incident.asked), incident.asked[-1]
        asks = marks.pop("asks")
        candidate = plan(*tasks, version=version, number=self.number % 7)
        candidate = candidate.model_copy(update={"clarifying_task": asks})
        given = proposed(candidate, attempt, incident.incident, "llm").model_copy(update=marks)
        self.tell(given)

    @precondition(lambda self: self.story.state.active)
    @rule(
        tasks=st.just(()) | sound_tasks(),
        question=st.none() | st.sampled_from(("Why?", "why?", "When?", "Who?")),
        mended=st.booleans(),
        agreed=st.booleans(),
        unusable=st.booleans(),
    )
    def propose_with_marks(
        self, tasks: tuple[PlanTask, ...], question: str | None, mended: bool, agreed: bool, unusable: bool
    ) -> None:
        asks = None if question is None else ClarifyingTask(task_id="q1", question=question)
        why = (Reason(code="no_plan", detail="prose"),) if unusable and not question else ()
        self.propose_marked(tasks, asks=asks, mended=mended, agreed=agreed, unusable=why)

    @rule(name=st.sampled_from(INCIDENTS), n=st.integers(1, 3), text=st.text("ab c", min_size=1).filter(str.strip))
    def answer_a_question(self, name: str, n: int, text: str) -> None:
        self.tell(IncidentAnswered(incident=name, n=n, text=text))

    def teardown(self) -> None:
        self.attempts_are_bounded()
        self.an_incident_is_closed_once_and_nothing_follows()
        self.versions_grow_by_one_at_each_commit()
        self.what_nobody_approved_in_time_is_never_carried_out()
        asked = self.story.all_messages(IncidentAsked)
        for name in INCIDENTS:
            numbers = [one.n for one in asked if one.incident == name]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) <= MAX_QUESTIONS

    def a_risky_task_has_a_persons_word(self) -> None:
        """Not here: agreement lets risky tasks go; see below."""

    def wished(self) -> set[tuple[str, str]]:
        return {(one.incident, one.task_id) for one in self.story.all_messages(ApprovalRequested)}

    @rule()
    def whatever_acts_in_a_mended_plan_had_a_persons_word(self) -> None:
        for order in self.story.all_messages(Task):
            active = self.story.state.active
            if order.risk == "read" or active is None or active.incident != order.incident:
                continue
            commitment = active.commitment
            if commitment is not None and order.plan_version == active.version and commitment.mended:
                assert (order.incident, order.task_id) in self.wished()


TestAnyJournalWithQuestions = AnyJournalWithQuestions.TestCase
TestAnyJournalWithQuestions.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
