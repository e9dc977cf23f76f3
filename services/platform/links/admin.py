"""The links' admin API: small HTTP with JSON bodies, on loopback only.

- `GET /healthz`: 200 when the proxies listen.
- `GET /links`: every link with what it does and its number of open connections.
- `GET /links/{source}--{destination}`: one of them.
- `PUT /links/{source}--{destination}` with `{"mode", "latency_ms", "drop_ratio", "seed"}`: change it;
  answers its new state.
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from services.platform.fault_port import LinkFault
from services.platform.links.model import parse_fault

MAX_BODY = 4_096
TIMEOUT_S = 5.0


class Switchboard(Protocol):
    """The links as the admin API sees them."""

    def table(self) -> list[dict[str, Any]]:
        """Return every link: name, source, destination, port, mode, latency_ms, drop_ratio, seed, connections."""
        ...

    async def set(self, name: str, fault: LinkFault) -> None:
        """Change a link and remember it.

        Raises:
            KeyError: there is no such link. OSError: it cannot listen or the state cannot be kept.
        """
        ...


class _Refused(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class AdminServer:
    """Serves the API from threads of its own; every change is made on the proxies' event loop."""

    def __init__(self, host: str, port: int, board: Switchboard, loop: asyncio.AbstractEventLoop) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(board, loop))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="links-admin", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(board: Switchboard, loop: asyncio.AbstractEventLoop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            self._answer(lambda: _get(board, self.path))

        def do_PUT(self) -> None:
            self._answer(lambda: _put(board, loop, self.path, self._body()))

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet: health checks would fill the log."""

        def _body(self) -> bytes:
            length = self.headers.get("Content-Length", "0")
            if not length.isdecimal() or int(length) > MAX_BODY:
                raise _Refused(413, f"a body is at most {MAX_BODY} bytes and says its length")
            return self.rfile.read(int(length))

        def _answer(self, work: Any) -> None:
            try:
                status, body = 200, work()
            except _Refused as refused:
                status, body = refused.status, {"error": str(refused)}
            except OSError as error:
                status, body = 500, {"error": str(error)}
            except FutureTimeoutError:
                status, body = 503, {"error": "the proxies are busy; try again"}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def _get(board: Switchboard, path: str) -> Any:
    if path == "/healthz":
        return {"status": "OK", "links": len(board.table())}
    if path == "/links":
        return {"links": board.table()}
    return _row(board, _name(path))


def _put(board: Switchboard, loop: asyncio.AbstractEventLoop, path: str, body: bytes) -> Any:
    name = _name(path)
    try:
        fault = parse_fault(json.loads(body))
    except ValueError as error:
        raise _Refused(400, str(error)) from error
    _row(board, name)
    asyncio.run_coroutine_threadsafe(board.set(name, fault), loop).result(TIMEOUT_S)
    return _row(board, name)


def _name(path: str) -> str:
    head, _, name = path.rpartition("/")
    if head != "/links":
        raise _Refused(404, "there are /healthz, /links and /links/{source}--{destination}")
    return name


def _row(board: Switchboard, name: str) -> dict[str, Any]:
    row = next((row for row in board.table() if row["name"] == name), None)
    if row is None:
        raise _Refused(404, f"there is no link {name[:80]!r}")
    return row
