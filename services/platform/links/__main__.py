"""The proxy process of all links of a stack: `TRIAGE_HOME=... python -m services.platform.links`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from services.platform.embedded.home import Home
from services.platform.embedded.world import load_world
from services.platform.links.admin import AdminServer
from services.platform.links.board import LinkBoard
from services.platform.links.proxy import HOST
from services.platform.port import PlatformDownError


async def serve(home: Home) -> None:
    """Run all proxies and the admin API until SIGTERM or SIGINT.

    Raises:
        OSError: a port is taken. PlatformDownError: there is no declaration under this home.
    """
    world = load_world(home.world)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    board = LinkBoard(world.links, home.link_state)
    await board.start()
    admin = AdminServer(HOST, world.links_port, board, loop)
    admin.start()
    try:
        await stop.wait()
    finally:
        await asyncio.to_thread(admin.close)
        await board.close()


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        asyncio.run(serve(Home(Path(os.environ["TRIAGE_HOME"]))))
    except KeyError:
        sys.stderr.write("links: TRIAGE_HOME is not set; it names the home of the stack\n")
        return 2
    except (OSError, PlatformDownError) as error:
        sys.stderr.write(f"links: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
