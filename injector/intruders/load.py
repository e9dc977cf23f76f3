"""Somebody's script that asks the shop for everything, without end: `python -m injector.intruders.load <clients>`."""

from __future__ import annotations

import asyncio
import sys

from injector.intruders.victim import ready, target

REQUEST = b"GET /products HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
PATIENCE_S = 5.0
PAUSE_S = 0.05
"""After a failure: a refused connection must not turn the script into a mere burner of its own processor time."""


async def visit(host: str, port: int) -> None:
    """Ask once and read the answer to its end.

    Raises:
        OSError, TimeoutError: there was none.
    """
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(REQUEST)
            await reader.read(-1)
        finally:
            writer.transport.abort()


async def client(host: str, port: int) -> None:
    """Ask until this process is ended."""
    while True:
        try:
            await visit(host, port)
        except (OSError, TimeoutError):
            await asyncio.sleep(PAUSE_S)


async def send(clients: int) -> None:
    """Let so many clients ask at once."""
    host, _, port = target().rpartition(":")
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client(host, int(port)))
        ready()


if __name__ == "__main__":
    asyncio.run(send(int(sys.argv[1])))
