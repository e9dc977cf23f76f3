"""Where the doors of a running stack are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from broker.contracts.inventory import Inventory
from broker.errors import SchemaError
from deploy.embedded.layout import Layout, layout
from deploy.embedded.programs import Plan
from deploy.embedded.status import StackRecord
from deploy.embedded.vault import ensure_secrets
from harness.errors import StackDownError
from services.inventory.declared import HOST
from services.inventory.ports import port


@dataclass(frozen=True, slots=True)
class Site:
    """Addresses of one stack. `audit_dsn` holds a password: it is never shown."""

    layout: Layout
    inventory: Inventory
    nats_url: str
    audit_dsn: str

    @property
    def checkpoints(self) -> Path:
        """The auditor's own copy of its signed checkpoints, outside the database."""
        return self.layout.root / "audit-checkpoints.jsonl"


def open_site(home: Path) -> Site:
    """Return the addresses of the stack under `home`.

    Raises:
        StackDownError: no stack is up there.
    """
    place = layout(home)
    try:
        record = StackRecord.decode(place.stack.read_bytes())
        inventory = Inventory.decode(place.inventory.read_bytes())
    except (OSError, SchemaError) as error:
        raise StackDownError(f"no stack is up under {home}; start one with: triage up") from error
    plan = Plan(place, record.port_base, ensure_secrets(place.secrets), record.schedulers, record.roles)
    return Site(place, inventory, f"nats://{HOST}:{port(record.port_base, 'nats')}", plan.audit_dsn)


def is_up(home: Path) -> bool:
    """Tell whether a stack was brought up under `home` and its process manager still lives."""
    try:
        record = StackRecord.decode(layout(home).stack.read_bytes())
        os.kill(record.supervisord_pid, 0)
    except (OSError, SchemaError):
        return False
    return True
