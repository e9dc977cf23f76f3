"""Writes the JSON Schemas that people use without our code, made from the contracts:

| file | of what |
|---|---|
| `docs/telemetry.json` | telemetry records and log lines |
| `docs/rulebook.json` | a file of one's own rules (docs/rulebook.md) |
| `docs/scenario.json` | a scenario file (docs/scenarios.md) |
| `docs/evaluation.json` | recorded windows, situations and plans of recordings (docs/evaluation.md) |
| `dashboard/web/src/journal/contracts.ts` | every message type's fields; the page's types are held against it |

`python -m deploy.schemas` writes the files; `--check` only compares and ends with 1 if one is out of date.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from broker.contracts.base import Frozen
from broker.contracts.registry import CONTRACTS
from broker.contracts.telemetry import LogLine, Metrics, Telemetry
from harness.evaluation.data import RunPlan, SituationFile, Window
from harness.scenario_model import Scenario
from planner_svc.rulebook_files import RulebookFile

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PATH = DOCS / "telemetry.json"
PAGE = ROOT / "dashboard" / "web" / "src" / "journal" / "contracts.ts"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SPEC = "specification, section 3 (data contracts)"


def document() -> dict[str, Any]:
    """Return the whole document as plain JSON values."""
    return {
        "$comment": "Made from broker/contracts/telemetry.py by `python -m deploy.schemas`; do not edit.",
        "telemetry": _schema(Telemetry, f"{SPEC}: Telemetry JSON schema", (Telemetry, Metrics)),
        "log_line": _schema(LogLine, f"{SPEC}: Log line structure", (LogLine,)),
    }


def rulebook() -> dict[str, Any]:
    """Return the schema of a file of one's own rules."""
    return {
        "$schema": DRAFT,
        "$comment": "Made from planner_svc/core/config.py by `python -m deploy.schemas`; do not edit.",
        **_described(RulebookFile),
    }


def scenario() -> dict[str, Any]:
    """Return the schema of a scenario file."""
    return {
        "$schema": DRAFT,
        "$comment": "Made from harness/scenario_model.py by `python -m deploy.schemas`; do not edit.",
        **_described(Scenario),
    }


def evaluation() -> dict[str, Any]:
    """Return the schemas of the evaluation's files."""
    return {
        "$comment": "Made from harness/evaluation/data.py by `python -m deploy.schemas`; do not edit.",
        "window": {"$schema": DRAFT, **_described(Window)},
        "situations": {"$schema": DRAFT, **_described(SituationFile)},
        "run": {"$schema": DRAFT, **_described(RunPlan)},
    }


def page() -> str:
    """Return the TypeScript that names every message type and its fields: the page's own types are held against it."""
    rows = (
        f'  "{name}": {" | ".join(json.dumps(field) for field in contract.model_fields)};'
        for name, contract in CONTRACTS.items()
    )
    return "\n".join(
        (
            "// Made from broker/contracts by `python -m deploy.schemas`; do not edit.",
            "/** Fields of every message type. */",
            "export interface Contracts {",
            *rows,
            "}",
            "",
        )
    )


def documents() -> dict[Path, str]:
    """Return the text of every file."""
    found = {
        PATH: document(),
        DOCS / "rulebook.json": rulebook(),
        DOCS / "scenario.json": scenario(),
        DOCS / "evaluation.json": evaluation(),
    }
    return {path: _text(value) for path, value in found.items()} | {PAGE: page()}


def text() -> str:
    """Return the text of docs/telemetry.json."""
    return _text(document())


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _described(model: type[Frozen]) -> dict[str, Any]:
    """Return a model's schema with the sentences that stand beside its fields, and those of every model inside it."""
    schema: dict[str, Any] = model.model_json_schema()
    for part in _models(model):
        place = schema if part is model else schema.get("$defs", {}).get(part.__name__)
        for name, sentence in attribute_docstrings(part).items() if place else ():
            alias = part.model_fields[name].alias or name
            if alias in place["properties"]:
                place["properties"][alias]["description"] = sentence
    return schema


def _models(model: type[Frozen]) -> list[type[Frozen]]:
    """Return a model and every model in its fields, each once."""
    found: dict[type[Frozen], None] = {}
    open_: list[Any] = [model]
    while open_:
        item = open_.pop()
        if isinstance(item, type) and issubclass(item, Frozen):
            if item not in found:
                found[item] = None
                open_ += [field.annotation for field in item.model_fields.values()]
        else:
            open_ += get_args(item)
    return list(found)


def _schema(model: type[Frozen], source: str, parts: tuple[type[Frozen], ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {"$schema": DRAFT, "$comment": source, **model.model_json_schema()}
    for part in parts:
        place = schema if part is model else schema["$defs"][part.__name__]
        for name, sentence in attribute_docstrings(part).items():
            place["properties"][name]["description"] = sentence
    return schema


def attribute_docstrings(model: type) -> dict[str, str]:
    """Return the docstring that follows each annotated attribute in a class's source, as one line each."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found: dict[str, str] = {}
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    for statement, after in pairwise(body):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                found[name] = " ".join(sentence.split())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.schemas", description="Write the schemas under docs/.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    stale = [path for path, text_ in documents().items() if not (check and _holds(path, text_))]
    for path in stale:
        if check:
            sys.stderr.write(f"{path.name} is out of date; run `python -m deploy.schemas`\n")
        else:
            path.write_text(documents()[path], encoding="utf-8")
    return 1 if check and stale else 0


def _holds(path: Path, text_: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text_


if __name__ == "__main__":
    sys.exit(main())
