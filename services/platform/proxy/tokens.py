"""Which client a token belongs to. Tokens are files, one a client; a file that changes counts at once."""

from __future__ import annotations

import hmac
from pathlib import Path

from services.platform.proxy.policy import CLIENTS, Client

LEAST = 16
"""Shorter tokens are none: an empty file must not open anything."""


class Tokens:
    """The tokens in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def client_of(self, header: str | None) -> Client | None:
        """Return the client that an `Authorization` header stands for, or None."""
        kind, _, given = (header or "").partition(" ")
        if kind.lower() != "bearer":
            return None
        found = None
        for client in CLIENTS:  # all of them, so that the time taken says nothing
            if hmac.compare_digest(self._token(client), given.strip().encode()) and len(given.strip()) >= LEAST:
                found = client
        return found

    def missing(self) -> tuple[Client, ...]:
        """Return the clients that have no token, and so may do nothing."""
        return tuple(client for client in CLIENTS if len(self._token(client)) < LEAST)

    def _token(self, client: Client) -> bytes:
        try:
            return (self._folder / f"{client}.token").read_bytes().strip()
        except OSError:
            return b""
