"""A user's own rules: dropped as a file, read without any Python, refused by file, place and reason."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FuturesTimeout
from pathlib import Path
from typing import Any

import pytest

from broker.runtime.settings import Settings
from planner_svc.__main__ import make_machine
from planner_svc.config import load_rulebook
from planner_svc.core.machine import PlannerMachine
from planner_svc.errors import RulebookError
from planner_svc.rulebook_checks import faults_of_parts
from planner_svc.rulebook_files import MAX_FILES, MAX_SHOWN, check, load, own_files
from tests.support.cli import cli_of
from tests.support.planner_world import USERS_FAIL, Look, World, config, rulebook, shop

PAGE = Path(__file__).parents[2] / "docs" / "rulebook.md"
RULE: dict[str, Any] = {
    "name": "mine",
    "signal": "blame",
    "fault_class": "config_drift",
    "weight": 0.9,
    "says": "{device} hates {dependency}",
}


def example() -> str:
    """Return the example of docs/rulebook.md, word by word."""
    [block] = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def drop(folder: Path, value: object, name: str = "mine.json") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def refusal(folder: Path) -> str:
    with pytest.raises(RulebookError) as refused:
        load(folder)
    return str(refused.value)


def crowded(code: str = "TooManyConnectionsError") -> dict[str, Look]:
    note: Look = {"status": "ERROR", "note": f"shop-db={code}", "error_code": code, "success_ratio": 0.2}
    return {"orders": note, "catalog": note, "loadgen": USERS_FAIL}


def concluded(world: World) -> tuple[str, str, float]:
    world.seconds(5)
    world.seconds(3, crowded())
    world.request(text="nothing works")
    world.seconds(6, crowded())
    believed = world.proposal().plan.hypothesis
    return believed.target, believed.fault_class, believed.confidence


def test_example_of_the_page_names_a_fault_that_the_package_only_guesses_at(tmp_path: Path) -> None:
    drop(tmp_path, example(), "database.json")
    mine = config().model_copy(update={"rulebook": load_rulebook(own=tmp_path)})
    target, fault_class, confidence = concluded(World(PlannerMachine(mine)))
    assert (target, fault_class) == ("shop-db", "resource_limit")
    assert confidence > 0.8
    assert concluded(World())[1] != "resource_limit"


def test_example_of_the_page_ends_in_the_plan_that_the_page_tells(tmp_path: Path) -> None:
    drop(tmp_path, example())
    world = World(PlannerMachine(config().model_copy(update={"rulebook": load_rulebook(own=tmp_path)})))
    concluded(world)
    tasks = [(task.type, task.target) for task in world.proposal().plan.tasks]
    assert ("check_config", "shop-db") in tasks
    assert ("reconcile", "shop-db") in tasks


def test_own_rules_come_beside_those_of_the_package_and_say_where_they_are_from(tmp_path: Path) -> None:
    path = drop(tmp_path, {"rules": [RULE]})
    loaded = load(tmp_path)
    assert [rule.name for rule in loaded.rulebook.rules] == [*(rule.name for rule in rulebook().rules), "mine"]
    assert loaded.sources["mine"] == str(path)
    assert loaded.sources["busy"] == "package"


@pytest.mark.parametrize("log", ["pool exhausted: 20 of 20 in use", "slow down", None])
def test_rule_on_a_log_line_speaks_only_where_a_sign_and_the_line_are_there(tmp_path: Path, log: str | None) -> None:
    rule = RULE | {"signal": "degraded", "log": "pool exhausted", "fault_class": "resource_limit", "says": "{device}"}
    drop(tmp_path, {"rules": [rule]})
    world = World(PlannerMachine(config().model_copy(update={"rulebook": load_rulebook(own=tmp_path)})))
    looks: dict[str, Look] = {
        "orders": {"status": "ERROR", "log_sample": log},
        "catalog": {"log_sample": "pool exhausted"},
    }
    world.seconds(5)
    world.request()
    world.seconds(8, looks | {"loadgen": USERS_FAIL})
    believed = world.proposal().plan.hypothesis
    found = believed.target == "orders" and believed.fault_class == "resource_limit"
    assert found == (log is not None and "pool exhausted" in log)


def test_no_folder_is_no_own_rules(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere").rulebook == rulebook()


def test_rule_of_the_package_can_be_switched_off(tmp_path: Path) -> None:
    drop(tmp_path, {"without": ["busy"]})
    assert "busy" not in load(tmp_path).sources


def test_known_error_class_gets_another_pattern(tmp_path: Path) -> None:
    drop(tmp_path, {"errors": [{"name": "refused", "pattern": "NobodyHome"}]})
    assert load(tmp_path).rulebook.classes_of("NobodyHome") == {"refused"}
    assert load(tmp_path).rulebook.classes_of("ECONNREFUSED") == {"refused"}


def test_own_remedy_takes_the_place_of_the_package_s(tmp_path: Path) -> None:
    look = {"id": "look", "role": "look", "type": "check_config"}
    drop(tmp_path, {"remedies": [{"fault_class": "disk_full", "goal": "Look at {target}", "steps": [look]}]})
    loaded = load(tmp_path).rulebook
    remedy = loaded.remedy("disk_full")
    assert remedy is not None
    assert remedy.goal == "Look at {target}"
    assert len(loaded.remedies) == len(rulebook().remedies)


def test_files_that_are_no_json_files_are_left_alone(tmp_path: Path) -> None:
    drop(tmp_path, "# notes", "README.md")
    assert load(tmp_path).rulebook == rulebook()


ACT = {"id": "act", "role": "act", "type": "restart"}
CONFIRM = {"id": "confirm", "role": "confirm", "type": "check_config"}


def remedy(*steps: dict[str, Any], goal: str = "Mend {target}") -> dict[str, Any]:
    return {"remedies": [{"fault_class": "disk_full", "goal": goal, "steps": list(steps)}]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{\n  oops", "mine.json: line 2, column 3: is no JSON"),
        ('{"rules": [], "rules": []}', "the key 'rules' stands twice"),
        ({"rule": [RULE]}, "rule: is no field; did you mean 'rules'?"),
        ({"rules": [RULE | {"wieght": 1.0}]}, "rules[0] (mine).wieght: is no field; did you mean 'weight'?"),
        ({"rules": [RULE | {"weight": 1.5}]}, "rules[0] (mine).weight: "),
        ({"rules": [RULE | {"signal": "smell"}]}, "rules[0] (mine).signal: "),
        ({"rules": [RULE | {"fault_class": "gremlins"}]}, "rules[0] (mine).fault_class: "),
        ({"rules": [RULE | {"name": "busy"}]}, "a rule of the package of this name already"),
        ({"rules": [RULE, RULE]}, "rules[1] (mine): there is a rule in"),
        ({"rules": [RULE | {"errors": ["refussed"]}]}, "no error class refussed; did you mean 'refused'?"),
        ({"rules": [RULE | {"says": "{who} did it"}]}, "says: {who} stands for nothing"),
        ({"rules": [RULE | {"at_least": 0.9, "at_most": 0.1}]}, "at_least: is more than at_most"),
        ({"rules": [RULE | {"signal": "finding"}]}, "field and equals are missing"),
        ({"rules": [RULE | {"field": "drifted"}]}, "only a rule on findings"),
        ({"rules": [RULE | {"dependency_kinds": ["cache"]}]}, "only counts where the target is the dependency"),
        ({"errors": [{"name": "x", "pattern": "("}]}, "errors[0] (x).pattern: is no regular expression"),
        ({"errors": [{"name": "x", "pattern": "a*"}]}, "matches everything"),
        ({"errors": [{"name": "x", "pattern": "a" * 500}]}, "longer than 400 characters"),
        ({"rules": [RULE | {"log": "["}]}, "rules[0] (mine).log: is no regular expression"),
        ({"without": ["bussy"]}, "no rule bussy; did you mean 'busy'?"),
        (remedy(ACT), "steps[0] (act): acts without a confirmation"),
        (remedy(CONFIRM, ACT | {"when_step": "confirm"}), "half a condition"),
        (
            remedy(CONFIRM, ACT | {"when_step": "confirm", "when_field": "broken", "when_equals": True}),
            "check_config does not tell broken; it tells drifted",
        ),
        (remedy(CONFIRM | {"type": "shell"}), "type: shell is not in the catalogue"),
        (remedy(CONFIRM | {"type": "restart"}), "changes the world: its role is act"),
        (remedy(CONFIRM | {"args": {"force": True}}), "check_config takes no argument 'force'"),
        (remedy(CONFIRM | {"type": "check_logs", "role": "look"}), "check_logs needs the argument pattern"),
        (
            remedy({"id": "a", "role": "look", "type": "check_metrics", "args": {"metric": "mood"}}),
            "steps[0] (a).args.metric: ",
        ),
        (remedy(CONFIRM | {"after": ["later"]}), "after: later is no earlier step"),
        (remedy(CONFIRM, CONFIRM), "stands twice in this remedy"),
        (remedy(CONFIRM, goal="Mend {it}"), "goal: {it} stands for nothing"),
        (remedy(CONFIRM | {"stpe": 1}), "stpe: is no field"),
        ([], "Input should be an object"),
    ],
)
def test_fault_is_named_by_file_place_and_reason(tmp_path: Path, value: object, said: str) -> None:
    drop(tmp_path, value)
    text = refusal(tmp_path)
    assert "the rulebook is refused" in text
    assert "mine.json" in text
    assert said in text


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_bytes(b'{"rules": "\xff"}')
    assert "byte 11: is no UTF-8 text" in refusal(tmp_path)


def test_all_faults_of_all_files_come_at_once_and_fit_on_a_screen(tmp_path: Path) -> None:
    drop(tmp_path, {"rules": [RULE | {"name": f"r{n}", "errors": ["nope"]} for n in range(40)]}, "a.json")
    drop(tmp_path, {"without": ["nothing"]}, "b.json")
    lines = refusal(tmp_path).splitlines()
    assert "41 faults in 2 files" in lines[0]
    assert len(lines) == MAX_SHOWN + 2
    assert lines[-1] == f"  and {41 - MAX_SHOWN} more"


def test_control_characters_of_a_file_never_reach_the_terminal(tmp_path: Path) -> None:
    drop(tmp_path, {"without": ["a"], "rules": [RULE | {"says": "{\x1b[31m}"}]})
    assert "\x1b" not in refusal(tmp_path)


def test_same_rule_in_two_files_is_refused(tmp_path: Path) -> None:
    drop(tmp_path, {"rules": [RULE]}, "a.json")
    drop(tmp_path, {"rules": [RULE]}, "b.json")
    assert "b.json: rules[0] (mine): there is a rule in" in refusal(tmp_path)


def test_remedy_of_two_files_for_one_class_is_refused(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        drop(tmp_path, remedy(CONFIRM), name)
    assert "b.json: remedies[0] (disk_full): a remedy for it stands in" in refusal(tmp_path)


def test_huge_file_and_too_many_files_are_refused(tmp_path: Path) -> None:
    path = drop(tmp_path, " " * 300_000)
    assert "larger than 256 KiB" in refusal(tmp_path)
    path.unlink()
    for number in range(MAX_FILES + 1):
        drop(tmp_path, {}, f"{number}.json")
    with pytest.raises(RulebookError, match="at most 50 are read"):
        own_files(tmp_path)


def test_file_that_is_none_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """A named pipe: who opens it waits for somebody to write."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    said = reading(tmp_path)
    assert "refused, 3 faults in 3 files" in said
    assert said.count(".json: is no regular file") == 2
    assert "gone.json: cannot be read: No such file" in said


