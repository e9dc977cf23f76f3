"""Models without any other program: serve one on loopback, fetch a known one, list them (docs/models.md)."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from harness.cli.context import Json
from harness.cli.output import emit_json, emit_json_line, err, grid, out, working
from harness.llm import cache, known
from harness.llm.fetch import fetch as fetch_model
from harness.llm.server import DEFAULT_PORT, Running, Served, examine, require_engine, serving

app = typer.Typer(help="The planner's model: serve one, fetch one, see what it did.", no_args_is_help=True)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A GGUF file, or the name of a fetched model.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of 127.0.0.1; 0 takes a free one.")] = DEFAULT_PORT,
    ctx: Annotated[int, typer.Option(min=256, max=1_048_576, help="Prompt and answer together, in tokens.")] = 4_096,
    threads: Annotated[
        int | None, typer.Option(min=1, max=512, help="Threads; one a core unless given.", show_default=False)
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Name it is asked by.", show_default=False)] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Offer /v1/embeddings too.")] = False,
    json_: Json = False,
) -> None:
    """Serve a model on loopback with the OpenAI interface until interrupted; the same question gets one answer."""
    require_engine()
    with _ended_by_signals():
        path = cache.resolve(model)
        with _reading(path.name, path.stat().st_size) as progress:
            served = examine(path, alias, progress)
        with serving(served, port=port, context=ctx, threads=threads, embeddings=embeddings) as running:
            _show(running, json_)
            running.wait()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, and both for the proper end of what serves until it is told to end."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        err.print("ended", markup=False)
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(running: Running, json_: bool) -> None:
    served, options = running.served, running.options
    if json_:
        emit_json_line(
            {
                "url": running.url,
                "model": served.alias,
                "path": served.path,
                "bytes": served.bytes,
                "sha256": served.sha256,
                "known": served.known,
                "context": options.context,
                "threads": options.threads,
                "embeddings": options.embeddings,
                "seconds_to_start": round(running.seconds_to_start, 3),
            }
        )
        return
    whose = "known" if served.known else "not a known one"
    for name, value in (
        ("model", served.alias),
        ("file", f"{served.path} ({_size(served.bytes)})"),
        ("sha256", f"{served.sha256} ({whose})"),
        ("url", f"{running.url}, healthy after {running.seconds_to_start:.1f} s"),
        ("serves", f"{options.context} tokens, {options.threads} threads, one question at a time"),
    ):
        out.print(f"{name:<8} {value}", markup=False)
    for warning in warnings(served, options.context):
        err.print(f"triage: {warning}", markup=False, style="yellow")
    if options.port != DEFAULT_PORT:
        out.print(f"the planner finds it with: TRIAGE_MODEL_URL={running.url} triage up", markup=False)
    out.print("Ctrl-C ends it", markup=False)
    out.file.flush()


def warnings(served: Served, context: int) -> list[str]:
    """Return what a person should know before trusting a model with a plan."""
    facts, found = served.facts, []
    if facts.embeds:
        found.append(f"{served.alias} is made for embeddings: it answers no questions")
    elif not facts.chats:
        found.append(f"{served.alias} brings no template for conversations: expect poor answers")
    if facts.context is not None and context > facts.context:
        found.append(f"{served.alias} was made for {facts.context} tokens, fewer than the {context} it is to serve")
    return found


@contextmanager
def _reading(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far a file was read; gives a function that is told."""
    with _bar(err) as bar:
        task = bar.add_task(f"reading {name}", total=size)

        def read(done: int) -> None:
            bar.update(task, completed=done)

        yield read


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Of a known model; see: triage llm models.")],
    json_: Json = False,
) -> None:
    """Fetch a known model's bytes into the cache, once, and compare them with its SHA-256."""
    model = known.named(name)
    with working(f"fetching {model.name} ({_size(model.bytes)})") as progress:
        path = fetch_model(model, progress=lambda what: progress("", what))
    if json_:
        emit_json({"name": model.name, "path": path, "bytes": model.bytes, "sha256": model.sha256})
        return
    out.print(
        f"{path} has the known bytes ({_size(model.bytes)}); serve it with: triage llm serve {model.name}", markup=False
    )


@app.command()
def models(json_: Json = False) -> None:
    """List the known models and the model files in the cache."""
    there = cache.cached()
    fetched = {item.known for item in there}
    if json_:
        rows = [{**model.model_dump(mode="json"), "fetched": model.name in fetched} for model in known.known_models()]
        emit_json({"folder": cache.folder(), "known": rows, "cached": there})
        return
    table = grid("known model", "size", "fetched", "sha256", "good for")
    table.columns[0].no_wrap = True
    for model in known.known_models():
        here = "[green]yes[/green]" if model.name in fetched else "no"
        table.add_row(model.name, _size(model.bytes), here, model.sha256[:16] + "…", model.good_for)
    out.print(table)
    others = [item for item in there if item.known is None]
    for item in others:
        out.print(f"{item.path.name} ({_size(item.bytes)}) is in the cache too and is no known model", markup=False)
    out.print(f"cache: {cache.folder()}", markup=False)


def _size(count: int) -> str:
    return f"{count / 10**9:.2f} GB" if count >= 10**9 else f"{count / 10**6:.0f} MB"
