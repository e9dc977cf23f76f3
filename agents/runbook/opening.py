"""From settings to a shelf: which folder, which database, which endpoint."""

from __future__ import annotations

from pathlib import Path

from structlog.typing import FilteringBoundLogger

from agents.runbook.database import AuditRecord, DatabaseStore
from agents.runbook.embeddings import Embedder
from agents.runbook.metrics import RunbookMetrics
from agents.runbook.shelf import Shelf
from broker.contracts.inventory import Inventory
from broker.runtime.settings import Settings, first_line


def open_shelf(settings: Settings, inventory: Inventory, metrics: RunbookMetrics, log: FilteringBoundLogger) -> Shelf:
    """Return the shelf that the settings describe; nothing is connected to yet.

    Raises:
        SettingsError: a file that the settings name cannot be read.
    """
    dsn = runbooks_dsn(settings)
    audit = settings.audit_dsn or _line(settings.audit_dsn_file, "the audit store's connection string")
    return Shelf(
        inventory,
        users=settings.runbooks_dir,
        database=DatabaseStore(dsn) if dsn else None,
        audit=AuditRecord(audit) if audit else None,
        embedder=open_embedder(settings),
        metrics=metrics,
        log=log,
    )


def open_embedder(settings: Settings) -> Embedder:
    """Return the client of the endpoint for vectors: the one that is named, else the planner's, which may offer some.

    Raises:
        SettingsError: the key file cannot be read.
    """
    own = settings.embedding_url is not None
    key_file = settings.embedding_key_file or (None if own else settings.model_key_file)
    return Embedder(
        settings.embedding_url or settings.model_url,
        model=settings.embedding_model,
        key=_line(key_file, "the endpoint's key"),
        timeout_s=settings.embedding_timeout_s,
        chosen=own,
    )


def runbooks_dsn(settings: Settings) -> str | None:
    """Return the connection string of the runbooks' database, or None if none is named.

    Raises:
        SettingsError: the file that holds it cannot be read.
    """
    return settings.runbooks_dsn or _line(settings.runbooks_dsn_file, "the runbooks' connection string")


def _line(path: Path | None, what: str) -> str | None:
    return None if path is None else first_line(path, what)