def reading(folder: Path) -> str:
    """Return what is said of a folder; where its files are waited for, let go of the reader and say so."""
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(refusal, folder)
        try:
            return said.result(timeout=10)
        except FuturesTimeout:
            os.close(os.open(folder / "pipe.json", os.O_RDWR | os.O_NONBLOCK))
            return "the reader waits"


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rulebook"
    path.write_text("")
    with pytest.raises(RulebookError, match="cannot be read"):
        own_files(path)


def test_files_of_the_package_keep_what_is_asked_of_users() -> None:
    book = rulebook()
    assert list(faults_of_parts(book.errors, book.rules, book.remedies, book.words)) == []
    names = [rule.name for rule in book.rules]
    assert len(set(names)) == len(names)


def test_planner_takes_the_files_of_its_home_and_refuses_to_start_with_a_wrong_one(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "role": "planner"})
    drop(tmp_path / "rulebook", example())
    names = [rule.name for rule in make_machine(settings, shop()).config.rulebook.rules]
    assert names[-1] == "database-turns-clients-away"
    drop(tmp_path / "rulebook", {"rules": [RULE | {"weight": 7}]}, "wrong.json")
    with pytest.raises(RulebookError, match=r"wrong\.json: rules\[0\] \(mine\)\.weight"):
        make_machine(settings, shop())


