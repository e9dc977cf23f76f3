"""The set itself: enough, mixed, balanced, split for good; what is right in it is what was really injected."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.plan import FaultClass
from harness.evaluation.data import Half, RunPlan, Situation, SituationFile
from harness.evaluation.library import FOLDER, HALVES, RECORDED_KINDS, cases, plans, read_window, window_path
from harness.evaluation.tape import AFTER_S, CALM_S, truth_of
from tests.support.planner_world import shop

ROOT = Path(__file__).parents[2]
RUNS: dict[str, RunPlan] = {run.name: run for run in plans()}
LASTING = {name: run for name, run in RUNS.items() if run.fault and run.fault.healed_after_s is None}


def half(name: Half) -> tuple[Situation, ...]:
    return SituationFile.decode((FOLDER / "situations" / f"{name}.json").read_bytes()).situations


ALL: dict[Half, tuple[Situation, ...]] = {name: half(name) for name in HALVES}
EVERY = [(name, situation) for name in HALVES for situation in ALL[name]]
MISSING = [name for name in RUNS if not window_path(name).exists()]


def require_recorded(*names: str) -> None:
    """Skip, by name, what was not recorded yet; a window that is there is held to everything."""
    if missing := [name for name in names if name in MISSING]:
        pytest.skip(f"not recorded yet: python -m harness.evaluation.record {' '.join(missing[:3])}")


def test_there_are_at_least_sixty_situations_in_halves_of_one_size() -> None:
    assert len(EVERY) >= 60
    assert abs(len(ALL["tuning"]) - len(ALL["measured"])) <= 4


def test_every_text_and_every_name_is_there_once() -> None:
    for field in ("text", "name"):
        doubled = [value for value, count in Counter(getattr(s, field) for _, s in EVERY).items() if count > 1]
        assert doubled == []


def test_no_window_is_told_in_both_halves() -> None:
    for name, situation in EVERY:
        assert RUNS[situation.window].half == name
        assert situation.moment < len(RUNS[situation.window].moments_s)


@pytest.mark.parametrize("name", HALVES)
def test_each_half_holds_every_kind_of_fault_and_every_difficulty(name: Half) -> None:
    kinds = {run.fault.kind for s in ALL[name] if (run := LASTING.get(s.window)) and run.fault}
    assert kinds == RECORDED_KINDS
    traits = Counter(trait for s in ALL[name] for trait in s.traits)
    assert {"vague", "misleading", "hostile", "wrong_service", "no_fault", "plain"} <= traits.keys()
    assert traits["no_fault"] >= 4
    languages = Counter(s.language for s in ALL[name])
    assert languages["en"] >= 15
    assert languages["de"] >= 3
    assert len(languages) >= 5


def test_classes_of_fault_are_balanced_between_the_halves() -> None:
    counts = {name: Counter(s.right[0].fault_class for s in ALL[name]) for name in HALVES}
    for fault_class in counts["tuning"] | counts["measured"]:
        assert abs(counts["tuning"][fault_class] - counts["measured"][fault_class]) <= 4, fault_class


def test_what_is_right_is_what_was_injected() -> None:
    for _, situation in EVERY:
        assert situation.right[0] == truth_of(RUNS[situation.window], shop()), situation.name


def test_what_repairs_is_never_dangerous_and_both_exist() -> None:
    for _, situation in EVERY:
        assert not set(situation.repairs) & set(situation.dangerous), situation.name
        assert bool(situation.repairs) == (situation.right[0].fault_class != "none"), situation.name
        for repair in (*situation.repairs, *situation.dangerous):
            entry, device = CATALOGUE[repair.action], shop().get(repair.target)
            assert entry.changes_world
            assert device is not None
            assert device.kind in entry.targets


def test_texts_do_not_speak_the_rulebook_s_language() -> None:
    """People do not write `process_down`; who does is the hostile text that orders an answer."""
    told = [s.name for _, s in EVERY if re.search("|".join(set(get_args(FaultClass)) - {"none"}), s.text)]
    hostile = {s.name for _, s in EVERY if "hostile" in s.traits}
    assert set(told) <= hostile


def test_texts_seldom_name_the_device_that_is_broken() -> None:
    naming = [s.name for _, s in EVERY if s.right[0].target in s.text and "no_fault" not in s.traits]
    assert len(naming) <= len(EVERY) // 4, naming


def shingles(text: str, length: int = 5) -> set[str]:
    words = re.findall(r"\w+", text.casefold())
    return {" ".join(words[n : n + length]) for n in range(len(words) - length + 1)}


def test_nothing_that_is_only_measured_stands_in_rules_examples_prompts_or_their_tests() -> None:
    """Five words in a row of a measured text, or the whole of a short one, may stand nowhere that rules, prompts and
    models are made from."""
    places = [p for p in (ROOT / "planner_svc").rglob("*") if p.suffix in (".json", ".py", ".md", ".txt", ".toml")]
    places += [
        p for folder in ("tests", "runbooks") for p in (ROOT / folder).rglob("*.*") if p.suffix in (".py", ".md")
    ]
    written = {p: " ".join(re.findall(r"\w+", p.read_text(encoding="utf-8").casefold())) for p in places}
    assert written
    for situation in ALL["measured"]:
        words = " ".join(re.findall(r"\w+", situation.text.casefold()))
        pieces = shingles(situation.text) or ({words} if len(words) > 15 else set())
        found = [str(p) for p, text in written.items() if any(piece in text for piece in pieces)]
        assert found == [], situation.name


def test_halves_share_no_five_words_in_a_row() -> None:
    tuned = {piece for s in ALL["tuning"] for piece in shingles(s.text)}
    for situation in ALL["measured"]:
        assert not shingles(situation.text) & tuned, situation.name


@pytest.mark.parametrize("name", RUNS)
def test_window_is_recorded_as_planned_and_shows_the_fault(name: str) -> None:
    require_recorded(name)
    run, window = RUNS[name], read_window(name)
    assert (window.fault, window.load, window.truth) == (run.fault, run.load, truth_of(run, window.inventory))
    assert len(window.moments) == len(run.moments_s)
    assert window.samples[-1].at_s >= window.moments[-1].at_s + AFTER_S - 1.0
    devices = {sample.telemetry.device_id for sample in window.samples}
    assert devices == set(window.inventory.names())
    if run.fault is not None:
        assert window.injected_at_s is not None
        before = [s.telemetry for s in window.samples if s.at_s < window.injected_at_s]
        assert len(before) >= 0.8 * CALM_S * len(devices)
        assert {record.status for record in before} == {"OK"}
    for moment in window.moments:
        assert {name for name, facts in moment.facts.items() if not facts.running or facts.drifted} <= ends_of(run)
        if run.name in LASTING and window.truth.fault_class != "cache_poison":
            facts = moment.facts[window.truth.target]
            assert not facts.running or facts.drifted, "the world did not show the fault when it was reported"


def ends_of(run: RunPlan) -> set[str]:
    """Return the devices on which an agent may find the fault: a link's two ends see it drifted both."""
    return set(run.fault.target.split("--")) if run.fault is not None and run.name in LASTING else set()


@pytest.mark.parametrize("name", HALVES)
def test_half_can_be_read_as_it_is_measured(name: Half) -> None:
    require_recorded(*(run for run in RUNS if RUNS[run].half == name))
    assert [case.situation for case in cases(name)] == list(ALL[name])
    assert len({case.key for case in cases(name)}) == len(ALL[name])
