"""The six minutes of the specification's section 13, as data: what is said, what is looked at, what happens.

Pure. docs/demo_script.md holds the same words for people, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Act = Literal["talk", "baseline", "peak", "meter", "audience", "figures", "proof"]
"""What happens in a step: nothing but words; the world is looked at; a fault and a kill; the measured reassignment;
a fault with the audience's words; today's figures; audit and replay."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the script."""

    start_s: int
    end_s: int
    title: str
    say: tuple[str, ...]
    look: str
    view: str
    """The page's view, as its address names it."""
    act: Act


SCRIPT: tuple[Step, ...] = (
    Step(
        0,
        30,
        "Hook",
        (
            "Give it a messy sentence. It finds out what is broken, repairs it, and proves that it did.",
            "Everything you will see happens now, on this laptop, without a network.",
        ),
        "The title and the banner of the overview.",
        "overview",
        "talk",
    ),
    Step(
        30,
        90,
        "Context: the shop, and all is well",
        (
            "This is a real shop: four services, a database, a cache, a queue, and customers who buy all the time.",
            "Beside it seven agents wait for work. Nothing they say counts unless it is signed.",
        ),
        "Every box says healthy, in words and in colour; the agents stand below.",
        "topology",
        "baseline",
    ),
    Step(
        90,
        150,
        "First peak: it breaks, and one of the agents dies at work",
        (
            "I change the orders service's database address behind everybody's back. Orders fail from now on.",
            "And the moment an agent takes the first task, it is killed. Watch the amber cue.",
        ),
        "The amber cue on top; the plan going green without the dead agent.",
        "plan",
        "peak",
    ),
    Step(
        150,
        180,
        "The meter",
        (
            "From the loss of the agent to its work in another one's hands: that many milliseconds.",
            "It is the broker's own time, and it stands in the journal.",
            "The promise was two hundred and fifty.",
        ),
        "The latency meter: last reassignment, within 250 ms.",
        "overview",
        "meter",
    ),
    Step(
        180,
        240,
        "Your words",
        (
            "Something else is broken now. Who wants to report it? In your own words, as messy as you like.",
            "It has never seen this sentence. It looks, it confirms, it acts once.",
            "Then it watches the customers for a whole window before it calls anything repaired.",
        ),
        "The sentence, the hypothesis, each piece of evidence, the verdict clause by clause.",
        "incident",
        "audience",
    ),
    Step(
        240,
        280,
        "Second peak: today's figures",
        (
            "Not one lucky run: this is what it did with every fault that was put in today.",
            "Recovered means what an independent judge says: fault gone, customers served, nothing else touched.",
        ),
        "The banner: recovered of injected, success rate, replan latency, time to recover.",
        "overview",
        "figures",
    ),
    Step(
        280,
        360,
        "Silence, then your questions",
        (
            "Every message you saw is signed and chained. This is the chain, checked.",
            "And this is the run, decided again from its recording: the same plans, the same bytes.",
            "Crypto: one key for each channel, so no agent can speak as the scheduler.",
            "Data: it never left this machine. Scale: start more agents, and they share the work.",
        ),
        "The timeline: open a message, and the page itself checks hash and chain.",
        "timeline",
        "proof",
    ),
)

AUDIENCE_TEXT = "hey the product pages are all broken since like a minute, white page, cant buy anything??"
"""What is reported where nobody is asked."""


def minutes(seconds: float) -> str:
    """Return `1:30` of 90 seconds."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def faults_of(script: Sequence[Step]) -> tuple[str, ...]:
    """Return what is wrong with a script's times, one sentence each: a step begins where the one before it ends."""
    found = []
    at = 0
    for step in script:
        if step.start_s != at:
            found.append(f"{step.title!r} begins at {minutes(step.start_s)}, not at {minutes(at)}")
        if step.end_s <= step.start_s:
            found.append(f"{step.title!r} takes no time")
        at = step.end_s
    return tuple(found)
