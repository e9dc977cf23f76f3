"""What the links do, on disk: a restarted proxy goes on with a live fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from services.platform.fault_port import LinkFault
from services.platform.links.model import OK, parse_fault


def load_faults(path: Path) -> dict[str, LinkFault]:
    """Return the fault of each link that is not ok; a missing or damaged file means that all are ok."""
    try:
        rows = json.loads(path.read_bytes())
        return {str(name): parse_fault(row) for name, row in rows.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def save_faults(path: Path, faults: Mapping[str, LinkFault]) -> None:
    """Replace the file as a whole.

    Raises:
        OSError: it cannot be written; the old one stands.
    """
    rows = {name: asdict(fault) for name, fault in faults.items() if fault != OK}
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(rows), encoding="utf-8")
    draft.replace(path)
