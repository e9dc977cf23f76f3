"""The built page, served as files; a plain page that says what is missing where it was not built."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from dashboard.built import DIST, is_built

MISSING: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Agentic Triage</title>
<body><h1>The page was not built</h1>
<p>The API is here (<a href="api/openapi.json">its description</a>), but this installation holds no built page.</p>
<p>In a checkout, build it with <code>make web</code> and load this address again;
on containers, start the stack again after that (<code>docker compose up --build --wait</code>).</p></body></html>
"""


def mount(api: FastAPI, dist: Path | None = None) -> None:
    """Serve the page of a folder at `/`."""
    folder = dist or DIST

    @api.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """Say that we answer. Whether the stack does is the page's business: it waits for it, and tells."""
        return PlainTextResponse("ok\n")

    @api.get("/", include_in_schema=False)
    async def index() -> Response:
        if not is_built(folder):
            return HTMLResponse(MISSING)
        return FileResponse(folder / "index.html", headers={"Cache-Control": "no-cache"})

    if folder.is_dir():
        api.mount("/", _Files(directory=folder), name="page")


class _Files(StaticFiles):
    """Built files have their hash in their name, and may be kept for ever."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]  # passed on as it came
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
