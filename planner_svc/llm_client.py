"""Client of any OpenAI-compatible endpoint: LM Studio, llama.cpp, Ollama, vLLM.

One portable request (`POST /chat/completions` with a json_schema, temperature, seed and a token limit, nothing else),
and the known ways in which endpoints differ are met: no support for response_format (asked again without), errors as
text or as object, a model that is to be found out first, reasoning models whose answer stands in another field, answers
that are cut off, endless or shapeless. Whatever happens comes back as one of three errors; nothing else is raised.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import stamina

from broker.contracts.plan import ChatMessage
from planner_svc.config import ModelSettings
from planner_svc.errors import ModelRefusedError, ModelTimeoutError, ModelUnreachableError

CONNECT_TIMEOUT_S = 1.0
CONNECT_ATTEMPTS = 2
CONNECT_WAIT_S = 0.01
"""Nothing listening must be known at once: the rulebook stands ready."""
GREET_S = 2.0
MAX_BYTES = 1_048_576
MAX_TEXT = 20_000
"""Longest answer kept, in characters."""
MAX_ERROR = 300


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    elapsed_ms: float
    structured: bool
    """False: the endpoint would not take the schema and was asked without."""


class LlmClient:
    """Asks one endpoint. Holds connections; close it, or use it as a context."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._model = settings.name
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {settings.key}"} if settings.key else {},
            timeout=httpx.Timeout(settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
            # The endpoint is spoken to directly: a proxy of the environment must not read prompts.
            trust_env=False,
            verify=settings.url.startswith("https"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def greet(self) -> str:
        """Ask once who is there, so that the first incident finds everything loaded; return it in one sentence."""
        try:
            async with asyncio.timeout(min(GREET_S, self._settings.timeout_s)):
                return f"model {await self._find_model()} at {self._settings.shown_url}"
        except (ModelRefusedError, httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return f"no model at {self._settings.shown_url} yet ({_name(error)}); the rulebook decides meanwhile"

    @property
    def model(self) -> str:
        """Return the model that is asked, as far as it is known."""
        return self._model or ""

    async def ask(self, messages: Sequence[ChatMessage], name: str, schema: dict[str, Any]) -> Completion:
        """Return the model's answer to a conversation, if possible in the form of `schema`.

        Raises:
            ModelUnreachableError, ModelTimeoutError, ModelRefusedError: no whole answer within `timeout_s`, and why.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._ask(messages, name, schema, started)
        except (TimeoutError, httpx.TimeoutException) as error:
            seconds = self._settings.timeout_s
            raise ModelTimeoutError(f"no whole answer from {self._settings.shown_url} within {seconds:g} s") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ModelUnreachableError(f"{self._settings.shown_url} is not reachable: {_name(error)}") from error
        except httpx.HTTPError as error:
            raise ModelRefusedError(f"{self._settings.shown_url} does not speak proper HTTP: {_name(error)}") from error

    async def _ask(
        self, messages: Sequence[ChatMessage], name: str, schema: dict[str, Any], started: float
    ) -> Completion:
        model = await self._find_model()
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in messages],
            "temperature": self._settings.temperature,
            "seed": self._settings.seed,
            "max_tokens": self._settings.max_tokens,
            "stream": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
        status, answer = await self._send("POST", "chat/completions", body | {"response_format": form})
        structured = not (status == 400 and "response_format" in _complaint(answer))
        if not structured:
            status, answer = await self._send("POST", "chat/completions", body)
        if status != 200 or not isinstance(answer, dict) or "error" in answer:
            if self._settings.name is None:
                self._model = None  # another model may be loaded by the next time
            raise ModelRefusedError(f"the endpoint answered HTTP {status}: {_complaint(answer)}")
        return self._completion(answer, model, structured, started)

    async def _find_model(self) -> str:
        """Return the configured model, or the first one that the endpoint lists; asked once."""
        if self._model is None:
            status, answer = await self._send("GET", "models", None)
            models = answer.get("data") if isinstance(answer, dict) else None
            first = models[0] if isinstance(models, list) and models else None
            name = first.get("id") if isinstance(first, dict) else None
            if status != 200 or not isinstance(name, str) or not name:
                raise ModelRefusedError(f"the endpoint lists no model (HTTP {status}): {_complaint(answer)}")
            self._model = _clean(name)[:200]
        return self._model

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """Return status and parsed body (text where it is no JSON). Only connecting is tried again: a request that may
        have arrived costs the model's time."""
        url = f"{self._settings.url}/{path}"
        async for attempt in stamina.retry_context(
            on=_may_pass,
            attempts=CONNECT_ATTEMPTS,
            timeout=None,
            wait_initial=CONNECT_WAIT_S,
            wait_max=CONNECT_WAIT_S,
            wait_jitter=0.0,
        ):
            with attempt:
                async with self._client.stream(method, url, json=body) as response:
                    return response.status_code, _parsed(await _read(response))
        raise ModelUnreachableError(f"{self._settings.shown_url} is not reachable")

    def _completion(self, answer: dict[str, Any], model: str, structured: bool, started: float) -> Completion:
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        message = choice.get("message")
        if not isinstance(message, dict):
            raise ModelRefusedError("the endpoint's answer holds no message")
        if choice.get("finish_reason") == "length":
            raise ModelRefusedError(f"the answer was cut off after {self._settings.max_tokens} tokens")
        # With a schema, some servers put a reasoning model's whole answer beside an empty content.
        fields = (message.get(field) for field in ("content", "reasoning_content", "reasoning"))
        text = next((field for field in fields if isinstance(field, str) and field.strip()), None)
        if text is None:
            raise ModelRefusedError("the answer is empty")
        usage = answer.get("usage")
        said = answer.get("model")
        return Completion(
            text=_clean(text)[:MAX_TEXT],
            model=_clean(said)[:200] if isinstance(said, str) and said else model,
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            elapsed_ms=(time.monotonic() - started) * 1_000,
            structured=structured,
        )


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ModelRefusedError(f"the endpoint's answer is longer than {MAX_BYTES} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[: 4 * MAX_ERROR].decode(errors="replace")


def _complaint(answer: Any) -> str:
    """Return what an endpoint complains about: `{"error": "text"}`, `{"error": {"message": …}}`, or plain text."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    text = error.get("message", error) if isinstance(error, dict) else error
    return _clean(text if isinstance(text, str) else json.dumps(text))[:MAX_ERROR]


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate from an escaped answer cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _name(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()[:MAX_ERROR]


def _may_pass(error: Exception) -> bool:
    """Tell whether connecting again has a chance: not where something answered that nothing listens."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ConnectionRefusedError):
            return False
        link = link.__cause__ or link.__context__
    return isinstance(error, httpx.ConnectError)


def _count(usage: Any, field: str) -> int:
    value = usage.get(field) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


@asynccontextmanager
async def open_client(settings: ModelSettings) -> AsyncIterator[LlmClient]:
    """Give a client and close it afterwards."""
    client = LlmClient(settings)
    try:
        yield client
    finally:
        await client.close()
