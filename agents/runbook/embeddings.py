"""Vectors from an OpenAI-compatible endpoint (`POST /embeddings`). Whatever comes back is judged like any stranger's
answer: bounded before it is read, in form, number and value. Anything amiss is one EmbeddingError.

After a failure the endpoint is left alone for a while, so that a dead one costs one time-out and not one per search.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import httpx
import stamina
from pydantic import BaseModel, Field, ValidationError

from agents.runbook.errors import EmbeddingError
from agents.runbook.frontmatter import clean
from broker.bodies import whole

CONNECT_S: Final = 1.0
ATTEMPTS: Final = 2
WAIT_S: Final = 0.05
REST_S: Final = 60.0
"""How long an endpoint that failed is not asked again, seconds."""
MAX_BYTES: Final = 8_388_608
MAX_DIMENSION: Final = 4_096
MAX_BATCH: Final = 16
MAX_NAME: Final = 120
MAX_VALUE: Final = 1e15
MIN_LENGTH: Final = 1e-15
"""The database holds vectors as 4-byte floats and squares and adds them as such; beyond, nothing can be ranked."""
TINY: Final = 1e-37
"""About the smallest 4-byte float; what is smaller is refused by the database, so it is taken as 0."""


class _Model(BaseModel):
    id: Annotated[str, Field(min_length=1, max_length=500)]


class _Models(BaseModel):
    data: Annotated[list[_Model], Field(max_length=1_000)]


class _Row(BaseModel):
    index: Annotated[int, Field(ge=0, lt=MAX_BATCH)]
    embedding: Annotated[list[float], Field(min_length=1, max_length=MAX_DIMENSION)]


class _Rows(BaseModel):
    data: Annotated[list[_Row], Field(max_length=MAX_BATCH)]


class _BusyError(Exception):
    """The server could not answer now (HTTP 5xx but 501)."""


class Embedder:
    """Asks one endpoint. Holds connections; close it."""

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        timeout_s: float = 5.0,
        chosen: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            url: where the endpoint's API begins, `/v1` included.
            model: None takes the first model whose name says that it embeds; with `chosen`, else the first of all.
            key: sent as a bearer token; never shown.
            timeout_s: for a whole request, retries included, seconds.
            chosen: a person named this endpoint for embeddings. One that was only tried, since a model for planning may
                be there, is never made to load or to use a model that was not made for it.
        """
        self._url = url.rstrip("/")
        self._model = model
        self._key = key
        self._timeout_s = timeout_s
        self._chosen = chosen or model is not None
        self._clock = clock
        self._resting_until = 0.0
        self._reason = ""
        self._client = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})},
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            trust_env=False,
            verify=url.lower().startswith("https"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def embed(self, texts: Sequence[str]) -> tuple[str, list[list[float]]]:
        """Return the embedder's name (model and dimension) and one vector for each text, at most MAX_BATCH.

        Raises:
            EmbeddingError: none, in one sentence why; or the endpoint rests after an earlier failure.
        """
        if self.rests:
            raise EmbeddingError(self._reason)
        try:
            async with asyncio.timeout(self._timeout_s):
                model = await self._find_model()
                return self._checked(model, await self._ask(model, texts), len(texts))
        except EmbeddingError as error:
            raise self._rest(str(error)) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._rest(f"the endpoint gives no vectors within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, _BusyError) as error:
            raise self._rest(f"the endpoint for vectors cannot be used ({type(error).__name__})") from error

    @property
    def rests(self) -> bool:
        """Tell whether the endpoint is left alone after a failure: asked now, it would not be asked at all."""
        return self._clock() < self._resting_until

    def _rest(self, reason: str) -> EmbeddingError:
        self._reason = reason
        self._resting_until = self._clock() + REST_S
        return EmbeddingError(reason)

    async def _find_model(self) -> str:
        if self._model is not None:
            return self._model
        try:
            names = [item.id for item in _Models.model_validate_json(await self._send("GET", "models", None)).data]
        except ValidationError as error:
            raise EmbeddingError("the endpoint does not list its models") from error
        fit = [name for name in names if "embed" in name.lower()] or (names if self._chosen else [])
        if not fit:
            raise EmbeddingError("the endpoint lists no model for embeddings")
        return fit[0]

    async def _ask(self, model: str, texts: Sequence[str]) -> list[_Row]:
        body = await self._send("POST", "embeddings", {"model": model, "input": list(texts)})
        try:
            return _Rows.model_validate_json(body).data
        except ValidationError as error:
            raise EmbeddingError("the endpoint answers with something else than vectors") from error

    def _checked(self, model: str, rows: list[_Row], count: int) -> tuple[str, list[list[float]]]:
        by_index = {row.index: row.embedding for row in rows}
        if sorted(by_index) != list(range(count)) or len(rows) != count:
            raise EmbeddingError(f"the endpoint answers {len(rows)} vectors for {count} texts")
        vectors = [by_index[index] for index in range(count)]
        dimensions = {len(vector) for vector in vectors}
        if len(dimensions) != 1 or not all(math.isfinite(value) for vector in vectors for value in vector):
            raise EmbeddingError("the endpoint answers with vectors of different length or values that are no numbers")
        if not all(any(vector) for vector in vectors):
            raise EmbeddingError("the endpoint answers with vectors that point nowhere")
        if not all(MIN_LENGTH <= max(map(abs, vector)) <= MAX_VALUE for vector in vectors):
            raise EmbeddingError("the endpoint answers with values too large or too small to compare")
        vectors = [[value if abs(value) >= TINY else 0.0 for value in vector] for vector in vectors]
        return f"{self._shown(model)[:MAX_NAME]}/{dimensions.pop()}", vectors

    def _shown(self, model: str) -> str:
        """Return a model's name in one line, without the key: an endpoint may list what it was sent."""
        name = clean(model).replace("\n", " ")
        return name.replace(self._key, "***") if self._key else name

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        async for attempt in stamina.retry_context(
            on=(_BusyError, httpx.ConnectError), attempts=ATTEMPTS, timeout=None, wait_initial=WAIT_S, wait_max=WAIT_S
        ):
            with attempt:
                return await self._once(method, path, body)
        raise EmbeddingError("the endpoint for vectors cannot be used")

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        async with self._client.stream(method, f"{self._url}/{path}", json=body) as response:
            if response.status_code >= 500 and response.status_code != 501:
                raise _BusyError
            if response.status_code != 200:
                raise EmbeddingError(f"the endpoint answers HTTP {response.status_code} to a question for vectors")
            too_long = EmbeddingError(f"the endpoint answers with more than {MAX_BYTES} bytes")
            return await whole(response.aiter_raw(), MAX_BYTES, too_long)
