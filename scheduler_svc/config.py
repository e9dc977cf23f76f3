"""From settings to what the machine is made with."""

from __future__ import annotations

from broker.contracts.inventory import Inventory
from broker.runtime.settings import Settings
from broker.subjects import ACK_WAIT_S, MAX_DELIVERIES
from scheduler_svc.core.config import SchedulerConfig

TIMER_LATENESS_S = 1.0
"""The broker's timers are late by up to 0.25 s; the rest is for the way of the messages."""
PLANNING_TIMEOUT_S = 45.0
MODEL_MARGIN_S = 15.0
"""The planner's own time-out of its model comes first: it then answers from the rulebook, and no attempt is lost."""


def scheduler_config(settings: Settings, inventory: Inventory) -> SchedulerConfig:
    """Return what the machine is made with. Two schedulers of one stack must be given the same settings."""
    return SchedulerConfig(
        inventory=inventory,
        planning_timeout_s=_planning_timeout_s(settings),
        redelivery_slack_s=ACK_WAIT_S * (MAX_DELIVERIES - 1) + TIMER_LATENESS_S,
        auto_approve=settings.auto_approve,
        max_questions=settings.max_questions,
        question_timeout_s=settings.question_timeout_s,
        approval_timeout_s=settings.approval_timeout_s,
        remembers_failed=True,
        refuses_doubled=True,
        knows_relapses=True,
    )


def _planning_timeout_s(settings: Settings) -> float:
    if settings.planner_mode == "rulebook":
        return PLANNING_TIMEOUT_S
    return min(3_600.0, max(PLANNING_TIMEOUT_S, settings.model_timeout_s + MODEL_MARGIN_S))
