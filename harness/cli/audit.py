"""The audit trail: verify it, export it, read an incident's story out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor_svc import api
from auditor_svc.report import Report
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, out
from harness.errors import NotFoundError, NotVerifiedError
from harness.shown import shown_in
from harness.site import deployment, open_site
from harness.store import public_key, verify_audit

app = typer.Typer(help="The tamper-evident record of every envelope.", no_args_is_help=True)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Option("--export", help="Verify an exported file, not the database.")] = None,
    json_: Json = False,
) -> None:
    """Check hash chain and signed checkpoints; name every row that was edited, deleted, inserted, moved or cut off."""
    report = run(lambda: verify_audit(home())) if file is None else _verify_export(file)
    if json_:
        emit_json(report)
    else:
        for fault in report.faults:
            out.print(f"{fault.kind} at journal {fault.journal_seq}: {fault.sentence}", style="red", markup=False)
        if report.ok:
            out.print(f"{report.rows} rows and {report.checkpoints_checked} checkpoints hold; head {report.head[:16]}…")
        for note in report.notes:
            out.print(f"note: {note}", style="yellow", markup=False)
    if not report.ok:
        raise NotVerifiedError(f"the audit trail does not hold: {report.faults_found} faults")


def _verify_export(file: Path) -> Report:
    """Verify an exported file with the key of the home; neither needs a stack.

    Raises:
        NotFoundError: the file cannot be read. KeyringError, ExportError.
    """
    try:
        file.open("rb").close()
    except OSError as error:
        raise NotFoundError(f"the export {file} cannot be read: {(error.strerror or str(error)).lower()}") from error
    return api.verify_export(file, public_key(deployment(home()).keys()))


@app.command()
def export(path: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Write the whole trail to a file that anybody can verify offline."""
    run(lambda: api.export(open_site(home()).audit_dsn, path))
    name = shown_in(str(path))
    out.print(f"written to {name}; verify with: triage audit verify --export {name}", markup=False)
