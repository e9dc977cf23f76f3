"""Prometheus as a source: two range queries over its HTTP API, in a time that leaves the journal enough of its own.

What comes back is judged like any stranger's answer: bounded in length before it is read, in form, time and value.
Nothing of its texts is taken over, only numbers; a reason is told in words of our own.
"""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Literal

import httpx
import stamina
from pydantic import BaseModel, Field, ValidationError

from agents.errors import SourceError
from agents.metric.analysis import Sample
from agents.metric.promql import promql
from agents.metric.source import BASELINE_US, Question, Series, SourceName
from broker.bodies import whole

TIMEOUT_S = 1.5
"""For a whole question, retries included: an order has 10 s, and reading the journal instead may take 8."""
CONNECT_TIMEOUT_S = 0.5
ATTEMPTS = 3
WAIT_S = 0.05
MAX_BYTES = 1_048_576
"""An answer of 500 points has about 15 KB."""
MAX_POINTS = 500
RECENT_STEP_US = 2_000_000
"""The stack's scrape interval: a finer step would repeat values."""
BASELINE_STEP_US = 15_000_000

Point = tuple[float, Annotated[str, Field(max_length=40)]]


class _Line(BaseModel):
    values: Annotated[list[Point], Field(max_length=MAX_POINTS + 2)]


class _Matrix(BaseModel):
    resultType: Literal["matrix"]
    result: Annotated[list[_Line], Field(max_length=1)]


class _Answer(BaseModel):
    status: Literal["success"]
    data: _Matrix


class _Busy(Exception):
    """The server could not answer now (HTTP 5xx)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answers HTTP {status}")


class PrometheusSource:
    """Asks one Prometheus. Holds connections; close it."""

    name: SourceName = "prometheus"

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """
        Args:
            url: where its HTTP API begins, without `/api/v1`. May hold a user and password; it is never shown.
            timeout_s: for a whole question, seconds.
        """
        self._url = f"{url.rstrip('/')}/api/v1/query_range"
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            # A packed answer could grow beyond its bound while it is unpacked.
            headers={"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            trust_env=False,
            verify=url.lower().startswith("https"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def series(self, question: Question) -> Series:
        """Return the look-back and the hour before it.

        Raises:
            SourceError: no query stands for the metric, Prometheus is away, answers wrongly, late or with nothing.
        """
        query = promql(question.device, question.metric)
        since = question.since_us
        try:
            async with asyncio.timeout(self._timeout_s):
                recent = await self._range(query, since, question.time_us, RECENT_STEP_US)
                if not recent:
                    raise SourceError("holds no value of that time")
                before = await self._range(query, since - BASELINE_US, since - BASELINE_STEP_US, BASELINE_STEP_US)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceError(f"does not answer within {self._timeout_s:g} s") from error
        except _Busy as error:
            raise SourceError(str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"cannot be reached ({type(error).__name__})") from error
        return Series(tuple(recent), tuple(before), query)

    async def _range(self, query: str, since_us: int, until_us: int, step_us: int) -> list[Sample]:
        step_us = max(step_us, -(-(until_us - since_us) // MAX_POINTS))
        asked = {"query": query, "start": _seconds(since_us), "end": _seconds(until_us), "step": _seconds(step_us)}
        async for attempt in stamina.retry_context(
            on=(_Busy, httpx.TransportError), attempts=ATTEMPTS, timeout=None, wait_initial=WAIT_S, wait_max=4 * WAIT_S
        ):
            with attempt:
                return samples_of(await self._get(asked), since_us, until_us)
        raise SourceError("cannot be reached")

    async def _get(self, asked: dict[str, str]) -> bytes:
        async with self._client.stream("GET", self._url, params=asked) as response:
            if response.status_code >= 500:
                raise _Busy(response.status_code)
            if response.status_code != 200:
                raise SourceError(f"answers HTTP {response.status_code}")
            too_long = SourceError(f"answers with more than {MAX_BYTES} bytes")
            return await whole(response.aiter_raw(), MAX_BYTES, too_long)


def samples_of(body: bytes, since_us: int, until_us: int) -> list[Sample]:
    """Return the samples of a range query's answer, oldest first. NaN and the infinities are no measurement: a ratio
    of nothing to nothing, a percentile beyond the last bucket.

    Raises:
        SourceError: it is no such answer, or holds values or times that cannot be.
    """
    try:
        answer = _Answer.model_validate_json(body)
        points = [(at, float(value)) for line in answer.data.result for at, value in line.values]
    except (ValidationError, ValueError) as error:
        raise SourceError("answers with something else than a series") from error
    samples = [Sample(round(at * 1_000_000), value) for at, value in points if _is_time(at) and math.isfinite(value)]
    times = [sample.time_us for sample in samples]
    late = any(not since_us - 1_000 <= at <= until_us + 1_000 for at in times)
    if late or times != sorted(set(times)) or not all(_is_time(at) for at, _ in points):
        raise SourceError("answers with times that were not asked for")
    if any(sample.value < 0 for sample in samples):
        raise SourceError("answers with values below zero")
    return samples


def _is_time(at: float) -> bool:
    return math.isfinite(at) and 0 <= at < 1e12


def _seconds(us: int) -> str:
    return f"{us // 1_000_000}.{us % 1_000_000:06d}"
