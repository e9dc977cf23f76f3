"""A journal as the stack would have written it: signed, chained, with everything in it that the page can show.

One incident went all the way, one was given up because nobody approved its step, and one waits for a person, with a
text that would be a script if anything took it for markup.
"""

from __future__ import annotations

from broker.contracts.monitor import AgentUp
from tests.ui.journal import AGENTS, Story
from tests.ui.repaired import repaired
from tests.ui.waiting import unapproved, waiting


def written(now_us: int) -> Story:
    """Return the story, ending now."""
    story = Story(now_us - 190_000_000)
    for number, agent in enumerate(AGENTS):
        story.say(AgentUp(instance=agent, role=agent.partition("-")[0], connection=number), "monitor")
    story.telemetry()
    story.wait(60_000)
    repaired(story, "inc-a1")
    story.wait(20_000)
    unapproved(story, "inc-a2")
    story.wait(10_000)
    story.store("triage.control.halt", b"\x81\xa1vno envelope at all")
    waiting(story, "inc-b2")
    story.now_us = max(story.now_us, now_us - 1_500_000)
    story.telemetry(catalog=("ERROR", "ConnectionTimeout"), gateway=("WARN", ""), loadgen=("WARN", ""))
    return story
