"""Writes docs/telemetry.json: the JSON Schemas of telemetry records and log lines, made from the contracts.

`python -m deploy.schemas` writes the file; `--check` only compares and ends with 1 if the file is out of date.
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
from typing import Any

from broker.contracts.base import Frozen
from broker.contracts.telemetry import LogLine, Metrics, Telemetry

PATH = Path(__file__).resolve().parents[1] / "docs" / "telemetry.json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SPEC = "specification, section 3 (data contracts)"


def document() -> dict[str, Any]:
    """Return the whole document as plain JSON values."""
    return {
        "$comment": "Made from broker/contracts/telemetry.py by `python -m deploy.schemas`; do not edit.",
        "telemetry": _schema(Telemetry, f"{SPEC}: Telemetry JSON schema", (Telemetry, Metrics)),
        "log_line": _schema(LogLine, f"{SPEC}: Log line structure", (LogLine,)),
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


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
    """Write or check the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.schemas", description="Write docs/telemetry.json.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if the file is out of date")
    if parser.parse_args(arguments).check:
        if PATH.is_file() and PATH.read_text(encoding="utf-8") == text():
            return 0
        sys.stderr.write("docs/telemetry.json is out of date; run `python -m deploy.schemas`\n")
        return 1
    PATH.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
