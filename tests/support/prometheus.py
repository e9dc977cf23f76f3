"""A real HTTP server that answers range queries as a test wants: from a list of values, or hostile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from agents.metric.analysis import Sample


@dataclass(frozen=True)
class Reply:
    """One answer; its body may come in parts, each after `wait` returned."""

    status: int = 200
    parts: Sequence[bytes] = ()
    headers: tuple[tuple[str, str], ...] = ()


Asked = dict[str, str]
Answer = Callable[[Asked], Reply]


@dataclass
class CannedPrometheus:
    """What a server was asked, and how it answers."""

    answer: Answer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)


def matrix(*lines: Sequence[tuple[object, object]]) -> bytes:
    """Return a good answer with these series."""
    result = [{"metric": {}, "values": [list(point) for point in line]} for line in lines]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def holding(samples: Sequence[Sample]) -> Answer:
    """Return what answers from these samples, as Prometheus does: those within start..end; no series for none."""

    def answer(asked: Asked) -> Reply:
        start, end = float(asked["start"]), float(asked["end"])
        points = [(s.time_us / 1e6, repr(s.value)) for s in samples if start <= s.time_us / 1e6 <= end]
        return Reply(parts=[matrix(points) if points else matrix()])

    return answer


def always(*parts: bytes, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Return what answers everything alike."""
    return lambda asked: Reply(status, parts, headers)


@contextmanager
def running_prometheus(answer: Answer) -> Iterator[CannedPrometheus]:
    """Serve on a free port for the length of a block."""
    canned = CannedPrometheus(answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(canned))
    server.daemon_threads = True
    canned.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield canned
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(canned: CannedPrometheus) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()} | {"path": parts.path}
            canned.asked.append(asked)
            reply = canned.answer(asked)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.end_headers()
                for part in reply.parts:
                    self.wfile.write(part)
            except OSError:
                self.close_connection = True  # the client had enough

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler
