"""RAGAgent (spec 5): searches runbooks and past incidents for guided actions. It acts on nothing and orders nobody.

What it finds is text that others wrote: quoted in the result with its source, for people and for a prompt. A search
that finds nothing, or that had to do without database or vectors, is an answer all the same: no plan may fail for want
of advice.
"""

from __future__ import annotations

from typing import ClassVar, Final

from agents.base import Agent, Order, Outcome
from agents.errors import RefusedError
from agents.runbook.shelf import Found, Shelf
from broker.contracts import symptoms
from broker.contracts.excerpt import META_KEY, Excerpt, decode_excerpts, encode_excerpts
from broker.contracts.inventory import Inventory
from broker.contracts.plan import AgentKind

DEFAULT_K: Final = 4


class RunbookAgent(Agent):
    """Reads what is known; changes nothing."""

    kind: ClassVar[AgentKind] = "runbook"

    def __init__(self, instance: str, inventory: Inventory, shelf: Shelf) -> None:
        super().__init__(instance, inventory)
        self.shelf = shelf

    async def execute(self, order: Order) -> Outcome:
        """Answer with the best passages."""
        args = order.task.args
        try:
            looks = symptoms.decode(str(args.get("symptoms", "")))
        except ValueError as error:
            raise RefusedError(str(error)) from error
        found = await self.shelf.search(str(args["query"]), looks, int(args.get("k", DEFAULT_K)))
        text = encode_excerpts(found.excerpts)
        kept = decode_excerpts(text)
        return Outcome(
            out=sentence(found, kept),
            meta={
                "found": bool(kept),
                "count": len(kept),
                "ranked_by": found.ranked_by,
                "missing": found.missing,
                META_KEY: text,
            },
            evidence=tuple(line(excerpt) for excerpt in kept),
        )


def sentence(found: Found, kept: tuple[Excerpt, ...]) -> str:
    """Return what a search came to, in one sentence."""
    how = f"by {found.ranked_by}" + (f" ({found.missing})" if found.missing else "")
    if not kept:
        return f"nothing in the runbooks or past incidents fits, {how}"
    places = dict.fromkeys(_place(excerpt) for excerpt in kept)
    return f"{len(kept)} {'passage' if len(kept) == 1 else 'passages'}, {how}: {', '.join(places)}"


def line(excerpt: Excerpt) -> str:
    """Return an excerpt as one line: where it is from, why it was chosen, and its text."""
    ranks = ", ".join(f"{name} {place}" for name, place in excerpt.ranks.items())
    return f"{_place(excerpt)} [{excerpt.score:.4f}; {ranks}] {' '.join(excerpt.text.split())}"


def _place(excerpt: Excerpt) -> str:
    section = f" ({excerpt.section})" if excerpt.section else ""
    return f"{excerpt.kind} {excerpt.source}{section}"
