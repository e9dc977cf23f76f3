"""Break things for real, and mend them."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.contracts.base import Scalar
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, out
from harness.site import deployment
from injector.errors import BadArgumentError
from injector.fault import Spec
from injector.injector import Injector
from injector.registry import FAULTS, find


def inject(
    fault: Annotated[str, typer.Argument(help="Name of the fault; see: triage faults.")],
    target: Annotated[str | None, typer.Option("--target", "-t", help="Workload or source--destination link.")] = None,
    arg: Annotated[list[str] | None, typer.Option("--arg", help="Argument of the fault, name=number.")] = None,
    json_: Json = False,
) -> None:
    """Inject a fault; it is in the world when this returns."""
    spec = Spec(fault, target or find(fault).targets[0], _arguments(arg or []))
    opened = run(lambda: _injector().inject(spec))
    if json_:
        emit_json(opened)
    else:
        out.print(f"{opened.id} is in the world; heal it with: triage heal {opened.id}")


def heal(
    fault_id: Annotated[str | None, typer.Argument(metavar="ID", help="See: triage faults --open.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Heal every open fault.")] = False,
    json_: Json = False,
) -> None:
    """Heal an injected fault, whether or not it was repaired meanwhile."""
    if (fault_id is None) is not all_:
        raise typer.BadParameter("give either an ID or --all")
    if fault_id is None:
        healed = run(_injector().heal_all)
    else:
        name = fault_id
        healed = (run(lambda: _injector().heal(name)),)
    if json_:
        emit_json(healed)
    elif not healed:
        out.print("no fault is open")
    for fault in () if json_ else healed:
        out.print(f"{fault.id} is healed")


def faults(
    open_: Annotated[bool, typer.Option("--open", help="Only what is open now.")] = False, json_: Json = False
) -> None:
    """List the faults that can be injected, with targets and platforms, or those that are open."""
    rows: list[dict[str, object]]
    if open_:
        rows = [
            {"id": f.id, "fault": f.spec.fault, "target": f.spec.target, "state": f.state, "at": f.at}
            for f in _injector().open()
        ]
    else:
        rows = [
            {"fault": f.name, "summary": f.summary, "targets": list(f.targets), "platforms": list(f.platforms)}
            for f in FAULTS.values()
        ]
    if json_:
        emit_json(rows)
        return
    for row in rows:
        out.print("  ".join(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()), markup=False)
    if not rows:
        out.print("no fault is open")


def _arguments(pairs: list[str]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise BadArgumentError(f"an argument is name=number, not {pair[:60]!r}") from error
    return found


def _injector() -> Injector:
    return deployment(home()).injector()


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(inject)
    app.command()(heal)
    app.command()(faults)
