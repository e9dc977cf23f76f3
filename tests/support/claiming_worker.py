"""A worker process that takes one task after another, claims it, and then does nothing: made to be killed.

`python -m tests.support.claiming_worker URL PASSWORD INSTANCE` says `ready`, and `claimed` after each claim.
"""

from __future__ import annotations

import asyncio
import sys

from broker.contracts.task import Claim, Task
from broker.jetstream import connect
from tests.support import signing


async def main(url: str, password: str, instance: str) -> None:
    broker = await connect(url, role="log", instance=instance, password=password)
    signer, gate = signing.signer("log", instance), signing.gate("log")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while (delivery := await broker.pull("w-log", 1.0)) is None:
        pass
    order = gate.admit(delivery.stored).message
    assert isinstance(order, Task)
    claim = Claim(
        incident=order.incident,
        task_id=order.task_id,
        attempt=order.attempt,
        kind="log",
        instance=instance,
        task_seq=delivery.stored.seq,
        delivery=delivery.reply,
    )
    await broker.publish(claim.subject(), signer.seal(claim))
    sys.stdout.write("claimed\n")
    sys.stdout.flush()
    await asyncio.sleep(3_600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
