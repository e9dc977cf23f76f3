"""How many tokens a text costs at most, without any model's tokenizer. Pure, and on the safe side.

Byte-pair tokenizers split a text at blanks, between letters, digits and signs before they merge, and never across.
So a text costs no more than its pieces do: a run of letters one token per `LETTERS` characters begun (without a vowel,
nearly one each), every digit one, every two signs begun one, a letter beyond ASCII one per byte pair; a digit beyond
ASCII, and any character that stands alone there, one per byte. Held against
counts of a real vocabulary by `tests/unit/test_planner_question.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from broker.contracts.plan import ChatMessage

LETTERS = 6
"""Letters of a word of a language, or of our names, that one token holds at least on average."""
PER_TURN = 5
"""Marks of a chat template round one turn, and its role."""
SHORT = 24
"""Longer pieces are no words, and are not kept."""
_PIECE = re.compile(r"[A-Za-z]+| ?[0-9]|[^\W\d_]+|[^\w\s]+|_|\n+|[^\S\n]{2,}|[^ ]")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")


def estimate(text: str) -> int:
    """Return how many tokens a text costs, rather too many than too few."""
    pieces = Counter(_PIECE.findall(text)).items()
    return sum((_known if len(piece) <= SHORT else _cost)(piece) * times for piece, times in pieces) + bool(text)


def of_turns(turns: Iterable[ChatMessage]) -> int:
    """Return how many tokens a conversation costs, the marks between its turns included."""
    return sum(estimate(turn.content) + PER_TURN for turn in turns) + PER_TURN


@lru_cache(maxsize=2_048)
def _known(piece: str) -> int:
    """The turns of a conversation are made of the same words."""
    return _cost(piece)


def _cost(piece: str) -> int:
    if not piece.isascii() and (piece.isdecimal() or len(piece) == 1):
        return len(piece.encode())
    if not piece.isascii():
        return -(-len(piece.encode()) // 2)
    if piece[-1].isdigit():
        return len(piece)  # a blank before a digit is not merged with it
    if piece.isspace() or piece == "_":
        return 1
    if not piece.isalpha():
        return -(-len(piece) // 2)
    is_word = len(piece) <= 3 or _VOWEL.search(piece)
    return -(-len(piece) // LETTERS) if is_word else len(piece) - 1
