"""A worker process that takes one task, says so on standard output, and never ends it. Killed by its test.

Arguments: URL, role, password, durable.
"""

from __future__ import annotations

import asyncio
import sys

from broker.jetstream import connect
from broker.subjects import ROLES


async def hang(url: str, role_name: str, password: str, durable: str) -> None:
    role = next(role for role in ROLES if role == role_name)
    broker = await connect(url, role=role, instance=f"{role}-doomed", password=password)
    delivery = await broker.pull(durable, 30.0)
    assert delivery is not None
    sys.stdout.write(f"{delivery.reply}\n")
    sys.stdout.flush()
    while True:
        await delivery.in_progress()
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(hang(*sys.argv[1:5]))
