"""The client that takes every connection of a database: it knows when it has them all, and says what else failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from injector.intruders import connections
from injector.intruders.victim import READY, TARGET


class Session:
    """A session that stands."""

    async def run(self, _statement: str) -> None:
        pass

    async def holds(self, _statement: str) -> bool:
        return False


def server(monkeypatch: pytest.MonkeyPatch, gives: int, then: Exception) -> None:
    """Have a database that gives so many sessions, and then says something."""
    left = iter(range(gives))

    @asynccontextmanager
    async def administration(_dsn: str, _database: str) -> AsyncIterator[Session]:
        if next(left, None) is None:
            raise then
        yield Session()

    monkeypatch.setattr(connections, "administration", administration)
    monkeypatch.setenv(TARGET, "postgresql://shop-db")


@pytest.mark.asyncio
@pytest.mark.parametrize("words", ["sorry, too many clients already", "remaining connection slots are reserved"])
async def test_it_has_them_all_once_the_server_says_so(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    server(monkeypatch, 3, asyncpg.TooManyConnectionsError(words))
    async with AsyncExitStack() as stack:
        assert len(await connections.take(stack)) == 3


@pytest.mark.parametrize(
    ("gives", "error"),
    [
        (0, ConnectionRefusedError("nobody listens")),
        (0, asyncpg.InvalidPasswordError("password authentication failed")),
        (3, TimeoutError("no answer in time")),
        (3, asyncpg.CannotConnectNowError("the database system is shutting down")),
    ],
)
def test_what_else_stops_it_is_said_and_no_harm_is_claimed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gives: int, error: Exception
) -> None:
    server(monkeypatch, gives, error)
    monkeypatch.setenv(READY, str(tmp_path / "ready"))
    with pytest.raises(SystemExit) as ended:
        connections.main()
    assert str(ended.value.code) == (
        f"report-export: the connections of the database could not be held: {type(error).__name__}: {error}"
    )
    assert not (tmp_path / "ready").exists()
