"""What the CLI writes: results to standard output, everything else to standard error; JSON where it is asked for."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def emit_json(value: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def emit_json_line(value: object) -> None:
    """Write one JSON object as a line, at once: for streams."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(value: object) -> Any:
    """Return a value as JSON types: dataclasses and contracts as objects, bytes as hex, NaN refused by json itself."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if not f.name.startswith("_")}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def age(since: datetime | None) -> float | None:
    """Return how long ago something was, seconds."""
    return None if since is None else (datetime.now(UTC) - since).total_seconds()


def seconds(value: float | None) -> str:
    """Return a span for people: `850 ms`, `12.3 s`, or a dash."""
    if value is None:
        return "-"
    return f"{value * 1_000:.0f} ms" if abs(value) < 1 else f"{value:.1f} s"
