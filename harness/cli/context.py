"""What every command needs: the stack's home, and the way from an error to one sentence and an exit code."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from agents.runbook.errors import StoreError as RunbookStoreError
from auditor_svc.errors import AuditError, ExportError, StoreDownError
from broker.errors import BrokerDownError, BrokerError, JournalFullError, KeyringError, Refusal, SettingsError
from deploy.embedded.errors import AlreadyUpError, HomeError, MissingServerError, NotUpError, PortInUseError, StackError
from harness.errors import HarnessError
from harness.shown import shown_in
from harness.site import outside
from injector.errors import (
    BadArgumentError,
    BadTargetError,
    InjectorError,
    NotHereError,
    NotOpenError,
    UnknownFaultError,
    world_exit_code,
)
from services.inventory.ports import DEFAULT_BASE

ResultT = TypeVar("ResultT")
DEFAULT_HOME = Path("~/.local/state/agentic-triage")
HOME_BESIDE_CONTAINERS = Path("~/.local/state/agentic-triage-docker")
"""What a compose stack's host keeps: fetched recordings. Apart, since an embedded home holds nothing foreign."""
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]

EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownFaultError, 3),
    (NotOpenError, 3),
    (BadTargetError, 2),
    (NotHereError, 4),
    (BadArgumentError, 2),
    (InjectorError, 1),
    (SettingsError, 2),
    (KeyringError, 4),
    (Refusal, 4),
    (JournalFullError, 7),
    (BrokerDownError, 7),
    (BrokerError, 1),
    (NotUpError, 7),
    (AlreadyUpError, 4),
    (PortInUseError, 4),
    (HomeError, 2),
    (MissingServerError, 7),
    (StoreDownError, 7),
    (RunbookStoreError, 7),
    (ExportError, 5),
    (AuditError, 1),
    (OSError, 1),
    (StackError, 1),
)
"""First match wins. An OSError is what the disk said of a file that the user named, or of the home."""


def exit_code(error: Exception) -> int | None:
    """Return the exit code of an error that was foreseen, or None."""
    if isinstance(error, HarnessError):
        return error.exit_code
    if (world := world_exit_code(error)) is not None:
        return world
    own = getattr(error, "exit_code", None)
    if isinstance(own, int) and isinstance(error, StackError):
        return own
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), None)


def sentence(error: Exception) -> str:
    """Return what to tell the user of a foreseen error, and of what else went wrong because of it (its notes)."""
    said = str(error)
    if isinstance(error, OSError) and error.strerror:
        said = f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    return shown_in("; ".join([said, *getattr(error, "__notes__", ())]))


def home() -> Path:
    """Return the stack's home: `--home` (which sets TRIAGE_HOME), else the default."""
    default = HOME_BESIDE_CONTAINERS if outside() else DEFAULT_HOME
    return Path(os.environ.get("TRIAGE_HOME") or default).expanduser().absolute()


def port_base() -> int:
    """Return the first port of a stack to be started: TRIAGE_PORT_BASE or the default."""
    text = os.environ.get("TRIAGE_PORT_BASE") or str(DEFAULT_BASE)
    if not re.fullmatch("[0-9]{1,5}", text) or not 1_024 <= int(text) <= 65_000:
        raise SettingsError(f"TRIAGE_PORT_BASE must be a port number in 1024..65000, not {text[:40]!r}")
    return int(text)


def run(main: Callable[[], Coroutine[Any, Any, ResultT] | Awaitable[ResultT]]) -> ResultT:
    """Run an asynchronous command to its end."""

    async def body() -> ResultT:
        return await main()

    return asyncio.run(body())
