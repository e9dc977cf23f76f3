"""What is streamed: the feed's news as server-sent events, encoded once for everybody, and files of JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse

from dashboard.api.feed import Feed, now_us


class EventStream(StreamingResponse):
    """A response whose chunks are events already. FastAPI's own class would encode every event again for every page."""

    media_type = "text/event-stream"


class JsonLines(StreamingResponse):
    """A response whose chunks are lines of JSON already."""

    media_type = "application/x-ndjson"


async def after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Give what was taken already, then the rest; the rest is closed however this ends."""
    async with aclosing(rest) as following:
        yield first
        async for chunk in following:
            yield chunk


BEAT_S = 10.0
"""Sign of life at least this often, seconds."""
RETRY_MS = 1_000


def entry_event(seq: int, data: bytes) -> bytes:
    """Return one entry as an event whose id is its journal sequence. `data` is JSON in one line."""
    return b"id: %d\nevent: entry\ndata: %s\n\n" % (seq, data)


def named_event(name: str, value: object) -> bytes:
    """Return an event without an id: it does not move where a broken stream resumes."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


async def stream(feed: Feed, after: int, beat_s: float = BEAT_S) -> AsyncGenerator[bytes, None]:
    """Give the stream behind a sequence as chunks."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with aclosing(feed.follow(after, beat_s=beat_s)) as followed:
        async for news in followed:
            if news.reset:
                yield named_event("reset", {"journal": feed.journal})
                return
            chunks = [entry_event(seq, data) for seq, data in news.entries]
            chunks += [named_event(name, _said(feed, name)) for name in news.notices]
            yield b"".join(chunks) or beat(feed)


def _said(feed: Feed, notice: str) -> dict[str, bool]:
    """Return what goes with a notice: the one of the stack tells whether its broker answers."""
    return {"connected": feed.connected} if notice == "stack" else {}


def beat(feed: Feed) -> bytes:
    """Return the sign of life."""
    return named_event("beat", {"now_us": now_us(), "head": feed.head, "connected": feed.connected})
