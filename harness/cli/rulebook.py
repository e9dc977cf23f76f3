"""The rulebook: which rules count here and where they come from, and whether one's own files are right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broker.runtime.settings import load_settings
from harness.cli.context import Json, home
from harness.cli.output import emit_json, grid, out
from harness.errors import NotFoundError
from planner_svc.core.config import Rule, Rulebook
from planner_svc.rulebook_files import Loaded, check, load, own_files

app = typer.Typer(help="Rules that name a fault and what is done about it (docs/rulebook.md).", no_args_is_help=True)


def _folder() -> Path:
    return load_settings(role="planner", home=home()).rulebook_dir


@app.command(name="check")
def check_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Files of rules; those of the home unless given.", show_default=False),
    ] = None,
    json_: Json = False,
) -> None:
    """Check files of rules against those of the package: shape, names, patterns, bounds. Exit code 2 names every fault.

    Given files are checked together with what lies in the home's folder, as they would count once they lie there.
    """
    if missing := [path for path in files or () if not path.is_file()]:
        raise NotFoundError(f"{missing[0]} is no file; give a JSON file with rules (docs/rulebook.md)")
    given = {path.resolve(): path for path in files or ()}
    beside = [path for path in own_files(_folder()) if path.resolve() not in given]
    checked = [*beside, *given.values()]
    loaded = check(checked)
    added = {name: source for name, source in loaded.sources.items() if source in map(str, checked)}
    if json_:
        emit_json({"files": checked, "rules": added, "total": len(loaded.rulebook.rules)})
        return
    if not checked:
        out.print(
            f"no rules of your own under {_folder()}; the package's {len(loaded.rulebook.rules)} count", markup=False
        )
        return
    names = ", ".join(added) or "no rule"
    right = "1 file is right; it adds" if len(checked) == 1 else f"{len(checked)} files are right; they add"
    out.print(f"{right} {names}", markup=False)
    out.print("a running planner takes them at its next start: triage down, triage up", markup=False)


@app.command(name="list")
def list_(
    fault_class: Annotated[
        str | None, typer.Option("--class", help="Only rules that speak for this class of fault.")
    ] = None,
    json_: Json = False,
) -> None:
    """List the rules that count here, with the fault each speaks for and where it comes from."""
    loaded = load(_folder())
    classes = tuple(dict.fromkeys(remedy.fault_class for remedy in loaded.rulebook.remedies))
    if fault_class is not None and fault_class not in classes:
        raise NotFoundError(f"there is no class of fault {fault_class[:60]!r}; known are {', '.join(classes)}")
    rules = [rule for rule in loaded.rulebook.rules if fault_class in (None, rule.fault_class)]
    if json_:
        emit_json(_plain(loaded, rules))
        return
    table = grid("fault", "weight", "rule", "sign", "from")
    for rule in sorted(rules, key=lambda rule: (classes.index(rule.fault_class), -rule.weight)):
        source = loaded.sources[rule.name]
        table.add_row(rule.fault_class, f"{rule.weight:.2f}", rule.name, sign(rule), Path(source).name)
    out.print(table)
    out.print(f"{len(rules)} rules, {len(loaded.rulebook.remedies)} remedies", markup=False)


def sign(rule: Rule) -> str:
    """Return in a few words at which sign a rule speaks."""
    parts = [rule.signal, *rule.errors]
    if rule.field is not None:
        parts.append(f"{rule.field}={rule.equals}")
    if rule.log is not None:
        parts.append(f"log /{rule.log}/")
    if rule.kinds:
        parts.append(f"of {'/'.join(rule.kinds)}")
    if rule.clients != "any":
        parts.append(f"{rule.clients} client{'s' if rule.clients == 'several' else ''}")
    if rule.target == "dependency":
        parts.append("-> dependency")
    return " ".join(parts)


def _plain(loaded: Loaded, rules: list[Rule]) -> object:
    rulebook: Rulebook = loaded.rulebook
    return {
        "rules": [{**rule.model_dump(mode="json"), "from": loaded.sources[rule.name]} for rule in rules],
        "remedies": [remedy.model_dump(mode="json") for remedy in rulebook.remedies],
        "errors": [item.model_dump(mode="json") for item in rulebook.errors],
        "words": [item.model_dump(mode="json") for item in rulebook.words],
    }
