"""Model runs as the audit keeps them: show one whole, ask its model again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from auditor_svc import api
from auditor_svc.api import LlmRecord
from broker.runtime.settings import load_settings
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, grid, out, plain, seconds
from harness.cli.report import print_rows
from harness.errors import NotFoundError, NotVerifiedError
from harness.site import open_site

if TYPE_CHECKING:
    from harness.llm_replay import AskedAgain

Run = Annotated[str, typer.Argument(metavar="RUN", help="Such as inc-1a2b3c4d.v1.a1, or an incident with one run.")]


def runs(
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=1_000, help="So many, newest first.")] = 20,
    json_: Json = False,
) -> None:
    """List the newest model runs."""
    found = run(lambda: api.llm_runs(open_site(home()).audit_dsn, last))
    if json_:
        emit_json([_brief(item) for item in found])
        return
    table = grid("run", "model", "outcome", "tokens", "took", "at")
    for item in found:
        at = item.created_at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(item.run_id, item.model, item.outcome, str(item.tokens), seconds(item.elapsed_ms / 1e3), at)
    out.print(table)


def _brief(item: api.LlmRun) -> dict[str, object]:
    names = ("run_id", "incident", "model", "outcome", "tokens", "elapsed_ms", "created_at")
    return {name: plain(getattr(item, name)) for name in names}


def show(run_id: Run, json_: Json = False) -> None:
    """Show a model run whole: prompt, answer, repairs, verdict."""
    record = run(lambda: _one(run_id))
    if json_:
        emit_json(api.plain(record) | {"repaired": record.repaired, "verdict": record.verdict})
        return
    print_rows((name, value, "") for name, value in _facts(record) if value)
    for turn in record.prompt or ():
        out.print(f"\n--- {turn.get('role', '?')}", style="bold", markup=False)
        out.print(str(turn.get("content", "")), markup=False)
    out.print("\n--- answer", style="bold", markup=False)
    out.print(record.response or record.error, markup=False)


def replay(run_id: Run, json_: Json = False) -> None:
    """Ask the same model again with the stored prompt and settings, and say whether the answer is the same."""
    result = run(lambda: _replay(run_id))
    if json_:
        emit_json(result)
    elif result.same:
        out.print(result.sentence, markup=False)
    if not result.same:
        raise NotVerifiedError(result.sentence)


async def _replay(run_id: str) -> AskedAgain:
    # Late: no other command needs the HTTP client.
    from harness.llm_replay import ask_again

    record = await _one(run_id)
    return await ask_again(record, load_settings(home=home()), open_site(home()).inventory)


async def _one(run_id: str) -> LlmRecord:
    """Return the run of that name.

    Raises:
        NotFoundError: there is none, or the incident has several.
    """
    found = await api.llm_records(open_site(home()).audit_dsn, run_id)
    if not found:
        raise NotFoundError(f"no model run is called {run_id[:80]!r}; see: triage llm runs")
    if len(found) > 1:
        names = ", ".join(record.run_id for record in found[:8])
        raise NotFoundError(f"{run_id} has {len(found)} model runs; name one of them: {names}")
    return found[0]


def _facts(record: LlmRecord) -> list[tuple[str, str]]:
    """Return what is known of a run but for its texts, as rows."""
    config = record.model_config
    how = ", ".join(f"{name} {config[name]}" for name in ("temperature", "seed", "max_tokens") if name in config)
    held = {True: "held to it", False: "not held to it", None: "no answer"}[record.structured]
    schema = f"{config.get('schema', '')} {(record.schema_hash or '')[:16]} ({held})"
    timings = ", ".join(f"{name} {value:g}" for name, value in (record.timings or {}).items())
    return [
        ("run", f"{record.run_id}, attempt {record.attempt} of version {record.version}"),
        ("model", f"{record.model} at {config.get('endpoint', 'an unknown endpoint')}"),
        ("server", record.fingerprint or ""),
        ("settings", how),
        ("template", f"{record.template} {(record.template_hash or '')[:16]}" if record.template else ""),
        ("schema", schema),
        ("prompt", f"{record.prompt_tokens} tokens, {record.prompt_hash}"),
        ("answer", f"{record.completion_tokens} tokens, {record.response_hash}"),
        ("outcome", f"{record.outcome}{f': {record.error}' if record.error else ''}"),
        ("took", f"{seconds(record.elapsed_ms / 1e3)}{f' ({timings})' if timings else ''}"),
        *(("repair", line) for line in record.repairs),
        *(("by code", line) for line in record.filled),
        ("mended", "yes: whatever acts waits for a person" if record.mended else ""),
        ("question", record.question or ""),
        ("verdict", _verdict(record)),
    ]


def _verdict(record: LlmRecord) -> str:
    who = f", plan {record.plan_id} by the {record.origin} ({record.decision_tag})" if record.plan_id else ""
    why = "; ".join(f"{one.get('code')}: {one.get('detail')}" for one in record.reasons)
    return f"{record.verdict}{who}{f': {why}' if why else ''}"


def register(app: typer.Typer) -> None:
    """Add this module's commands to `triage llm`."""
    for command in (runs, show, replay):
        app.command()(command)
