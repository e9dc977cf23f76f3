"""One OpenAI-compatible endpoint over HTTP: a request goes out, one bounded and parsed reply comes back.

Nothing here knows what a plan is. Bodies are bounded in bytes; redirects are not followed and compressed bodies are not
unpacked, so that a key goes nowhere else and a small body cannot become a large one; what an endpoint says of itself is
shown without the key it may quote.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx
import stamina

from broker.bodies import whole
from planner_svc.config import ModelSettings
from planner_svc.errors import ModelRefusedError, ModelUnreachableError
from planner_svc.llm_stream import EVENT_STREAM, gather

CONNECT_TIMEOUT_S = 0.9
CONNECT_ATTEMPTS = 2
"""Together under 2 s: nothing listening must be known soon, for the rulebook stands ready."""
CONNECT_WAIT_S = 0.01
MAX_BYTES = 1_048_576
"""Longest body that is read; a stream, whose tokens come wrapped one by one, has its own limit."""
MAX_ERROR = 300
MAX_RETRY_AFTER_S = 86_400.0
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 2.0
"""Between two questions to a server that is still loading its model or busy, where it does not say how long."""


class Clock:
    """How long one exchange may take, and what it has waited for so far."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waited_for = ""
        self._started = time.monotonic()

    def elapsed_ms(self) -> float:
        """Return milliseconds since the beginning."""
        return (time.monotonic() - self._started) * 1_000

    def left(self) -> float:
        """Return the seconds that are left, below 0 when time is over."""
        return self._started + self.seconds - time.monotonic()


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered."""

    status: int
    body: Any
    """Parsed JSON, or the text where it is none; without the key."""
    media: str
    """Media type, lower case, empty where the endpoint names none."""
    retry_after_s: float | None
    """When the endpoint asks to be asked again, in so many seconds."""
    complaint: str
    """What it complains about, in its own words, without the key."""
    streamed: bool = False

    @property
    def is_answer(self) -> bool:
        """Tell whether this is a JSON object that reports no error."""
        return self.status == 200 and isinstance(self.body, dict) and not self.body.get("error")

    @property
    def is_passing(self) -> bool:
        """Tell whether asking again later has a chance: too many questions, or a model that is loading."""
        if self.status == 503:
            return self.retry_after_s is not None or any(word in self.complaint.lower() for word in ("loading", "busy"))
        return self.status == 429

    def sentence(self) -> str:
        """Return what was answered, for people."""
        if self.status == 200 and isinstance(self.body, str) and self.media not in ("", "application/json"):
            return f"the endpoint answered with {self.media}, which is no completion: {self.complaint}"
        return f"the endpoint answered HTTP {self.status}: {self.complaint or 'it says no more'}"


class Endpoint:
    """Holds the connections to one endpoint; close it. Callers bound the time."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                **({"authorization": f"Bearer {settings.key}"} if settings.key else {}),
            },
            timeout=httpx.Timeout(None, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
            # The endpoint is spoken to directly: a proxy of the environment must not read prompts.
            trust_env=False,
            verify=settings.url.lower().startswith("https"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def is_versioned(self) -> bool:
        """Tell whether the address is of the usual form."""
        return self._settings.url.endswith("/v1")

    async def get(self, path: str, clock: Clock) -> Reply:
        """Return the reply to a GET of `path` under the OpenAI base URL, as `post` does."""
        return await self._patiently("GET", path, None, clock)

    async def get_native(self, path: str) -> Reply:
        """Return the reply to a GET of `path` beside the OpenAI base URL, where servers keep interfaces of theirs."""
        return await self._send("GET", f"{self._settings.url.removesuffix('/v1')}/{path}", None)

    async def post(self, path: str, body: dict[str, Any], clock: Clock) -> Reply:
        """Return the reply to a POST of a JSON body; one that says to come back later only where that is too late.

        Raises:
            ModelRefusedError: the body of the reply is too long or compressed.
            httpx.HTTPError, httpx.InvalidURL: as httpx says.
        """
        return await self._patiently("POST", path, body, clock)

    async def _patiently(self, method: str, path: str, body: dict[str, Any] | None, clock: Clock) -> Reply:
        """Ask again while the server is busy or loads its model, as long as there is time for it."""
        wait_s = FIRST_WAIT_S
        while True:
            reply = await self._send(method, f"{self._settings.url}/{path}", body)
            asked_s = reply.retry_after_s or 0.0
            if not reply.is_passing or (asked_s and asked_s >= clock.left()):
                return reply
            clock.waited_for = reply.sentence()
            await asyncio.sleep(max(wait_s, asked_s))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _send(self, method: str, url: str, body: dict[str, Any] | None) -> Reply:
        """Only connecting is tried again: a request that may have arrived costs the model's time."""
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
                    return await self._reply(response)
        raise ModelUnreachableError(f"{self._settings.shown_url} is not reachable")

    async def _reply(self, response: httpx.Response) -> Reply:
        media = self._header(response, "content-type").partition(";")[0].strip().lower()[:80]
        coding = self._header(response, "content-encoding").strip().lower()
        if coding not in ("", "identity"):
            raise ModelRefusedError(f"the endpoint answered in the coding {coding[:20]!r}, which was not asked for")
        streamed = media == EVENT_STREAM and response.status_code == 200
        said = await gather(response.aiter_raw()) if streamed else _parsed(await _read(response))
        try:
            body = self._blanked(said)
        except RecursionError:
            raise ModelRefusedError("the endpoint's answer is nested deeper than any answer") from None
        return Reply(
            status=response.status_code,
            body=body,
            media=media,
            retry_after_s=_seconds(response.headers.get("retry-after")),
            complaint=_complaint(body)[:MAX_ERROR],
            streamed=streamed,
        )

    def _header(self, response: httpx.Response, name: str) -> str:
        return self.without_secrets(response.headers.get(name, ""))

    def _blanked(self, said: Any) -> Any:
        """Return what was said without secrets, wherever they stand: before anything is taken out of it, cut or stored.

        Raises:
            RecursionError: it is nested deeper than any answer.
        """
        if isinstance(said, str):
            return self.without_secrets(clean(said))
        if isinstance(said, dict):
            return {self.without_secrets(clean(name)): self._blanked(value) for name, value in said.items()}
        return [self._blanked(value) for value in said] if isinstance(said, list) else said

    def without_secrets(self, text: str) -> str:
        """Return text without the key and without the user and password of the URL: an endpoint, or a library's error,
        may quote them."""
        settings = self._settings
        if settings.key:
            text = text.replace(settings.key, "***")
        return text.replace(settings.url, settings.shown_url) if settings.url in text else text

    def reason(self, error: Exception) -> str:
        """Return an error's name and words, short and without secrets."""
        return self.without_secrets(f"{type(error).__name__} {error}".strip())[:MAX_ERROR]


async def _read(response: httpx.Response) -> bytes:
    too_long = ModelRefusedError(f"the endpoint's answer is longer than {MAX_BYTES} bytes")
    return await whole(response.aiter_raw(), MAX_BYTES, too_long)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _complaint(answer: Any) -> str:
    """Return what an endpoint complains about: `{"error": "text"}`, `{"error": {"message": …}}`, `{"message": …}`,
    `{"detail": …}`, or plain text."""
    text = answer
    for field in ("error", "message", "detail"):
        if isinstance(text, dict) and text.get(field):
            text = text[field]
    return clean(text if isinstance(text, str) else json.dumps(text)[: 4 * MAX_ERROR])


def clean(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate from an escaped answer cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None for none and for a date, which no local server sends."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(seconds, MAX_RETRY_AFTER_S) if seconds >= 0 else None


def _may_pass(error: Exception) -> bool:
    """Tell whether connecting again has a chance: not where something answered that nothing listens."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ConnectionRefusedError):
            return False
        link = link.__cause__ or link.__context__
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
