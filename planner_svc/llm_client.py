"""Client of any OpenAI-compatible endpoint: LM Studio, Ollama, llama.cpp, vLLM.

One portable request (`POST /chat/completions` with a json_schema, temperature, seed and a token limit, nothing else),
and the known ways in which endpoints differ are met: a model that is to be found out first (`llm_discovery.py`), is
still loading or was unloaded since, no support for response_format (asked again without, and remembered), errors in
several shapes, answers that stand in another field, come as a stream, are cut off, endless or shapeless
(`llm_endpoint.py`, `llm_stream.py`, `llm_completion.py`). Whatever happens comes back as one of three errors; nothing
else is raised, and nothing takes longer than its time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from broker.contracts.plan import ChatMessage
from planner_svc.config import ModelSettings
from planner_svc.errors import ModelError, ModelRefusedError, ModelTimeoutError, ModelUnreachableError
from planner_svc.llm_completion import Completion, completion
from planner_svc.llm_discovery import Found, find
from planner_svc.llm_endpoint import Clock, Endpoint, Reply

__all__ = ["Completion", "LlmClient", "open_client"]

GREET_S = 2.0
_NO_SCHEMA = re.compile(r"response_format|json.?schema|grammar|guided|structured", re.IGNORECASE)
_REFUSES_SCHEMA = (400, 422, 501)


class LlmClient:
    """Asks one endpoint. Holds connections; close it, or use it as a context."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._model = settings.name
        self._endpoint = Endpoint(settings)
        self._without_schema: set[tuple[str, str]] = set()
        """Model and name of each schema that the endpoint would not take."""

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    @property
    def model(self) -> str:
        """Return the model that is asked, as far as it is known."""
        return self._model or ""

    async def greet(self) -> str:
        """Ask once who is there and return it in one sentence."""
        try:
            model = self._settings.name or (await self.discover(min(GREET_S, self._settings.timeout_s))).name
        except ModelError as error:
            return f"no model at {self._settings.shown_url} yet ({error}); the rulebook decides meanwhile"
        return f"model {model} at {self._settings.shown_url}"

    async def discover(self, timeout_s: float) -> Found:
        """Return the model that is loaded, whatever is configured; waits for one that is loading.

        Raises:
            ModelUnreachableError, ModelTimeoutError, ModelRefusedError: none was found within the time, and why.
        """
        clock = Clock(timeout_s)
        async with self._bounded(clock):
            return await self._discover(clock)

    async def ask(
        self,
        messages: Sequence[ChatMessage],
        name: str,
        schema: dict[str, Any],
        *,
        max_tokens: int | None = None,
        timeout_s: float | None = None,
    ) -> Completion:
        """Return the model's answer to a conversation, if possible in the form of `schema`.

        Args:
            name: of the schema; an endpoint's trouble with it is remembered by this name.
            max_tokens: of the answer; `timeout_s`: for everything; those of the settings unless given.

        Raises:
            ModelUnreachableError, ModelTimeoutError, ModelRefusedError: no whole answer within the time, and why.
        """
        limit = max_tokens or self._settings.max_tokens
        clock = Clock(timeout_s or self._settings.timeout_s)
        async with self._bounded(clock):
            reply, model, structured = await self._answer(messages, name, schema, limit, clock)
            elapsed_ms = clock.elapsed_ms()
            done = completion(reply, asked=model, structured=structured, max_tokens=limit, elapsed_ms=elapsed_ms)
        # Once more: a text that came in parts may quote the key across them.
        return replace(done, text=self._endpoint.without_secrets(done.text))

    async def warm(self, messages: Sequence[ChatMessage], timeout_s: float) -> float:
        """Let the endpoint load its model and read a conversation whose beginning it will be sent again; return the
        seconds it took. What it answers, one token, is of no interest.

        Raises:
            ModelUnreachableError, ModelTimeoutError, ModelRefusedError: it was not done within the time, and why.
        """
        clock = Clock(timeout_s)
        async with self._bounded(clock):
            model = self._model or (await self._discover(clock)).name
            reply = await self._endpoint.post("chat/completions", {"model": model, **self._body(messages, 1)}, clock)
        if not reply.is_answer:
            self._model = self._settings.name
            raise ModelRefusedError(reply.sentence())
        return clock.elapsed_ms() / 1_000

    @asynccontextmanager
    async def _bounded(self, clock: Clock) -> AsyncIterator[None]:
        """Keep an exchange within its time; turn whatever goes wrong into the three errors."""
        where = self._settings.shown_url
        try:
            async with asyncio.timeout(clock.seconds):
                yield
        except ModelError:
            raise
        except (TimeoutError, httpx.TimeoutException) as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise ModelUnreachableError(f"{where} is not reachable: nobody takes the connection") from error
            last = f"; {clock.waited_for}" if clock.waited_for else ""
            raise ModelTimeoutError(f"no whole answer from {where} within {clock.seconds:g} s{last}") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ModelUnreachableError(f"{where} is not reachable: {self._endpoint.reason(error)}") from error
        except httpx.HTTPError as error:
            raise ModelRefusedError(f"{where} does not speak proper HTTP: {self._endpoint.reason(error)}") from error
        except Exception as error:
            # Whatever a stranger's answer may bring about in here, it ends no process.
            raise ModelRefusedError(f"asking {where} failed: {self._endpoint.reason(error)}") from error

    async def _answer(
        self, messages: Sequence[ChatMessage], name: str, schema: dict[str, Any], max_tokens: int, clock: Clock
    ) -> tuple[Reply, str, bool]:
        """Return the reply with the model and whether it was held to the schema."""
        model = self._model or (await self._discover(clock)).name
        body = self._body(messages, max_tokens)
        reply, structured = await self._post(body, model, name, schema, clock)
        if reply.status == 404 and self._settings.name is None:
            # Unloaded since it was found. Asking for the same again would not bring it back.
            found = (await self._discover(clock)).name
            if found != model:
                model = found
                reply, structured = await self._post(body, model, name, schema, clock)
        if not reply.is_answer:
            self._model = self._settings.name  # another one may be loaded by the next time
            raise ModelRefusedError(reply.sentence())
        return reply, model, structured

    async def _post(
        self, body: dict[str, Any], model: str, name: str, schema: dict[str, Any], clock: Clock
    ) -> tuple[Reply, bool]:
        """Ask with the schema, and without where that is what the endpoint complains about."""
        body = {"model": model, **body}
        if (model, name) in self._without_schema:
            return await self._endpoint.post("chat/completions", body, clock), False
        form = {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
        reply = await self._endpoint.post("chat/completions", body | {"response_format": form}, clock)
        if reply.status not in _REFUSES_SCHEMA or not _NO_SCHEMA.search(reply.complaint):
            return reply, True
        plain = await self._endpoint.post("chat/completions", body, clock)
        if plain.is_answer:
            self._without_schema.add((model, name))
        return plain, False

    def _body(self, messages: Sequence[ChatMessage], max_tokens: int) -> dict[str, Any]:
        return {
            "messages": [{"role": turn.role, "content": turn.content} for turn in messages],
            "temperature": self._settings.temperature,
            "seed": self._settings.seed,
            "max_tokens": max_tokens,
            "stream": False,
        }

    async def _discover(self, clock: Clock) -> Found:
        found = await find(self._endpoint, clock)
        self._model = self._settings.name or found.name
        return found


@asynccontextmanager
async def open_client(settings: ModelSettings) -> AsyncIterator[LlmClient]:
    """Give a client and close it afterwards."""
    client = LlmClient(settings)
    try:
        yield client
    finally:
        await client.close()
