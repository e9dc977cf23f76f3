"""The runbooks: which there are, what one says, and what a search would find, ranked as the agent ranks."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer
from rich.markup import escape

from agents.runbook.agent import DEFAULT_K, line
from agents.runbook.database import DatabaseStore
from agents.runbook.library import Library, Refused, load
from agents.runbook.opening import open_embedder
from agents.runbook.shelf import Found, Shelf
from broker.contracts.excerpt import MAX_EXCERPTS
from broker.contracts.inventory import Inventory
from broker.runtime.settings import Settings, load_settings
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, err, grid, out
from harness.errors import NotFoundError, RefusedError, StackDownError
from harness.site import open_site

MAX_QUESTION = 400
app = typer.Typer(help="Runbooks, one's own included, and past incidents (docs/runbooks.md).", no_args_is_help=True)


@app.command(name="list")
def list_(json_: Json = False) -> None:
    """List the runbooks; files that were refused are named on standard error."""
    library = _library()
    if json_:
        emit_json({"runbooks": [_row(library, item.head.id) for item in library.runbooks], "refused": library.refused})
        return
    table = grid("id", "fault", "version", "from", "title")
    for item in library.runbooks:
        head = item.head
        table.add_row(head.id, head.fault_class, str(head.version), escape(item.origin), escape(head.title))
    out.print(table)
    _name(library.refused)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The runbook's id, as `triage runbook list` shows it.")],
    json_: Json = False,
) -> None:
    """Show one runbook."""
    library = _library()
    found = library.get(name)
    if found is None:
        near = difflib.get_close_matches(name, [item.head.id for item in library.runbooks], n=1)
        hint = f"did you mean {near[0]}?" if near else "`triage runbook list` shows them"
        raise NotFoundError(f"there is no runbook {name[:60]!r}; {hint}")
    if json_:
        emit_json(_row(library, name) | {"body": found.body})
        return
    head = found.head
    about = (f"{head.title} ({head.fault_class}, version {head.version}, {found.origin})", "")
    signs = (
        *(f"- {sign}" for sign in head.symptoms),
        *([f"- errors: {', '.join(head.errors)}"] if head.errors else []),
    )
    actions = f"actions: {', '.join(head.actions)} (risk {head.risk}); on: {', '.join(head.applies_to)}"
    out.print("\n".join((*about, *signs, actions, "", found.body.strip())), markup=False)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What is wrong, in your words.")],
    k: Annotated[int, typer.Option("--top", "-k", min=1, max=MAX_EXCERPTS, help="So many passages.")] = DEFAULT_K,
    json_: Json = False,
) -> None:
    """Search runbooks and past incidents: in the stack's database if one is up, else in memory."""
    words = " ".join(text.split())
    if not words:
        raise RefusedError("there is nothing to search for; say in words what is wrong")
    found = run(lambda: _search(words[:MAX_QUESTION], k))
    if json_:
        emit_json(found)
        return
    for excerpt in found.excerpts:
        out.print(line(excerpt), markup=False)
    missing = f"; {found.missing}" if found.missing else ""
    err.print(f"{len(found.excerpts)} passages, ranked by {found.ranked_by}{missing}", markup=False)


async def _search(text: str, k: int) -> Found:
    settings = _settings()
    dsn = _dsn()
    database, embedder = (DatabaseStore(dsn), open_embedder(settings)) if dsn else (None, None)
    # The question only: what the stack stores is the agent's business.
    shelf = Shelf(Inventory(devices=()), users=settings.runbooks_dir, database=database, embedder=embedder)
    try:
        return await shelf.search(text, {}, k)
    finally:
        await shelf.close()


def _dsn() -> str | None:
    try:
        return open_site(home()).runbooks_dsn or None
    except StackDownError:
        return None


def _settings() -> Settings:
    return load_settings(role="operator", home=home())


def _library() -> Library:
    return load(_settings().runbooks_dir)


def _row(library: Library, name: str) -> dict[str, object]:
    found = library.get(name)
    assert found is not None  # noqa: S101 - the caller has it from this library
    return found.head.model_dump(mode="json") | {"origin": found.origin, "sha256": found.sha256}


def _name(refused: tuple[Refused, ...]) -> None:
    for item in refused:
        err.print(f"{item.name} {item.reason}; it is not used", style="yellow", markup=False)
