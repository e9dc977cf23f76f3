"""`triage scenario`: look at scenarios, check files of one's own, and prove that the oracle cannot be cheated."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, out, seconds, working
from harness.control import connect
from harness.errors import NotVerifiedError
from harness.proofs import Proofs, Step, all_of
from harness.scenario import Draw, SetName, draw, load, names
from harness.scenario_checks import platforms_of
from harness.site import deployment, platform
from harness.suite.commit import sources
from harness.validate import Check, Proof, Prover, Say, distinct, possible_here

app = typer.Typer(no_args_is_help=True, help="Scenarios: check files of your own, prove the oracle.")

SAID = {True: "passes", False: "fails"}


@app.command("check")
def check_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Paths or names of scenarios.")],
    json_: Json = False,
) -> None:
    """Check scenario files; no stack need be up. What cannot be run is refused by file, place and reason."""
    found = [load(name) for name in files]
    if json_:
        emit_json([{"name": item.name, "platforms": platforms_of(item), "sets": item.sets} for item in found])
        return
    for item in found:
        where = " and ".join(platforms_of(item)) or "no platform"
        count = f"{len(item.faults)} fault{'' if len(item.faults) == 1 else 's'}"
        out.print(f"{item.name}: {count}, can be run on {where}", markup=False)


@app.command("list")
def list_set(
    set_: Annotated[SetName, typer.Option("--set", help="Which of those that come with the project.")] = "full",
    json_: Json = False,
) -> None:
    """List a set of scenarios."""
    found = [load(name) for name in names(set_)]
    if json_:
        emit_json(found)
        return
    for item in found:
        out.print(f"{item.name:<28} {item.summary}", markup=False)


@app.command("validate")
def validate(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Path or name; see: triage scenarios.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every oracle of the project's scenarios, each once.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Draws every choice of the scenario.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Keep every proof here, and go on where it stopped.", show_default="none"),
    ] = None,
    json_: Json = False,
) -> None:
    """Prove on the running stack that an oracle fails while the fault is there, passes after the known repair, and
    fails for every planner that cheats.

    With --out, what was proved by the same sources is not proved again.
    """
    if (name is None) is not all_:
        raise typer.BadParameter("give either a NAME or --all")
    draws = [draw(load(item), seed=seed) for item in ((name,) if name is not None else names())]
    here = [drawn for drawn in draws if possible_here(drawn)]
    skipped = [drawn.scenario.name for drawn in draws if drawn not in here]
    kept = Proofs(folder, platform=platform(), commit="" if folder is None else sources())
    with working("validating") as say:
        proofs = run(lambda: _prove(here, kept, say, shown=not json_))
    if json_:
        emit_json([{**_row(proof), "checks": [_check_row(item) for item in proof.checks]} for proof in proofs])
    elif skipped:
        out.print(f"not to be made on this platform: {', '.join(skipped)}", markup=False)
    _require(proofs)


async def _prove(draws: list[Draw], kept: Proofs, say: Say, *, shown: bool) -> list[Proof]:
    """Prove what is not proved yet; the stack is asked for only if something is missing."""
    oracles = distinct(draws)
    proofs = []
    async with AsyncExitStack() as stack:
        prover: list[Prover] = []

        async def prove(drawn: Draw, also: tuple[str, ...]) -> Proof:
            if not prover:
                control = await stack.enter_async_context(connect(home()))
                prover.append(Prover(deployment(home()), control, say))
                await stack.enter_async_context(prover[0].prepared())
            return await prover[0].prove(drawn, also)

        async for step in all_of(oracles, kept, prove):
            proofs.append(step.proof)
            if shown:
                _print(step)
    return proofs


def _print(step: Step) -> None:
    proof = step.proof
    word = "proven" if proof.ok else "NOT proven"
    if step.kept:
        word = "proven before"
    rest = f", about {seconds(step.left_s)} left" if step.left_s else ""
    also = f"; also the oracle of {', '.join(proof.also)}" if proof.also else ""
    faults = ", ".join(proof.faults) or "no fault"
    out.print(f"{step.done} of {step.total}{rest}: {proof.scenario}, seed {proof.seed}: {word} ({faults}){also}")
    for item in () if step.kept else proof.checks:
        mark = "ok" if item.holds else "NO"
        note = f" [the platform refused it: {item.refused}]" if item.refused else ""
        out.print(f"  {mark}  {item.name:<24} {SAID[item.passed]}: {item.detail}{note}", markup=False)


def _row(proof: Proof) -> dict[str, object]:
    return {
        "scenario": proof.scenario,
        "seed": proof.seed,
        "faults": proof.faults,
        "also": proof.also,
        "ok": proof.ok,
    }


def _check_row(item: Check) -> dict[str, object]:
    return {
        "name": item.name,
        "must": SAID[item.must_pass],
        "came_out": SAID[item.passed],
        "holds": item.holds,
        "detail": item.detail,
        "refused": item.refused,
    }


def _require(proofs: list[Proof]) -> None:
    wrong = [f"{proof.scenario} {item.name}" for proof in proofs for item in proof.checks if not item.holds]
    if wrong:
        raise NotVerifiedError(f"{len(wrong)} checks of the oracle do not hold: {', '.join(wrong)}; see above")
    if not proofs:
        raise NotVerifiedError("no oracle was proven: none of these faults can be made on this platform")
