"""Scenario files that contradict themselves are refused in one sentence, by file, place and reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.schemas import documents
from harness.errors import BadScenarioError
from harness.scenario import draw, load

KILLED = {"fault": "service_killed", "target": "orders"}
REPORT = {"at_s": 2, "text": "it is broken"}
REPAIRED = {"verdict": "verified", "max_actions": 1}
GOOD = {"name": "mine", "summary": "s", "faults": [KILLED], "report": REPORT, "expect": REPAIRED}


def write(tmp_path: Path, **changes: object) -> str:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({key: value for key, value in (GOOD | changes).items() if value is not None}))
    return str(path)


def test_a_scenario_without_a_fault_of_its_own_can_be_run(tmp_path: Path) -> None:
    assert load(write(tmp_path)).name == "mine"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"faults": [KILLED | {"fault": "service_kiled"}]},
            r"faults\.0: there is no fault .*mean service_killed",
        ),
        (
            {"faults": [KILLED | {"target": "order"}]},
            r"faults\.0: service_killed does not apply to 'order'; it",
        ),
        ({"faults": [KILLED | {"target": ["orders", "moon"]}]}, r"faults\.0: .*does not apply to 'moon'"),
        ({"faults": [KILLED | {"target": []}]}, r"faults\.0\.target: no target"),
        ({"faults": [KILLED | {"args": {"force": 9}}]}, r"faults\.0: service_killed takes no argument 'force'"),
        ({"faults": [KILLED | {"at_s": 1, "when": "claim"}]}, r"faults\.0\.at_s: .*at 1 s and at the cue 'claim'"),
        ({"faults": [KILLED | {"kind": "log"}]}, r"faults\.0\.kind: only the cues claim, task, result"),
        ({"faults": [KILLED, KILLED]}, r"faults\.1: service_killed on orders may be in the world already"),
        ({"faults": [KILLED, KILLED | {"target": ["catalog", "orders"]}]}, r"faults\.1: .*already"),
        ({"faults": [KILLED | {"at_s": 120}], "report": None}, r"faults\.0\.at_s: at 120 s the run is over"),
        ({"faults": [KILLED | {"at_s": 5}]}, r"report\.at_s: at 2 s nothing is broken yet"),
        ({"faults": [KILLED | {"when": "claim"}], "report": None}, "all of them wait for a cue"),
        ({"report": REPORT | {"at_s": 130}}, r"report\.at_s: at 130 s the run is over, for timeout_s is 120"),
        ({"report": REPORT | {"text": []}}, r"report\.text: no text"),
        ({"reports": [REPORT | {"at_s": 1}]}, r"reports\.0\.at_s: 1 s is before the first report at 2 s"),
        ({"report": None, "reports": [REPORT]}, "there is no first report"),
        ({"report": None, "faults": []}, "nothing is broken and nobody reports"),
        (
            {"kills": [{"when": "result", "victim": "claimant"}]},
            r"kills\.0\.victim: only the cue 'claim' has",
        ),
        (
            {"kills": [{"when": "plan.accepted", "kind": "log", "victim": "broker"}]},
            r"kills\.0\.kind: only the cues claim, task, result",
        ),
        ({"expect": REPAIRED | {"verdict": "no_fault", "max_actions": 0}}, r"expect\.verdict: something is broken"),
        ({"expect": REPAIRED | {"max_actions": 0}}, r"expect\.max_actions: a repair is expected"),
        ({"faults": []}, r"expect\.verdict: nothing is broken"),
        ({"faults": [], "expect": {"verdict": "no_fault", "max_actions": 1}}, r"expect\.max_actions: .*so 0 and not 1"),
        ({"expect": REPAIRED | {"within_s": 200}}, r"expect\.within_s: the run ends after 120 s"),
        (
            {"expect": REPAIRED | {"causes": [{"target": "moon", "fault_class": "process_down"}]}},
            r"expect\.causes\.0\.target: there is no workload 'moon'; there are catalog",
        ),
    ],
)
def test_what_cannot_be_so_is_refused_by_file_place_and_reason(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BadScenarioError, match=rf"the scenario mine\.json cannot be run: .*{words}") as caught:
        load(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_several_contradictions_are_counted(tmp_path: Path) -> None:
    with pytest.raises(BadScenarioError, match=r"\(and 3 more\)"):
        load(write(tmp_path, faults=[KILLED | {"at_s": 500, "kind": "log"}], expect=REPAIRED | {"max_actions": 0}))


def test_an_unknown_key_inside_a_cause_names_the_nearest(tmp_path: Path) -> None:
    cause = {"target": "orders", "fault_clas": "process_down"}
    with pytest.raises(BadScenarioError, match="did you mean 'fault_class'"):
        load(write(tmp_path, expect=REPAIRED | {"causes": [cause]}))


class TestDraw:
    def test_the_same_seed_says_the_same_reports_in_the_order_of_their_times(self, tmp_path: Path) -> None:
        later = [REPORT | {"at_s": 9, "text": ["a", "b"]}, REPORT | {"at_s": 4, "text": ["c", "d", "e"]}]
        scenario = load(write(tmp_path, reports=later))
        first = draw(scenario, seed=3)
        assert first == draw(scenario, seed=3)
        assert [int(said.at_s) for said in first.reports] == [4, 9]
        assert len({draw(scenario, seed=seed).reports[0].text for seed in range(20)}) > 1

    def test_what_was_drawn_before_there_were_further_reports_is_drawn_again(self) -> None:
        drawn = draw(load("service_killed"), seed=7)
        assert drawn.report_at_s == 2.0085441005640927
        assert (drawn.faults[0].target, drawn.text) == ("catalog", "502 everywhere???")


def test_the_schema_of_the_docs_names_every_field_with_a_sentence() -> None:
    schema = json.loads(next(text for path, text in documents().items() if path.name == "scenario.json"))
    assert {"faults", "report", "reports", "kills", "expect", "sets"} <= set(schema["properties"])
    assert "description" in schema["$defs"]["FaultStep"]["properties"]["when"]
