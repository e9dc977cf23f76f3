"""The canned API in a thread of its own, on a free port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.ui.canned import Canned, make_app


@contextmanager
def served() -> Iterator[tuple[Canned, str]]:
    """Serve a new canned journal; give it and the page's address."""
    canned = Canned()
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(canned), log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    try:
        _until_started(server)
        yield canned, f"http://127.0.0.1:{door.getsockname()[1]}/"
    finally:
        canned.away = True
        server.should_exit = True
        thread.join(10.0)
        door.close()


def _until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + 10.0
    while not server.started:
        assert time.monotonic() < deadline, "the canned API did not start within 10 s"
        time.sleep(0.01)
