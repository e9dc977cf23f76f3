"""A real HTTP server on loopback that behaves as endpoints in the field do, or misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = '{"target":"orders","fault_class":"config_drift","confidence":0.9}'


@dataclass(frozen=True)
class Said:
    """One answer; a body in pieces is sent without a length and ends with the connection."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    media: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Behaviour = Callable[[str, dict[str, Any]], "Said | tuple[int, bytes]"]


@dataclass
class ModelServer:
    """A server whose behaviour is one function: (path, request body) -> answer."""

    behave: Behaviour
    seen: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    """Set when the server is to end: whoever hangs waits for it."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when somebody has gone in the middle of an answer."""
    url: str = ""

    def chats(self) -> list[dict[str, Any]]:
        """Return the bodies of the questions that were asked."""
        return [body for path, body, _ in self.seen if path.endswith("/chat/completions")]

    def paths(self) -> list[str]:
        """Return the paths that were asked for, in order."""
        return [path for path, _, _ in self.seen]


def _handler(endpoint: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            endpoint.seen.append((self.path, body, {k.lower(): v for k, v in self.headers.items()}))
            said = endpoint.behave(self.path, body)
            said = said if isinstance(said, Said) else Said(said[0], said[1], media=None)
            try:
                self._send(said)
            except (BrokenPipeError, ConnectionResetError):
                endpoint.left.set()
                self.close_connection = True

        def _send(self, said: Said) -> None:
            self.send_response(said.status)
            if said.media is not None:
                self.send_header("content-type", said.media)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if isinstance(said.body, bytes):
                if "content-length" not in said.headers:
                    self.send_header("content-length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)
                self.close_connection = "content-length" in said.headers
                return
            self.end_headers()
            self.close_connection = True
            for piece in said.body:
                self.wfile.write(piece)
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(behave: Behaviour) -> Iterator[ModelServer]:
    """Run a server for a block."""
    endpoint = ModelServer(behave)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(endpoint))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        endpoint.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def completion(text: str | None, **more: Any) -> bytes:
    """Return the body of a plain completion; `message` adds to the message, the rest to the choice."""
    choice = {"message": {"role": "assistant", "content": text, **more.pop("message", {})}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 700, "completion_tokens": 14}
    return json.dumps({"model": "qwen-0.5b", "choices": [choice | more], "usage": usage}).encode()


def well_behaved(path: str, _body: dict[str, Any]) -> tuple[int, bytes]:
    """Behave as a proper endpoint with two models does."""
    if path == "/v1/models":
        return 200, json.dumps({"object": "list", "data": [{"id": "qwen-0.5b"}, {"id": "other"}]}).encode()
    if path == "/v1/chat/completions":
        return 200, completion(ANSWER)
    return 404, b'{"error":"no such path"}'


def always(status: int, body: bytes | Iterable[bytes], **fields: Any) -> Behaviour:
    """Behave properly but for what is said to questions."""
    said = (status, body) if isinstance(body, bytes) and not fields else Said(status, body, **fields)
    return lambda path, request: said if path.endswith("/chat/completions") else well_behaved(path, request)
