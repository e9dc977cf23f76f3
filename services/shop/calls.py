"""HTTP calls from one shop service to another.

Every request has a connection of its own: a link that drops connections is then felt by the request that met it, and
no pool hides or delays a repair.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx

from services.shop.errors import DependencyFailed, RequestRefused

TIMEOUT_S = 1.2
"""Less than the users' patience (1.5 s), more than a callee's own limit (1.0 s): the caller hears why."""
WHOLE_TIMEOUT_S = 1.4
"""For a whole call, whatever its phases took."""
CHECK_TIMEOUT_S = 0.9


class Neighbour:
    """Another service, by the name of the dependency it is."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=0),
            trust_env=False,
            verify=False,  # noqa: S501 - plain HTTP on the loopback; loading certificates would cost memory
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON answer of a good response.

        Raises:
            RequestRefused: the neighbour answered 4xx; same status and text.
            DependencyFailed: it did not answer in time (504), or not at all or with 5xx (502).
        """
        try:
            # httpx counts each phase by itself; without a limit for the whole, requests nobody waits for pile up.
            async with asyncio.timeout(WHOLE_TIMEOUT_S):
                response = await self._client.request(method, path, json=body)
            if 400 <= response.status_code < 500:
                raise RequestRefused(response.status_code, _text(response))
            response.raise_for_status()
            return response.json()
        except httpx.HTTPStatusError as error:
            raise DependencyFailed(self.name, error, 502, _reason(error.response)) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise DependencyFailed(self.name, error, 504) from error
        except (httpx.HTTPError, ValueError) as error:
            raise DependencyFailed(self.name, error, 502) from error

    async def check(self) -> None:
        """Raise unless the neighbour answers HTTP at all. How it feels is its own health's matter: a fault further down
        must not look like a fault of this link."""
        await self._client.get("/healthz", timeout=CHECK_TIMEOUT_S)


def _reason(response: httpx.Response) -> dict[str, Any] | None:
    """Return the reason a neighbour gave in its error answer, or None."""
    try:
        reason = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return reason if isinstance(reason, dict) else None


def _text(response: httpx.Response) -> str:
    reason = _reason(response) or {}
    return str(reason.get("msg", f"{response.status_code} {response.reason_phrase}"))