def test_check_with_another_folder_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(tmp_path / "elsewhere", {"rules": [RULE]})
    monkeypatch.setenv("TRIAGE_RULEBOOK_DIR", str(tmp_path / "elsewhere"))
    settings = Settings.model_validate({"home": tmp_path, "role": "planner"})
    assert make_machine(settings, shop()).config.rulebook.rules[-1].name == "mine"


def test_command_checks_a_file_as_if_it_lay_in_the_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = cli_of(tmp_path, capsys, monkeypatch)
    path = drop(tmp_path, example(), "database.json")
    ran = cli("rulebook", "check", str(path))
    assert ran.code == 0
    assert "1 file is right; it adds database-turns-clients-away" in ran.out
    drop(tmp_path / "rulebook", example(), "older.json")
    cli("rulebook", "check", str(path)).refused(2, "database.json", "there is a rule in", "older.json")
    assert json.loads(cli("rulebook", "check", "--json").out)["rules"].keys() == {"database-turns-clients-away"}
    cli("rulebook", "check", str(tmp_path / "none.json")).refused(3, "none.json is no file")


def test_command_lists_rules_with_where_they_are_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = cli_of(tmp_path, capsys, monkeypatch)
    drop(tmp_path / "rulebook", {"rules": [RULE]})
    listed = json.loads(cli("rulebook", "list", "--json").out)
    assert {rule["name"]: rule["from"] for rule in listed["rules"]}["mine"].endswith("mine.json")
    only = cli("rulebook", "list", "--class", "disk_full").out
    assert "probe-no-space" in only
    assert "busy" not in only
    cli("rulebook", "list", "--class", "sunspots").refused(3, "no class of fault 'sunspots'")


def test_checking_the_same_file_twice_is_checking_it_once(tmp_path: Path) -> None:
    path = drop(tmp_path, {"rules": [RULE]})
    assert "mine" in check([path]).sources
