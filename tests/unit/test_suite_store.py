"""The results folder: what was run is found again, whole or not at all, and nothing else is taken for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import BadRecordingError
from harness.suite.commit import sources
from harness.suite.store import RUNS, Results, name_of, write_whole
from tests.support.suites import key, run, unmeasured


def test_a_run_that_was_kept_is_found_again_as_it_was(tmp_path: Path) -> None:
    results = Results(tmp_path / "new" / "folder")
    for one in (run(), unmeasured(seed=2)):
        results.keep(one)
        assert results.find(one.key) == one
    assert results.find(key(seed=3)) is None


@pytest.mark.parametrize(
    "other", [key(seed=2), key("cache_poison"), key(planner="http://h/v1"), key(commit="abd"), key(commit="abc+1")]
)
def test_another_seed_scenario_planner_or_commit_is_another_run(tmp_path: Path, other: object) -> None:
    results = Results(tmp_path)
    results.keep(run())
    assert results.find(type(run().key).model_validate(other)) is None


def test_planners_whose_names_look_alike_have_files_of_their_own() -> None:
    assert name_of(key(planner="http://h/v1")) != name_of(key(planner="http://h-v1"))


def test_a_name_is_a_plain_file_name_whatever_the_planner_is() -> None:
    name = name_of(key(planner="http://../../etc/passwd\n", commit="a/b"))
    assert "/" not in name
    assert name.isprintable()


def test_a_cut_file_is_refused_by_name(tmp_path: Path) -> None:
    results = Results(tmp_path)
    path = results.keep(run())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadRecordingError, match="is no result of this version") as caught:
        results.find(run().key)
    assert str(path) in str(caught.value)


def test_a_result_of_another_run_under_this_name_is_refused(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.keep(run(seed=2)).rename(tmp_path / RUNS / name_of(run().key))
    with pytest.raises(BadRecordingError, match="another run"):
        results.find(run().key)


def test_what_cannot_be_written_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_written_is_refused_before_the_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Results(tmp_path / "file" / "results")


def checkout(root: Path) -> Path:
    """Make a checkout with one committed file."""
    (root / "harness").mkdir(parents=True)
    (root / "harness" / "run.py").write_text("one\n")
    git = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "m")):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return root


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_change_that_is_not_committed_makes_other_sources_of_a_commit(tmp_path: Path) -> None:
    root = checkout(tmp_path / "ours")
    clean = sources(root)
    assert len(clean) == 12
    (root / "harness" / "run.py").write_text("two\n")
    changed = sources(root)
    assert changed.startswith(f"{clean}+")
    (root / "harness" / "run.py").write_text("three\n")
    assert sources(root) not in (clean, changed)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_source_file_that_git_does_not_know_makes_other_sources_too(tmp_path: Path) -> None:
    root = checkout(tmp_path / "ours")
    clean = sources(root)
    (root / "notes.txt").write_text("no source\n")
    assert sources(root) == clean
    new = root / "harness" / "new.py"
    new.write_text("one\n")
    added = sources(root)
    assert added.startswith(f"{clean}+")
    new.write_text("two\n")
    assert sources(root) not in (clean, added)
    new.unlink()
    (root / "harness" / "run.py").write_text("two\n")
    assert sources(root) not in (clean, added)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_checkout_without_a_commit_claims_none(tmp_path: Path) -> None:
    root = tmp_path / "new"
    (root / "harness").mkdir(parents=True)
    (root / "harness" / "run.py").write_text("one\n")
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True, capture_output=True)
    before = sources(root)
    assert before.startswith("files-")
    (root / "harness" / "run.py").write_text("two\n")
    assert sources(root) != before


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_installed_in_somebody_elses_checkout_the_files_count_and_not_that_commit(tmp_path: Path) -> None:
    installed = checkout(tmp_path / "theirs") / "site-packages"
    (installed / "harness").mkdir(parents=True)
    (installed / "harness" / "run.py").write_text("one\n")
    before = sources(installed)
    assert before.startswith("files-")
    assert sources(installed) == before
    (installed / "harness" / "run.py").write_text("two\n")
    assert sources(installed) != before


def test_in_a_container_without_git_the_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert sources(tmp_path).startswith("files-")
