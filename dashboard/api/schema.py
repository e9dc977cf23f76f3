"""Writes `dashboard/web/openapi.json`, from which the page's client types are made.

`python -m dashboard.api.schema` writes the file; `--check` only compares and ends with 1 if it is out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from dashboard.api.app import Parts, make_api
from dashboard.api.feed import Feed
from dashboard.api.records import Records
from dashboard.api.stack import StackDoor
from harness.control import ControlPlane, connect

PATH = Path(__file__).resolve().parents[1] / "web" / "openapi.json"


def text() -> str:
    """Return the document; no stack is needed, and none is touched."""
    nowhere = Path("/nonexistent")
    stack = StackDoor(nowhere)

    def closed() -> AbstractAsyncContextManager[ControlPlane]:
        return connect(nowhere)

    api = make_api(Parts(Feed(closed), Records(stack.audit_dsn), stack))
    return json.dumps(api.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.api.schema", description="Write the API's description.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if the file is out of date")
    if not parser.parse_args(arguments).check:
        PATH.write_text(text(), encoding="utf-8")
        return 0
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write("dashboard/web/openapi.json is out of date; run `python -m dashboard.api.schema`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
