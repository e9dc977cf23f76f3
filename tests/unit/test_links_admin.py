"""The links' admin API, and what survives a restart of the proxy process."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.platform.embedded.world import Link
from services.platform.fault_port import LinkFault
from services.platform.links.admin import AdminServer
from services.platform.links.board import LinkBoard
from services.platform.links.model import OK, parse_fault
from services.platform.links.state import load_faults, save_faults
from tests.support.embedded_world import free_ports

HOST = "127.0.0.1"


@asynccontextmanager
async def admin(state: Path) -> AsyncIterator[tuple[LinkBoard, int]]:
    way, target = free_ports(2)
    board = LinkBoard([Link(source="a", destination="b", port=way, target_port=target)], state)
    await board.start()
    server = AdminServer(HOST, 0, board, asyncio.get_running_loop())
    server.start()
    try:
        yield board, server.port
    finally:
        await asyncio.to_thread(server.close)
        await board.close()


async def call(port: int, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
    def now() -> tuple[int, Any]:
        connection = http.client.HTTPConnection(HOST, port, timeout=5.0)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(now)


@pytest.mark.asyncio
async def test_a_fault_that_is_put_is_shown_and_outlives_the_process(tmp_path: Path) -> None:
    state = tmp_path / "links.json"
    async with admin(state) as (_, port):
        status, row = await call(port, "PUT", "/links/a--b", '{"mode": "latency", "latency_ms": 250}')
        assert (status, row["mode"], row["latency_ms"]) == (200, "latency", 250.0)
        assert (await call(port, "GET", "/links"))[1]["links"] == [row]
    async with admin(state) as (board, port):
        assert board.table()[0]["mode"] == "latency"
        await call(port, "PUT", "/links/a--b", '{"mode": "ok"}')
    assert load_faults(state) == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("PUT", "/links/a--b", "{", 400, ""),
        ("PUT", "/links/a--b", '{"mode": "broken"}', 400, "mode must be one of"),
        ("PUT", "/links/a--b", '{"mode": "ok", "color": 1}', 400, "color"),
        ("PUT", "/links/b--a", '{"mode": "ok"}', 404, "no link"),
        ("GET", "/links/b--a", None, 404, "no link"),
        ("GET", "/etc/passwd", None, 404, "there are"),
        ("PUT", "/links/a--b", " " * 5_000, 413, "at most"),
    ],
)
@pytest.mark.asyncio
async def test_bad_requests_are_refused_in_words_and_change_nothing(
    tmp_path: Path, method: str, path: str, body: str | None, status: int, says: str
) -> None:
    async with admin(tmp_path / "links.json") as (board, port):
        got, answer = await call(port, method, path, body)
        assert got == status
        assert says in answer["error"]
        assert board.table()[0]["mode"] == "ok"
        assert (await call(port, "GET", "/healthz"))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"mode": None},
        {"mode": "drop", "drop_ratio": 1.5},
        {"mode": "drop", "drop_ratio": True},
        {"mode": "latency", "latency_ms": -1},
        {"mode": "latency", "latency_ms": float("nan")},
        {"mode": "latency", "latency_ms": "100"},
        {"mode": "ok", "seed": 1.5},
    ],
)
def test_values_that_are_no_fault_are_refused(body: Any) -> None:
    with pytest.raises(ValueError, match=r"must|unknown|is a"):
        parse_fault(body)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a--b": {"mode": "broken"}}'])
def test_a_damaged_state_file_means_that_all_links_are_ok(tmp_path: Path, text: str) -> None:
    state = tmp_path / "links.json"
    state.write_text(text)
    assert load_faults(state) == {}


def test_only_links_that_are_not_ok_are_kept(tmp_path: Path) -> None:
    state = tmp_path / "links.json"
    save_faults(state, {"a--b": OK, "b--c": LinkFault("drop", drop_ratio=0.01, seed=7)})
    assert load_faults(state) == {"b--c": LinkFault("drop", drop_ratio=0.01, seed=7)}
