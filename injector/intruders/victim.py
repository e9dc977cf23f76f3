"""What an intruder is told: how its victim is reached, and where it says that its harm is done."""

from __future__ import annotations

import os
from pathlib import Path

TARGET = "TRIAGE_INTRUDER_TARGET"
READY = "TRIAGE_INTRUDER_READY"


def target() -> str:
    """Return a database's connection string, or `host:port`.

    Raises:
        KeyError: nobody said.
    """
    return os.environ[TARGET]


def ready() -> None:
    """Say that the harm is done from now on."""
    Path(os.environ[READY]).touch()
