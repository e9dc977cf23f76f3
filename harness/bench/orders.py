"""Real orders on a real queue, of an incident that does not exist, so that no plan is disturbed.

They are signed with the scheduler's key. On containers only a scheduler's container holds that:
`docker compose exec scheduler python -m harness.bench.orders --incident load --count 60 --rate 20`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from broker import jetstream, keyring
from broker.contracts.task import Task
from broker.envelope import Signer
from broker.keyfile import read_passphrase
from broker.runtime.settings import Settings, load_settings

EXPLODING = r"^(.|..|...)+(?<=~)$"
"""A pattern that a log agent works at until its own time limit: whatever hits it then hits it in the middle."""
QUICK = "order"
command = typer.Typer(pretty_exceptions_enable=False)


def order(incident: str, number: int, pattern: str) -> Task:
    """Return an order to search the logs of `orders`; the number makes it another task of the incident."""
    return Task(
        incident=incident,
        task_id=f"v1-t{number}",
        attempt=1,
        kind="log",
        type="check_logs",
        target="orders",
        args={"pattern": pattern, "lookback": "60m", "level": "DEBUG"},
        plan_version=1,
        risk="read",
        timeout_s=30.0,
        timer_id=f"{incident}-v1-t{number}-a1",
    )


async def give(settings: Settings, incident: str, count: int, rate: float, pattern: str) -> None:
    """Publish `count` orders, `rate` a second, with the keys that the settings name."""
    ring = keyring.load(settings.keys_file, read_passphrase(settings.passphrase_file))
    broker = await jetstream.connect(
        settings.nats_url, role="scheduler", instance="bench", password=ring.broker_password()
    )
    signer = Signer("scheduler", "bench", ring)
    try:
        for number in range(1, count + 1):
            task = order(incident, number, pattern)
            await broker.publish(task.subject(), signer.seal(task), once=True)
            await asyncio.sleep(1.0 / rate)
    finally:
        await broker.close()


@command.command()
def main(
    incident: Annotated[str, typer.Option()],
    count: Annotated[int, typer.Option(min=1, max=10_000)] = 1,
    rate: Annotated[float, typer.Option(min=0.1, max=1_000.0, help="Orders a second.")] = 20.0,
    exploding: Annotated[bool, typer.Option("--exploding", help="Orders that take as long as they may.")] = False,
) -> None:
    """Give orders to the log agents."""
    asyncio.run(give(load_settings(), incident, count, rate, EXPLODING if exploding else QUICK))


if __name__ == "__main__":
    sys.exit(command())
