"""How the proxy listens: to many callers at a time, to none of them for ever, and to no address alone.

Whoever reaches the port may open connections, with or without a token. Outside of a call that is being carried out, a
connection has `PATIENCE_S` to hand its next call in whole and to take what it was answered; then it is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S: Final = 10.0
CALLERS: Final = 64
"""Connections that are served at a time; who comes on top is told so (503)."""
CALLERS_OF_ONE_ADDRESS: Final = 32
"""Connections of one address; who comes on top is cut off, and the others are still served."""


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol, which by itself waits for ever for a first call, for a body, and for who takes no answer."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a call."""
        super().connection_made(transport)
        if sum(other.address == self.address for other in self._all()) > CALLERS_OF_ONE_ADDRESS:
            transport.abort()
        self._wait()

    @property
    def address(self) -> str | None:
        """Return the caller's address."""
        return self.client[0] if self.client else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Rest once a whole call is here."""
        super().data_received(data)
        self._reconsider()

    def on_response_complete(self) -> None:
        """Wait until the answer is taken and the next call is here."""
        super().on_response_complete()
        self._rest()
        self._reconsider()

    def pause_writing(self) -> None:
        """Wait for a caller who does not take his answer."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """He does."""
        super().resume_writing()
        self._rest()
        self._reconsider()

    def _all(self) -> Iterable[PatientProtocol]:
        return (other for other in self.connections if isinstance(other, PatientProtocol))

    def _reconsider(self) -> None:
        carried_out = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        if carried_out and not self.flow.write_paused:
            self._rest()
        else:
            self._wait()

    def _wait(self) -> None:
        if self._deadline is None:
            # not close(): that would first wait until everything written is taken
            self._deadline = self.loop.call_later(PATIENCE_S, self.transport.abort)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def configured(app: Starlette, *, grace_s: int, **more: Any) -> uvicorn.Config:
    """Return how an application is served.

    Args:
        grace_s: seconds that running calls have to end after the server was told to.
        more: of uvicorn's own.
    """
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        limit_concurrency=CALLERS,
        timeout_graceful_shutdown=grace_s,
        **more,
    )
