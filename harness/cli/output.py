"""What the CLI writes: results to standard output, everything else to standard error; JSON where it is asked for."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from harness.terminal import DRIVING, visible


class Terminal(Console):
    """A console that shows what would drive the terminal instead of passing it on: the last place that all text passes.
    Styles and the cursor's movements, which are ours, are made after it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render to segments, as rich does, each with its text made visible."""
        for segment in super().render(renderable, options):
            plain_text = segment.control or not DRIVING.search(segment.text)
            yield segment if plain_text else Segment(visible(segment.text), segment.style)


# On a terminal lines wrap at words; a pipe gets every line whole.
out = Terminal(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Terminal(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries log off standard output, which is for results: errors to standard error, retries nowhere."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def emit_json(value: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def emit_json_line(value: object) -> None:
    """Write one JSON object as a line, at once: for streams."""
    sys.stdout.write(_json(value, indent=None) + "\n")
    sys.stdout.flush()


def _json(value: object, *, indent: int | None) -> str:
    """Return JSON with every character that drives a terminal in JSON's own escape: it stands for the same text."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    return DRIVING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


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
    """Return a span for people: `850 ms`, `12.3 s`, `4 min 10 s`, `3 h 5 min`, or a dash."""
    if value is None:
        return "-"
    if abs(value) < 1:
        return f"{value * 1_000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def working(what: str) -> Iterator[Callable[[str, str], None]]:
    """Show on a terminal that something goes on; gives a function that says what. A pipe gets nothing."""
    if not err.is_terminal:
        yield lambda _name, _what: None
        return
    with err.status(what) as status:
        yield lambda name, step: status.update(f"{what}: {escape(name)}: {escape(step)}")


def grid(*headings: str) -> Table:
    """Return an empty table for people, no wider than it must be."""
    return Table(*headings, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
