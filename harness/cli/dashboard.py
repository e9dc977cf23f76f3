"""`triage dashboard`: the page and its API, served from this process for the stack of the home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broker.runtime.settings import load_settings
from harness.cli.context import home, run
from harness.cli.output import err, out
from harness.errors import RefusedError
from harness.site import is_up, outside


def dashboard(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; any but loopback needs a token.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="TCP port; 0 takes a free one.")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File whose first line everybody must show.")
    ] = None,
) -> None:
    """Serve the dashboard until interrupted; prints its address. A compose stack serves its own: prints where."""
    if outside():
        _show_the_stacks_own(any(option is not None for option in (host, port, token_file)))
        return
    from dashboard.api import serve  # a web framework that nobody else needs

    settings = load_settings(role="operator", home=home())
    where = serve.place(
        host or settings.dashboard_host,
        settings.dashboard_port if port is None else port,
        token_file or settings.dashboard_token_file,
    )
    if not is_up(home()):
        err.print("no stack is up yet: the page waits for it; start one with: triage up", style="yellow", markup=False)
    run(lambda: serve.serve(home(), where, lambda address: out.print(address, markup=False)))


def _show_the_stacks_own(told_how: bool) -> None:
    if told_how:
        raise RefusedError(
            "a compose stack serves its own dashboard; another port is given to the stack: TRIAGE_DASHBOARD_PORT=... "
            "triage --platform docker up"
        )
    from harness.compose.host import ComposeHost  # of one platform only

    page = ComposeHost(home()).dashboard()
    out.print(page.address, markup=False)
    err.print("it asks for this token:", markup=False)
    out.print(page.token, markup=False)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(dashboard)
