"""`python -m deploy.grafana` writes the dashboards' JSON; `--check` only compares, 1 if a file is out of date."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.grafana import control, jetstream, shop
from deploy.grafana.panels import Dashboard, as_json

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS: dict[str, Dashboard] = {
    "shop.json": shop.DASHBOARD,
    "control-plane.json": control.DASHBOARD,
    "jetstream.json": jetstream.DASHBOARD,
}


def text_of(dashboard: Dashboard) -> str:
    """Return the file's text."""
    return json.dumps(as_json(dashboard), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana", description="Write the dashboards.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    for name, dashboard in DASHBOARDS.items():
        path, text = FOLDER / name, text_of(dashboard)
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{name} is out of date; run `python -m deploy.grafana`\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
