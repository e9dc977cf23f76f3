"""HTTP calls from one shop service to another.

Every request has a connection of its own: a link that drops connections is then felt by the request that met it, and
no pool hides or delays a repair.
"""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType
from typing import Any, Self

import httpx

from services.shop.errors import DependencyFailed, RequestRefused
from services.shop.settings import ANSWER_MS, Reads

TIMEOUT_S = 1.2
"""Less than the users' patience (1.5 s), more than a callee's own limit (1.0 s): the caller hears why."""
WHOLE_TIMEOUT_S = ANSWER_MS / 1_000
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

    async def read(self, path: str, reads: Reads) -> Any:
        """Return the JSON answer to a GET, which does no harm twice: after a failed or late answer the neighbour is
        asked again, within the time that a single call may take. A refusal is an answer.

        Raises:
            RequestRefused, DependencyFailed: as `call`, by the last attempt.
        """
        left, ends_s = reads.attempts, time.monotonic() + WHOLE_TIMEOUT_S
        while True:
            try:
                whole_s = ends_s - time.monotonic()
                return await self.call("GET", path, late_s=reads.timeout_s, whole_s=whole_s)
            except DependencyFailed:
                left, pause_s = left - 1, reads.pause(random.random())
                if left == 0 or time.monotonic() + pause_s >= ends_s:
                    raise
            await asyncio.sleep(pause_s)

    async def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        late_s: float = WHOLE_TIMEOUT_S,
        whole_s: float = WHOLE_TIMEOUT_S,
    ) -> Any:
        """Return the JSON answer of a good response.

        Args:
            late_s: an answer that took longer is not used. Once asked, no longer is waited for it.
            whole_s: for the call, whatever its phases took.

        Raises:
            RequestRefused: the neighbour answered 4xx; same status and text.
            DependencyFailed: it did not answer in time (504), or not at all or with 5xx (502).
        """
        try:
            # httpx counts each phase by itself; without a limit for the whole, requests nobody waits for pile up.
            async with asyncio.timeout(whole_s):
                response = await self._asked(method, path, body, late_s)
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

    async def _asked(self, method: str, path: str, body: dict[str, Any] | None, late_s: float) -> httpx.Response:
        started_s = time.monotonic()
        timeout = httpx.Timeout(TIMEOUT_S, read=min(late_s, TIMEOUT_S))
        response = await self._client.request(method, path, json=body, timeout=timeout)
        took_s = time.monotonic() - started_s
        if took_s > late_s:  # a busy loop finds answer and time-out at once
            raise TimeoutError(f"{self.name} took {took_s * 1_000:.0f} ms, {late_s * 1_000:.0f} ms are waited for")
        return response

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
