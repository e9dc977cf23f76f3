"""Putting passages in order: words in common, and several orders made one. Pure.

Several rankings are combined by reciprocal rank fusion: a passage's score is the sum of 1 / (K + place) over the
rankings that hold it, K = 60 (Cormack, Clarke, Büttcher: Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods, SIGIR 2009). It needs places only, so words, distances and likeness need no common scale.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.runbook.passages import Ref
from broker.contracts.excerpt import Ranking

K: Final = 60
PER_DOCUMENT: Final = 2
"""Most passages of one document in an answer: the next best document tells more than a third passage of the first."""
MAX_WORDS: Final = 64
MAX_WORD: Final = 60
SATURATION: Final = 1.2
"""BM25's k1: how much a word's repetition still counts."""
LENGTH: Final = 0.75
"""BM25's b: how much a long passage is held against it."""
_WORD = re.compile(r"[^\W_][\w.-]*[^\W_]|[^\W_]")
_PARTS = re.compile(r"[._-]+")
_ENDINGS = ("ungen", "ung", "ings", "ing", "ed", "en", "es", "er", "e", "s", "n", "t")
_STOP = """
a about after all also an and any are as at be been before but by can do does for from had has have
he her his how i if in into is it its just me my no not now of on or our out over she since so some
than that the their them then there these they this those to too up us very was we were what when
where which while who why will with would you aber alle als am an auch auf aus bei bin bis bitte da
das dass dem den der des die doch durch ein eine einem einen einer er es für gegen hat haben hier
ich ihr im in ist ja kann kein keine man mehr mein mit nach nicht noch nur oder ohne schon sehr sein
seit sich sie sind so um und uns unter vom von vor war was weil wenn wer wie wieder wir wird wo zu
zum zur über"""
STOP_WORDS: Final = frozenset(_STOP.split())
"""English and German words that tell no passage from another."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A passage's place in the whole."""

    ref: Ref
    score: float
    ranks: Mapping[Ranking, int]
    """Its place in each ranking that holds it, from 1."""


def fuse(rankings: Mapping[Ranking, Sequence[Ref]], limit: int, *, per_document: int = PER_DOCUMENT) -> list[Fused]:
    """Return at most `limit` passages, best first; equal scores in the order of their names.

    Past incidents take at most half of the places as long as there are runbooks for the others: what helped before and
    what is known belong side by side.

    Args:
        rankings: the passages in each order, best first.
    """
    ranks: dict[Ref, dict[Ranking, int]] = defaultdict(dict)
    for name, refs in rankings.items():
        for place, ref in enumerate(dict.fromkeys(refs), 1):
            ranks[ref][name] = place
    scored = [Fused(ref, sum(1.0 / (K + place) for place in found.values()), found) for ref, found in ranks.items()]
    kept: list[Fused] = []
    taken: Counter[str] = Counter()
    for item in sorted(scored, key=_best_first):
        if taken[item.ref.document] < per_document:
            taken[item.ref.document] += 1
            kept.append(item)
    incidents = [item for item in kept if item.ref.kind == "incident"]
    others = [item for item in kept if item.ref.kind != "incident"]
    places = max((limit + 1) // 2, limit - len(others))
    return sorted((*incidents[:places], *others), key=_best_first)[:limit] if len(kept) > limit else kept


def _best_first(item: Fused) -> tuple[float, Ref]:
    return -item.score, item.ref


def words_of(text: str) -> list[str]:
    """Return the words of a question that can tell passages apart, each once, parts of compounds as well."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(text[:4_000]):
        word = match.group().lower()[:MAX_WORD]
        parts = [part for part in _PARTS.split(word) if part]
        for item in (word, *(parts if len(parts) > 1 else ())):
            if item not in STOP_WORDS and (len(item) > 1 or item.isdigit()):
                found.setdefault(item)
    return list(found)[:MAX_WORDS]


def stem(word: str) -> str:
    """Return a word without a common English or German ending. Crude: what matters is that both sides do the same."""
    if not word.isalpha():
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def terms_of(text: str) -> list[str]:
    """Return a passage's terms, with repetitions."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group().lower()[:MAX_WORD]
        parts = [part for part in _PARTS.split(word) if part]
        found += [stem(item) for item in (word, *(parts if len(parts) > 1 else ())) if item not in STOP_WORDS]
    return found


def by_words(words: Iterable[str], passages: Mapping[Ref, Sequence[str]]) -> list[Ref]:
    """Return the passages that hold any of the words, best first by BM25 (Robertson, Zaragoza 2009).

    Args:
        passages: the terms of every passage (`terms_of`).
    """
    counts = {ref: Counter(terms) for ref, terms in passages.items()}
    mean = sum(map(len, passages.values())) / max(len(passages), 1) or 1.0
    scores: dict[Ref, float] = defaultdict(float)
    for term in dict.fromkeys(map(stem, words)):
        holding = [ref for ref, count in counts.items() if term in count]
        rarity = math.log(1.0 + (len(counts) - len(holding) + 0.5) / (len(holding) + 0.5))
        for ref in holding:
            often = counts[ref][term]
            long = 1.0 - LENGTH + LENGTH * len(passages[ref]) / mean
            scores[ref] += rarity * often * (SATURATION + 1.0) / (often + SATURATION * long)
    return sorted(scores, key=lambda ref: (-scores[ref], ref))
