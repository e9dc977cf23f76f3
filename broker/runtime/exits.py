"""Exit codes of every program of the project."""

from __future__ import annotations

from enum import IntEnum

from broker.errors import (
    BrokerDownError,
    BrokerError,
    DivergenceError,
    KeyringError,
    NotAllowedError,
    SchemaError,
    SettingsError,
)


class Exit(IntEnum):
    """What a program's end means to the one who started it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    VERIFICATION_FAILED = 5
    TIMED_OUT = 6
    DEPENDENCY_DOWN = 7


_CODES: tuple[tuple[type[BaseException], Exit], ...] = (
    (SettingsError, Exit.USAGE),
    (SchemaError, Exit.USAGE),
    (FileNotFoundError, Exit.NOT_FOUND),
    (KeyringError, Exit.REFUSED),
    (NotAllowedError, Exit.REFUSED),
    (BrokerDownError, Exit.DEPENDENCY_DOWN),
    (DivergenceError, Exit.FAILED),
    (BrokerError, Exit.FAILED),
    (TimeoutError, Exit.TIMED_OUT),
)


def exit_code(error: BaseException) -> Exit:
    """Return the exit code that an error stands for; FAILED for what is not foreseen."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)
