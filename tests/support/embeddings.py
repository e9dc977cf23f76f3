"""A real HTTP server on loopback that makes vectors, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Endpoint:
    """What the server answers, and what it was asked."""

    models: tuple[str, ...] = ("chat-7b", "nomic-embed-text")
    status: int = 200
    dimension: int = 8
    delay_s: float = 0.0
    raw: bytes | None = None
    most: int = 99
    """Texts it takes at once; more are HTTP 500, as of a server that cannot finish them."""
    hangs_above: int = 99
    """For more texts at once it takes half a minute."""
    indigestible: str = ""
    """A text that holds this is HTTP 500, as one that is longer than a real server's batch."""
    answers: int | None = None
    """So many requests for vectors it answers; then it says HTTP 501 to every one."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.status != 200:
            return self.status, b'{"error":{"message":"no"}}'
        if self.raw is not None and path.endswith("/embeddings"):
            return 200, self.raw
        if path.endswith("/models"):
            return 200, json.dumps({"object": "list", "data": [{"id": name} for name in self.models]}).encode()
        if self._refused(body["input"]):
            return 501 if self.answers == 0 else 500, b'{"error":{"message":"no"}}'
        self.asked.append(body)
        rows = [{"index": n, "embedding": self.vector(text)} for n, text in enumerate(body["input"])]
        return 200, json.dumps({"object": "list", "model": body["model"], "data": rows[::-1]}).encode()

    def _refused(self, texts: list[str]) -> bool:
        if self.answers is not None and self.answers > 0:
            self.answers -= 1
        elif self.answers == 0:
            return True
        return len(texts) > self.most or any(self.indigestible in text for text in texts if self.indigestible)

    def vector(self, text: str) -> list[float]:
        """Return a bag of words: texts with common words lie near each other."""
        found = [0.001] * self.dimension
        for word in text.lower().split():
            found[sum(word.encode()) % self.dimension] += 1.0
        return found


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Serve on a free port for the length of a block; `endpoint.url` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            endpoint.keys.append(self.headers.get("Authorization"))
            status, data = endpoint.answer(self.path, body)
            time.sleep(endpoint.delay_s)
            if len(body.get("input", ())) > endpoint.hangs_above:
                endpoint.over.wait(30.0)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that gave up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        endpoint.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
