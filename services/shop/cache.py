"""Valkey as the shop uses it. The only module of the shop that imports valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import valkey.asyncio
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as CacheConnectionError
from valkey.exceptions import TimeoutError as CacheTimeoutError
from valkey.exceptions import ValkeyError
from valkey.retry import Retry

TIMEOUT_S = 0.25
"""For connecting and for an answer: a cache that is slower than the database is of no use."""

CacheDown = (CacheConnectionError, CacheTimeoutError, OSError)
"""What is raised when the cache cannot be reached."""
CacheError = ValkeyError
"""Everything the cache's client raises."""


class Cache:
    """A connection pool to one cache."""

    def __init__(self, host: str, port: int) -> None:
        self._client = valkey.asyncio.Valkey(
            host=host,
            port=port,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=50,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep the connections while inside."""
        try:
            yield
        finally:
            await self._client.aclose()

    async def get(self, key: str) -> bytes | None:
        """Return an entry, or None."""
        return cast("bytes | None", await self._client.get(key))

    async def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Store an entry for `ttl_s` seconds."""
        await self._client.set(key, value, ex=ttl_s)

    async def check(self) -> None:
        """Raise what the cache's client raises unless it answers a ping."""
        await self._client.ping()
