"""Which model to ask where none is configured: the one that is loaded.

`/v1/models` alone does not tell. llama.cpp lists the one it serves (or, as a router, all, each with its state). LM
Studio lists every model on disk as long as it loads them on demand, and Ollama always does; both say elsewhere what is
loaded now: `/api/v0/models` and `/api/ps`. A loaded model answers at once, another one after a load of ten seconds or
more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from planner_svc.errors import ModelRefusedError
from planner_svc.llm_endpoint import Clock, Endpoint, clean

MAX_NAME = 200
MAX_MODELS = 500
Server = Literal["LM Studio", "Ollama", "llama.cpp", "vLLM", "unknown"]
_OWNERS: dict[str, Server] = {
    "llamacpp": "llama.cpp",
    "vllm": "vLLM",
    "library": "Ollama",
    "organization_owner": "LM Studio",
}
_NO_CHAT = re.compile(r"embed|rerank|whisper", re.IGNORECASE)
"""Names of models that answer no questions, where the server does not tell its models' kinds."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One model that an endpoint lists."""

    name: str
    loaded: bool | None
    """None: the endpoint does not tell."""
    chats: bool
    quantization: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The model to ask, and how it was come by."""

    name: str
    server: Server
    loaded: bool | None
    listed: int
    """How many models that chat the endpoint lists."""
    quantization: str = ""


async def find(endpoint: Endpoint, clock: Clock) -> Found:
    """Return the model that is loaded, else the first one listed that chats.

    Raises:
        ModelRefusedError: there is none, or the list is no list.
    """
    reply = await endpoint.get("models", clock)
    listed = openai_list(reply.body)
    if reply.status != 200 or not listed:
        hint = "" if endpoint.is_versioned or reply.status != 404 else "; its address should end in /v1"
        raise ModelRefusedError(f"the endpoint lists no model (HTTP {reply.status}): {reply.complaint}{hint}")
    server = _server(reply.body)
    candidates = [model for model in listed if model.chats]
    if len(candidates) == 1 and server not in ("LM Studio", "unknown"):
        return _found(candidates[0], server, 1)
    if any(model.loaded for model in candidates):
        return _found(next(model for model in candidates if model.loaded), server, len(candidates))
    return await _natively(endpoint, server, candidates, listed)


async def _natively(endpoint: Endpoint, server: Server, candidates: list[Listed], listed: list[Listed]) -> Found:
    """Ask LM Studio's and Ollama's own lists which model is loaded."""
    if server in ("LM Studio", "unknown") and (own := lm_studio_list(await _native(endpoint, "api/v0/models"))):
        server, candidates = "LM Studio", [model for model in own if model.chats]
    elif server in ("Ollama", "unknown") and (running := ollama_running(await _native(endpoint, "api/ps"))):
        names = {model.name for model in running}
        server = "Ollama"
        candidates = sorted(
            (Listed(m.name, m.name in names, m.chats) for m in candidates), key=lambda model: not model.loaded
        )
    if not candidates:
        raise ModelRefusedError(
            f"the endpoint lists no model that chats, only {listed[0].name}; load one or set model_name"
        )
    best = next((model for model in candidates if model.loaded), candidates[0])
    return _found(best, server, len(candidates))


def _found(model: Listed, server: Server, count: int) -> Found:
    return Found(model.name, server, model.loaded, count, model.quantization)


async def _native(endpoint: Endpoint, path: str) -> Any:
    """Return what a server's own interface says; None where there is no such thing, however it says so."""
    try:
        reply = await endpoint.get_native(path)
    except (httpx.HTTPError, ModelRefusedError):
        return None
    return reply.body if reply.status == 200 else None


def openai_list(body: Any) -> list[Listed]:
    """Return the models of a `/v1/models` body; of llama.cpp's router with their states."""
    rows = _rows(body, "data")
    return [
        Listed(name, _router_state(row), _NO_CHAT.search(name) is None) for row in rows if (name := _name(row, "id"))
    ]


def lm_studio_list(body: Any) -> list[Listed]:
    """Return the models of LM Studio's `/api/v0/models`; nothing for what is not that."""
    return [
        Listed(name, row["state"] == "loaded", row.get("type") in ("llm", "vlm"), _text(row.get("quantization")))
        for row in _rows(body, "data")
        if (name := _name(row, "id")) and isinstance(row.get("state"), str)
    ]


def ollama_running(body: Any) -> list[Listed]:
    """Return the models of Ollama's `/api/ps`, all of them loaded."""
    return [
        Listed(name, True, _NO_CHAT.search(name) is None)
        for row in _rows(body, "models")
        if (name := _name(row, "name"))
    ]


def _rows(body: Any, field: str) -> list[dict[str, Any]]:
    rows = body.get(field) if isinstance(body, dict) else None
    return [row for row in rows[:MAX_MODELS] if isinstance(row, dict)] if isinstance(rows, list) else []


def _name(row: dict[str, Any], field: str) -> str:
    return _text(row.get(field))


def _text(value: Any) -> str:
    return clean(value)[:MAX_NAME] if isinstance(value, str) else ""


def _router_state(row: dict[str, Any]) -> bool | None:
    status = row.get("status")
    value = status.get("value") if isinstance(status, dict) else None
    return value == "loaded" if isinstance(value, str) else None


def _server(body: Any) -> Server:
    """Return whose list this is, by what each server writes as the owner."""
    owners = {_name(row, "owned_by") for row in _rows(body, "data")}
    return next((server for owner, server in _OWNERS.items() if owner in owners), "unknown")
