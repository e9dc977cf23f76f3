"""`triage dashboard`: the page and its API, served from this process for the stack of the home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broker.runtime.settings import load_settings
from dashboard.built import NOT_BUILT, is_built
from deploy.errors import StackError
from harness.cli.context import home, run
from harness.cli.output import err, out
from harness.errors import RefusedError
from harness.site import deployment, is_up, outside, platform


def dashboard(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; any but loopback needs a token.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="TCP port; 0 takes a free one.")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File whose first line everybody must show.")
    ] = None,
) -> None:
    """Print the address of the stack's own dashboard; serve one until interrupted where there is none, or as told."""
    if outside():
        _show_the_compose_stacks(any(option is not None for option in (host, port, token_file)))
        return
    own = own_address()
    if own is not None and host is None and port is None and token_file is None:
        out.print(own, markup=False)
        err.print("the stack serves it; another one: triage dashboard --port 0", markup=False)
        return
    from dashboard.api import serve  # a web framework that nobody else needs

    settings = load_settings(role="operator", home=home())
    where = serve.place(
        host or settings.dashboard_host,
        settings.dashboard_port if port is None else port,
        token_file or settings.dashboard_token_file,
    )
    if own is not None:
        err.print(f"the stack's own dashboard is at {own}", markup=False)
    elif not is_up(home()):
        err.print("no stack is up yet: the page waits for it; start one with: triage up", style="yellow", markup=False)
    run(lambda: serve.serve(home(), where, lambda address: out.print(address, markup=False)))


def _show_the_compose_stacks(told_how: bool) -> None:
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


def own_address() -> str | None:
    """Return the address of the embedded stack's own dashboard, if that answers."""
    if platform() != "embedded" or not is_up(home()):
        return None
    try:
        found = run(deployment(home()).status)
    except StackError:
        return None  # a broker that says a recording again (ADR 0022) has a stack's home and none of its programs
    page = next((program for program in found.programs if program.tier == "page"), None)
    return found.dashboard if page is not None and page.healthy else None


def where_to_look(address: str) -> str:
    """Return the line that sends people to the page."""
    return f"dashboard: {address}" if is_built() else f"dashboard: {address} ({NOT_BUILT})"


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(dashboard)
