"""Errors of a database driver in a package's own words: which pass by themselves, and which need people.

The driver comes in as a value, since each package imports it in one place only (`.importlinter`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Words:
    """How a package speaks of its database."""

    database: str
    """As a sentence begins with it: `the audit database`."""
    login: str
    """What is said of a login or an address that is not taken: `refuses the login`."""
    down: type[Exception]
    """Cannot be asked, or broke off; worth trying again."""
    refused: type[Exception]
    """Answers and refuses; trying again does not help."""
    whole: bool
    """Say the driver's own sentence too where nothing was reached or the login was not taken, not only a name."""


def passing(driver: Any) -> tuple[type[Exception], ...]:
    """Return what passes by itself or after people made room: restarts, broken connections, a full disk, too many
    connections. `driver` is the module asyncpg."""
    return (
        driver.PostgresConnectionError,
        driver.InterfaceError,
        driver.CannotConnectNowError,
        driver.OperatorInterventionError,
        driver.InsufficientResourcesError,
        driver.TransactionRollbackError,
        OSError,
        TimeoutError,
    )


@contextmanager
def translated(driver: Any, words: Words) -> Iterator[None]:
    """Say the driver's errors of a block in a package's words.

    Raises:
        Exception: `words.refused` or `words.down`; what is no error of the database passes through.
    """
    try:
        yield
    except (driver.ClientConfigurationError, driver.InvalidAuthorizationSpecificationError) as error:
        raise words.refused(f"{words.database} {words.login}: {_told(error, words)}") from error
    except passing(driver) as error:
        raise words.down(f"{words.database} cannot be used: {_told(error, words)}") from error
    except driver.PostgresError as error:
        raise words.refused(f"{words.database} refuses: {type(error).__name__}: {error}") from error


def _told(error: BaseException, words: Words) -> str:
    return f"{type(error).__name__}: {error}" if words.whole else type(error).__name__
