"""A chain in one file that anyone can verify without the database and without this project.

JSON lines: a head (`format`, `version`), a `row` each (envelope in base64, hashes in hex), a `checkpoint` each, and an
`end` with both counts. No public key stands in it: the one who verifies must have it from elsewhere, or the file would
vouch for itself. `standalone_verify.py` reads the same file.
"""

from __future__ import annotations

import binascii
import json
import os
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TextIO

from auditor_svc.chain import Row
from auditor_svc.errors import ExportError
from broker.contracts.control import Checkpoint
from broker.errors import SchemaError

FORMAT = "agentic-triage-audit"
VERSION = 1


class ChainSource(Protocol):
    """Where a chain is read from; `Store` is one."""

    def snapshot(self) -> AbstractAsyncContextManager[None]: ...

    def stream(self) -> AsyncIterator[list[Row]]: ...

    async def checkpoints(self) -> tuple[Checkpoint, ...]: ...


async def write_export(store: ChainSource, path: Path) -> int:
    """Write the whole chain as it stands at one instant; return its rows. The file appears when it is complete.

    Raises:
        OSError: it cannot be written.
        StoreDownError, StoreRefusedError
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    rows = 0
    try:
        with unfinished.open("w", encoding="ascii") as file:
            _line(file, {"format": FORMAT, "version": VERSION})
            async with store.snapshot():
                async for page in store.stream():
                    rows += len(page)
                    for row in page:
                        _line(file, {"row": _row_out(row)})
                checkpoints = await store.checkpoints()
            for checkpoint in checkpoints:
                _line(file, {"checkpoint": checkpoint.model_dump()})
            _line(file, {"end": {"rows": rows, "checkpoints": len(checkpoints)}})
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def read_rows(path: Path) -> Iterator[Row]:
    """Give the rows of an export in the order of the file.

    Raises:
        ExportError: no export, of another version, damaged or cut; the text names the line.
    """
    for number, line in _lines(path):
        if "row" in line:
            yield _row_in(line["row"], path, number)


def read_checkpoints(path: Path) -> tuple[Checkpoint, ...]:
    """Return the checkpoints of an export.

    Raises:
        ExportError: as `read_rows`; also when the export does not reach its end.
    """
    found, rows, end = [], 0, None
    for number, line in _lines(path):
        rows += "row" in line
        if "checkpoint" in line:
            try:
                found.append(Checkpoint.decode(json.dumps(line["checkpoint"]).encode()))
            except SchemaError as error:
                raise ExportError(f"{path}, line {number}: no checkpoint: {error}") from error
        end = line.get("end", end)
    if end != {"rows": rows, "checkpoints": len(found)}:
        raise ExportError(f"{path} does not hold what its end line says, or has none: it was cut or added to")
    return tuple(found)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = json.loads(text)
            except ValueError as error:
                raise ExportError(f"{path}, line {number}: not JSON; the file is damaged or cut") from error
            if not isinstance(line, dict):
                raise ExportError(f"{path}, line {number}: not an object")
            if number == 1:
                if line.get("format") != FORMAT or line.get("version") != VERSION:
                    raise ExportError(f"{path} is no audit export of version {VERSION}")
                continue
            yield number, line


def _line(file: TextIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, separators=(",", ":")) + "\n")


def _row_out(row: Row) -> list[Any]:
    hashes = (row.envelope_hash.hex(), row.prev_hash.hex(), row.row_hash.hex())
    said = b64encode(row.envelope).decode("ascii")
    return [row.number, row.journal_seq, row.time_us, row.subject, row.verdict, said, *hashes]


def _row_in(values: Any, path: Path, line: int) -> Row:
    try:
        number, seq, time_us, subject, verdict, envelope, body, prev, digest = values
        if not all(type(value) is int for value in (number, seq, time_us)):
            raise ValueError("a number is none")
        hashes = (bytes.fromhex(body), bytes.fromhex(prev), bytes.fromhex(digest))
        return Row(number, seq, time_us, str(subject), str(verdict), b64decode(envelope, validate=True), *hashes)
    except (ValueError, TypeError, binascii.Error) as error:
        raise ExportError(f"{path}, line {line}: no row: {error}") from error
