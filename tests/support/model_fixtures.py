"""LM Studio, Ollama, llama.cpp and vLLM by what their documentation says they answer (tests/fixtures/llm)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.model_server import Behaviour, Said

FIXTURES = Path(__file__).parent.parent / "fixtures" / "llm"
Routes = dict[str, str]
"""Path to the name of a fixture."""

LM_STUDIO: Routes = {
    "/v1/models": "lm_studio/models",
    "/api/v0/models": "lm_studio/api_v0_models",
    "/v1/chat/completions": "lm_studio/chat",
}
OLLAMA: Routes = {
    "/v1/models": "ollama/models",
    "/api/ps": "ollama/api_ps",
    "/v1/chat/completions": "ollama/chat",
}
UNKNOWN = {"lm_studio": "lm_studio/unknown_path"}
"""What a server says to a path it does not know; the others say what Ollama says."""


def said(name: str) -> Said:
    """Return a recorded answer."""
    fixture: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    body = fixture["body"]
    data = body if isinstance(body, str) else json.dumps(body)
    return Said(fixture["status"], data.encode(), fixture["media"], fixture.get("headers", {}))


def answering(routes: Routes) -> Behaviour:
    """Behave as the server whose answers these are."""
    other = UNKNOWN.get(routes["/v1/models"].partition("/")[0], "ollama/unknown_path")
    return lambda path, _body: said(routes.get(path, other))
