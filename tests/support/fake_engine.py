"""A Docker engine in memory, on a Unix socket of its own: it answers as the real one does, and fails where a test wants
it to."""

from __future__ import annotations

import http.server
import json
import secrets
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from services.platform.docker.connection import API_VERSION

PROJECT = "shop"
Trouble = Callable[[], tuple[int, str] | None]
"""Called before a call is carried out: a status and a sentence to refuse it with, or None."""


@dataclass
class FakeEngine:
    """Containers by id, in the engine's own words."""

    url: str
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    """By what is asked: create, start, stop, kill, rename, remove, inspect, logs."""
    log: bytes = b""
    """What every container has written, as the engine streams it."""
    cut_short: bool = False
    """Break off every answer before its end."""
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    """Every call with its query."""
    silence: threading.Event = field(default_factory=threading.Event)
    """A trouble that waits for it is a call that is never answered; it is set at the end."""

    def add(self, service: str, *, number: int = 1, name: str | None = None, at: str, **labels: str) -> str:
        """Have a running container, made and started by compose at a time (RFC 3339); returns its id."""
        given = {f"triage.{key}": value for key, value in labels.items()}
        body = {
            "Image": "shop:dev",
            "Env": ["A=1"],
            "Tty": False,
            "Labels": {
                "com.docker.compose.project": PROJECT,
                "com.docker.compose.service": service,
                "com.docker.compose.container-number": str(number),
                "com.docker.compose.config-hash": "h1",
                **given,
            },
            "HostConfig": {},
        }
        ident = self.create(name or f"{PROJECT}-{service}-{number}", body, at)
        self.set_state(ident, "running", at)
        return ident

    def workload(self, service: str, *, at: str, **labels: str) -> str:
        """Have a running workload."""
        given = {"kind": "service", "probe": "http", "port": "8080", **labels}
        return self.add(service, number=1, name=None, at=at, **given)

    def create(self, name: str, body: dict[str, Any], at: str = "2026-01-01T00:00:00Z") -> str:
        """Make a container that has not run yet; returns its id."""
        ident = secrets.token_hex(32)
        config = {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")}
        self.containers[ident] = {
            "Id": ident,
            "Name": f"/{name}",
            "Created": at,
            "Image": "sha256:aaaa",
            "RestartCount": 0,
            "Config": config,
            "HostConfig": body.get("HostConfig") or {},
            "Mounts": [],
            "NetworkSettings": {"Networks": {}},
        }
        self.set_state(ident, "created", at)
        return ident

    def set_state(self, ident: str, status: str, at: str = "2026-01-02T00:00:00Z") -> None:
        """Put a container into a state."""
        pid = 7 if status == "running" else 0
        self.containers[ident]["State"] = {"Status": status, "Pid": pid, "StartedAt": at, "ExitCode": 0}

    def named(self, name: str) -> list[str]:
        """Return the ids of the containers of a name."""
        return [ident for ident, raw in self.containers.items() if raw["Name"] == f"/{name}"]

    def status(self, ident: str) -> str:
        """Return the state of a container."""
        return str(self.containers[ident]["State"]["Status"])

    # -- answering

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Carry a call out; returns the status and what to say."""
        parts = path.removeprefix(f"/v{API_VERSION}").strip("/").split("/")
        what = parts[-1] if len(parts) > 1 else parts[0]
        what = {"json": "list" if len(parts) == 2 else "inspect"}.get(what, what)
        what = "remove" if method == "DELETE" else what
        self.asked.append((what, query))
        refused = self.troubles.get(what, lambda: None)()
        if refused is not None:
            return refused[0], {"message": refused[1]}
        if what == "version":
            return 200, {"Version": "28.0.0"}
        if what in ("list", "create", "events"):
            return getattr(self, f"_{what}")(query, body)  # type: ignore[no-any-return]
        ident = next((item for item in (parts[1], *self.named(parts[1])) if item in self.containers), None)
        if ident is None:
            return 404, {"message": f"No such container: {parts[1]}"}
        return self._on(what, ident, query)

    def _events(self, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        return 200, b""

    def _list(self, query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        wanted = [label.partition("=") for label in json.loads(query["filters"][0]).get("label", [])]
        rows = (raw for raw in list(self.containers.values()))
        return 200, [
            {"Id": raw["Id"], "Names": [raw["Name"]], "Labels": raw["Config"]["Labels"], "State": ""}
            for raw in rows
            if all(raw["Config"]["Labels"].get(name) == value for name, _, value in wanted)
        ]

    def _create(self, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        name = query["name"][0]
        if self.named(name):
            return 409, {"message": f'Conflict. The container name "/{name}" is already in use'}
        return 201, {"Id": self.create(name, body)}

    def _on(self, what: str, ident: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if what == "inspect":
            return 200, self.containers[ident]
        if what == "logs":
            return 200, self.log
        if what == "top":
            return 200, {"Titles": ["PID", "PPID", "COMMAND"], "Processes": [["7", "1", "main"]]}
        if what == "remove":
            del self.containers[ident]
        elif what == "rename":
            if self.named(query["name"][0]):
                return 409, {"message": f'Conflict. The container name "/{query["name"][0]}" is already in use'}
            self.containers[ident]["Name"] = f"/{query['name'][0]}"
        else:
            self.set_state(ident, {"start": "running", "pause": "paused", "unpause": "running"}.get(what, "exited"))
        return 204, None


def frames(*lines: str) -> bytes:
    """Return lines as the engine streams what a container without a terminal wrote."""
    return b"".join(struct.pack(">BxxxL", 1, len(line.encode()) + 1) + line.encode() + b"\n" for line in lines)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def fake_engine(folder: Path) -> Iterator[FakeEngine]:
    """Serve an engine for the length of a block."""
    engine = FakeEngine(f"unix://{folder}/engine.sock")

    class Handler(http.server.BaseHTTPRequestHandler):
        def _serve(self) -> None:
            place, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null") if length else None
            status, said = engine.answer(self.command, place.path, parse_qs(place.query), body)
            data = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data) + engine.cut_short))
                self.end_headers()
                self.wfile.write(data)
            except BrokenPipeError:
                """Whoever asked has gone."""

        do_GET = do_POST = do_DELETE = _serve

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with _Server(str(folder / "engine.sock"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield engine
        finally:
            engine.silence.set()
            server.shutdown()
            thread.join()
