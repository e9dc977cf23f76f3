"""Ranking: fusion worked out by hand, words, likeness of symptoms, and the bounded form of excerpts."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.runbook.passages import Ref
from agents.runbook.ranking import by_words, fuse, terms_of, words_of
from broker.contracts import symptoms
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.excerpt import MAX_BYTES, MAX_EXCERPTS, Excerpt, decode_excerpts, encode_excerpts
from broker.errors import SchemaError
from tests.support.world import shop_inventory

A, B, C, D = (Ref(f"runbook/{name}", 0) for name in "abcd")


class TestFusion:
    def test_the_scores_are_those_worked_out_by_hand(self) -> None:
        # text: A B C, vector: C A D. A = 1/61 + 1/62, C = 1/63 + 1/61, B = 1/62, D = 1/63.
        fused = fuse({"text": [A, B, C], "vector": [C, A, D]}, 10)
        assert [item.ref for item in fused] == [A, C, B, D]
        assert [item.score for item in fused] == pytest.approx([0.0325225, 0.0322665, 0.0161290, 0.0158730], abs=1e-7)
        assert [dict(item.ranks) for item in fused] == [
            {"text": 1, "vector": 2},
            {"text": 3, "vector": 1},
            {"text": 2},
            {"vector": 3},
        ]

    def test_what_two_rankings_hold_in_the_middle_beats_what_one_holds_at_the_top(self) -> None:
        text, vector = (
            [B, *[Ref("runbook/x", n) for n in range(8)], A],
            [C, *[Ref("runbook/y", n) for n in range(8)], A],
        )
        assert fuse({"text": text, "vector": vector}, 1)[0].ref == A

    def test_equal_scores_stand_in_the_order_of_their_names(self) -> None:
        assert [item.ref for item in fuse({"text": [B], "vector": [A]}, 2)] == [A, B]

    def test_one_document_does_not_fill_the_answer(self) -> None:
        many = [Ref("runbook/a", n) for n in range(5)]
        assert [item.ref for item in fuse({"text": [*many, B]}, 3)] == [many[0], many[1], B]

    def test_past_incidents_take_at_most_half_of_the_places_while_there_are_runbooks(self) -> None:
        past = [Ref(f"incident/{n}", 0) for n in range(6)]
        fused = fuse({"text": [*past, A, B, C], "symptoms": past}, 4)
        assert [item.ref for item in fused] == [past[0], past[1], A, B]
        assert [item.ref for item in fuse({"text": [*past, A]}, 4)] == [*past[:3], A]
        assert [item.ref for item in fuse({"symptoms": past}, 4)] == past[:4]
        assert [item.ref for item in fuse({"text": [past[0], A]}, 1)] == [past[0]]

    def test_nothing_ranked_is_nothing_found(self) -> None:
        assert fuse({}, 5) == fuse({"text": []}, 5) == []


class TestWords:
    def test_names_stay_whole_and_their_parts_count_too(self) -> None:
        assert words_of("Is the shop-db down?? gaierror [Errno -2]") == [
            "shop-db",
            "shop",
            "db",
            "down",
            "gaierror",
            "errno",
            "2",
        ]

    def test_a_flood_is_cut(self) -> None:
        assert len(words_of(" ".join(f"word{number}" for number in range(10_000)))) <= 64

    def test_endings_do_not_matter(self) -> None:
        passages = {A: terms_of("connections to the databases were restarting"), B: terms_of("nothing alike")}
        assert by_words(["connection", "database", "restart"], passages) == [A]

    def test_ties_are_broken_by_name(self) -> None:
        assert by_words(["x"], {B: ["x"], A: ["x"]}) == [A, B]


class TestSymptoms:
    def keys(
        self, name: str, status: str, error: str | None = None, note: str | None = None, answers: bool = True
    ) -> tuple[str, ...]:
        inventory = shop_inventory()
        device = inventory.get(name)
        assert device is not None
        return symptoms.keys_of(inventory, device, status=status, error_code=error, note=note, answers=answers)

    def test_a_record_says_kind_signal_and_error_and_no_name(self) -> None:
        assert self.keys("orders", "ERROR", "ConnectionError", "shop-db=gaierror") == (
            "service:blame-database:gaierror",
            "service:error:ConnectionError",
        )
        assert self.keys("catalog", "WARN", None, "slow:shop-db=640ms") == ("service:slow-database",)
        assert self.keys("shop-db", "ERROR", "ECONNREFUSED", None, False) == ("database:silent:ECONNREFUSED",)
        assert self.keys("catalog", "ERROR", "TimeoutError", None, False) == ("service:silent:TimeoutError",)
        assert self.keys("catalog", "WARN") == ("service:degraded",)

    def test_the_well_and_the_users_traffic_say_nothing(self) -> None:
        assert self.keys("orders", "OK", "gaierror", "shop-db=gaierror") == ()
        assert self.keys("loadgen", "ERROR", "HTTP500") == ()

    def test_strangers_words_cannot_leave_the_form(self) -> None:
        [key] = self.keys("orders", "ERROR", "evil = 1.000 x:y\n`rm`")
        assert re.fullmatch(symptoms.KEY, key)
        assert self.keys("orders", "WARN", None, "not-a-device=boom, slow:loadgen=9") == ("service:degraded",)

    def test_the_vector_has_length_one_and_counts_by_logarithm(self) -> None:
        found = symptoms.vector(["a"] * 10 + ["b"])
        assert sum(value**2 for value in found.values()) == pytest.approx(1.0)
        assert found["a"] / found["b"] == pytest.approx(1 + math.log(10))
        assert symptoms.vector([]) == {}

    def test_likeness_is_worked_out_by_hand(self) -> None:
        assert symptoms.cosine({"a": 1.0}, {"a": 0.6, "b": 0.8}) == pytest.approx(0.6)
        assert symptoms.cosine({"a": 1.0}, {"b": 1.0}) == 0.0
        assert symptoms.cosine({}, {"b": 1.0}) == 0.0

    @given(st.dictionaries(st.from_regex(symptoms.KEY, fullmatch=True), st.floats(0, 1), max_size=12))
    def test_what_is_written_is_a_valid_argument_and_reads_back(self, given_: dict[str, float]) -> None:
        text = symptoms.encode(given_)
        assert symptoms.decode(text) == {
            key: pytest.approx(value, abs=5e-4) for key, value in symptoms.decode(text).items() if key in given_
        }
        orders = shop_inventory().get("orders")
        assert orders is not None
        if text:
            assert CATALOGUE["search_runbook"].faults({"query": "x", "symptoms": text}, orders) == []
        assert len(symptoms.decode(text)) == min(len(given_), symptoms.MAX_KEYS)

    @pytest.mark.parametrize("text", ["x", "service:error=2", "service:error:a=0.5000", "service:error=0.500 "])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no vector of symptoms"):
            symptoms.decode(text)


def excerpt(number: int = 1, text: str = "text") -> Excerpt:
    return Excerpt(kind="runbook", source=f"r{number}", title="t", text=text, score=0.1, ranks={"text": number})


class TestExcerpts:
    def test_they_read_back(self) -> None:
        given_ = (excerpt(1, 'größer <b>\n"x"'), excerpt(2))
        assert decode_excerpts(encode_excerpts(given_)) == given_

    def test_what_does_not_fit_is_left_out_from_the_end(self) -> None:
        kept = decode_excerpts(encode_excerpts([excerpt(number, "ß" * 600) for number in range(1, 9)]))
        assert 2 < len(kept) < 8
        assert [item.source for item in kept] == [f"r{number}" for number in range(1, len(kept) + 1)]
        assert len(encode_excerpts(kept).encode()) <= MAX_BYTES

    def test_never_more_than_so_many(self) -> None:
        assert len(decode_excerpts(encode_excerpts([excerpt(number) for number in range(1, 30)]))) == MAX_EXCERPTS

    @pytest.mark.parametrize(
        "text", ["", "{}", "nonsense", json.dumps([{"kind": "order"}]), '["' + "x" * MAX_BYTES + '"]', "[" * 5_000]
    )
    def test_what_is_no_list_of_excerpts_is_refused(self, text: str) -> None:
        with pytest.raises(SchemaError):
            decode_excerpts(text)
