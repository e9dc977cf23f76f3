"""The nightly run: the workflow runs the local command, whose gates are real, and keeps what a suite really writes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from harness.suite.gates import parse
from harness.suite.store import REPORT_HTML, REPORT_JSON, SCORES, SUMMARY

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github" / "workflows" / "nightly.yml").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_workflow_runs_the_local_command_every_night() -> None:
    assert re.search(r'- cron: "\d+ \d+ \* \* \*"', WORKFLOW)
    assert "run: make nightly " in WORKFLOW
    assert re.search(r"^nightly: setup", MAKEFILE, flags=re.MULTILINE)


def test_the_gates_of_the_night_are_gates_and_success_is_one_of_them() -> None:
    line = re.search(r"^NIGHTLY_GATES := (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert line is not None
    words = shlex.split(line[1])
    assert set(words[::2]) == {"--gate"}
    assert {gate.name: gate.bound for gate in parse(words[1::2])}["SR"] == 1.0


def test_the_workflow_keeps_what_a_suite_writes_also_when_a_gate_does_not_hold() -> None:
    kept = set(re.findall(r"results/nightly/(\S+\.(?:json|html|md))$", WORKFLOW, flags=re.MULTILINE))
    assert kept == {SCORES, SUMMARY, REPORT_JSON, REPORT_HTML}
    (nightly,) = re.findall(r"^  nightly:\n(.*?)^  models:", WORKFLOW, flags=re.MULTILINE | re.DOTALL)
    assert nightly.count("if: always()") == 2
