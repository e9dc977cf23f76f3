"""Reading what somebody else sends over HTTP without holding more of it than was agreed on.

For every role and service: a body's declared length is a stranger's word, so what arrives is counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterable


async def whole(chunks: AsyncIterable[bytes], limit: int, too_long: Exception) -> bytes:
    """Return a body that comes in pieces.

    Args:
        limit: most bytes that are read; no piece after the one that passes it is asked for.
        too_long: raised when there are more.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise too_long
    return bytes(body)
