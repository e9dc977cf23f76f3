"""How `triage suite` shows its progress and its figures."""

from __future__ import annotations

from collections.abc import Callable

from harness.cli.gates import show_gates
from harness.cli.output import err, grid, out, seconds
from harness.suite.command import Written
from harness.suite.compare import Comparison, succeeded, why_failed
from harness.suite.drive import Step, Tell
from harness.suite.report import interval, shown
from harness.terminal import one_line


def tell(progress: Callable[[str, str], None]) -> Tell:
    """Return what shows every step: a line a run on a terminal, and what is going on below it."""

    def say(step: Step) -> None:
        left = step.total - step.done
        rest = "" if step.left_s is None or not left else f", about {seconds(step.left_s)} left"
        progress(f"{step.done} of {step.total}", f"{left} to go{rest}")
        if err.is_terminal and not step.kept:
            err.print(f"{step.done} of {step.total} {line(step)}{rest}", markup=False)

    return say


def line(step: Step) -> str:
    """Return one run in one line."""
    run = step.last
    name = f"{run.key.scenario} seed {run.key.seed} {run.key.planner}"
    took = "" if run.figures is None or run.figures.recover_s is None else f" after {run.figures.recover_s:.1f} s"
    word = f"succeeded{took}" if succeeded(run) else f"FAILED: {why_failed(run)}"
    anew = "; the stack was brought up anew" if run.clean_up.restarted else ""
    return one_line(f"{name}: {word}{anew}")


def show(written: Written) -> None:
    """Show the figures of every planner, every failed run, the gates, and where the report is."""
    for planner, said in written.report.figures.items():
        out.print(planner, markup=False, style="bold")
        table = grid("figure", "value", "95 % interval", "of")
        for name, figure in said.items():
            bounds = interval(figure.low, figure.high, figure.unit)
            table.add_row(name, shown(figure.value, figure.unit), bounds, figure.detail)
        out.print(table)
    for run in written.report.runs:
        if not succeeded(run):
            name = f"{run.key.scenario} seed {run.key.seed}, {run.key.planner}"
            out.print(one_line(f"failed: {name}: {why_failed(run)}"), markup=False, style="red")
    show_gates(written.held)
    out.print(f"report: {written.page}", markup=False)


def show_comparison(found: Comparison) -> None:
    """Show what lies between two reports."""
    out.print(f"A: {found.first}", markup=False)
    out.print(f"B: {found.second}", markup=False)
    table = grid("figure", "A", "B", "B is")
    for figure in found.figures:
        first, second = shown(figure.first.value, figure.unit), shown(figure.second.value, figure.unit)
        table.add_row(figure.name, first, second, figure.moved)
    out.print(table)
    for run in found.changed:
        style = "green" if run.change == "mended" else "red"
        name = f"{run.scenario} seed {run.seed}, {run.planner}"
        out.print(one_line(f"{run.change}: {name} ({run.why})"), markup=False, style=style)
    out.print(f"{found.same} runs ended alike")
    for side, names in (("A", found.only_first), ("B", found.only_second)):
        if names:
            out.print(f"only in {side}: {'; '.join(names)}", markup=False)
