"""The engine's absence, age and silence, each in one sentence: against sockets that speak as engines do."""

from __future__ import annotations

import gc
import http.server
import json
import re
import socketserver
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import requests.exceptions

from services.platform.docker import connection as module
from services.platform.docker.engine import Engine
from services.platform.port import PlatformDownError


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def speaking(socket: Path, version: str | None) -> Iterator[str]:
    """An engine of some version; None is one that never answers."""
    silence = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if version is None:
                silence.wait(10)
                return
            known = self.path == "/version"  # old engines refuse every newer API's path
            body = json.dumps({"Version": version} if known else {"message": "client version is too new"}).encode()
            self.send_response(200 if known else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with _Server(str(socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"unix://{socket}"
        finally:
            silence.set()
            server.shutdown()
            thread.join()


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = Engine("shop", base_url=url)
    try:
        yield engine
    finally:
        engine.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # docker-py leaves a socket that failed to connect
            gc.collect()


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "24.0.9", "x"])
@pytest.mark.asyncio
async def test_an_engine_that_is_too_old_is_named_with_its_version(tmp_path: Path, version: str) -> None:
    sentence = f"is too old: version {re.escape(version)}, and 25 or newer is needed"
    with (
        speaking(tmp_path / "s", version) as url,
        opened(url) as engine,
        pytest.raises(PlatformDownError, match=sentence),
    ):
        await engine.check()


@pytest.mark.parametrize("version", ["25.0.0", "26.1.5+dfsg1", "28.2.2"])
@pytest.mark.asyncio
async def test_a_new_enough_engine_will_do(tmp_path: Path, version: str) -> None:
    with speaking(tmp_path / "s", version) as url, opened(url) as engine:
        await engine.check()


@pytest.mark.asyncio
async def test_an_engine_that_says_no_is_quoted(tmp_path: Path) -> None:
    sentence = "could not list containers: client version is too new"
    with (
        speaking(tmp_path / "s", "26.0") as url,
        opened(url) as engine,
        pytest.raises(PlatformDownError, match=sentence),
    ):
        await engine.containers()


@pytest.mark.asyncio
async def test_without_an_engine_that_is_said(tmp_path: Path) -> None:
    with opened(f"unix://{tmp_path}/none.sock") as engine:
        with pytest.raises(
            PlatformDownError, match=r"no Docker engine answers at unix://.*none\.sock; is Docker installed"
        ):
            await engine.check()
        with pytest.raises(PlatformDownError, match="no Docker engine answers"):
            await engine.containers()


@pytest.mark.asyncio
async def test_an_engine_that_is_silent_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 0.2)
    sentence = r"did not answer within 0\.2 s"
    with speaking(tmp_path / "s", None) as url, opened(url) as engine, pytest.raises(PlatformDownError, match=sentence):
        await engine.containers()


@pytest.mark.asyncio
async def test_a_socket_that_may_not_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Engine, timeout_s: int) -> docker.APIClient:
        raise requests.exceptions.ConnectionError("('Connection aborted.', PermissionError(13, 'Permission denied'))")

    monkeypatch.setattr(module.Connection, "_client", refuse)
    sentence = r"may not be used by uid \d+; give the process the socket's group"
    with opened("unix:///var/run/docker.sock") as engine, pytest.raises(PlatformDownError, match=sentence):
        await engine.check()
