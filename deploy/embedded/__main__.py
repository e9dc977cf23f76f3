"""`python -m deploy.embedded up|down|status [--wipe]`: the stack without the command line tool, for containers and for
looking into trouble. Home and ports come from TRIAGE_HOME and TRIAGE_PORT_BASE."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from broker.errors import BrokerError
from deploy.embedded.errors import StackError
from deploy.embedded.stack import Stack
from services.inventory.ports import DEFAULT_BASE

DEFAULT_HOME = "~/.local/state/agentic-triage"


async def _up(stack: Stack, arguments: argparse.Namespace) -> None:
    began = time.monotonic()

    def progress(program: str, state: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:6.2f} s  {program}: {state}\n")

    await stack.up(progress=progress, schedulers=arguments.schedulers, roles=not arguments.no_roles)
    sys.stdout.write(f"{time.monotonic() - began:6.2f} s  all healthy\n")


async def _down(stack: Stack, arguments: argparse.Namespace) -> None:
    await stack.down(wipe=arguments.wipe)


async def _status(stack: Stack, _: argparse.Namespace) -> None:
    seen = await stack.status()
    for item in seen.programs:
        health = "healthy" if item.healthy else "UNWELL"
        memory = item.rss_bytes / 2**20
        sys.stdout.write(
            f"{item.name:16}{item.state:9}{item.pid or '-':>8} {memory:6.1f} MiB {health}: {item.detail}\n"
        )
    sys.stdout.write(f"{'all':33} {seen.rss_bytes / 2**20:6.1f} MiB\n")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description="The embedded stack.")
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up", help="bring everything up")
    up.add_argument("--schedulers", type=int, default=1)
    up.add_argument("--no-roles", action="store_true", help="only broker, audit store and shop")
    up.set_defaults(act=_up)
    down = commands.add_parser("down", help="stop everything")
    down.add_argument("--wipe", action="store_true", help="delete the home with all its data")
    down.set_defaults(act=_down)
    commands.add_parser("status", help="show every program").set_defaults(act=_status)
    arguments = parser.parse_args()
    try:
        base = int(os.environ.get("TRIAGE_PORT_BASE") or DEFAULT_BASE)
        stack = Stack(Path(os.environ.get("TRIAGE_HOME") or DEFAULT_HOME), base)
        asyncio.run(arguments.act(stack, arguments))
    except (StackError, BrokerError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except ValueError:
        sys.stderr.write(f"TRIAGE_PORT_BASE must be a number, not {os.environ.get('TRIAGE_PORT_BASE')!r}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
