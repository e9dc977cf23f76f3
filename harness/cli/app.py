"""`triage`: the operator's one command. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 refused, 5 verification
failed, 6 timed out, 7 dependency down, 130 interrupted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer

from harness import leash
from harness.cli import (
    audit,
    dashboard,
    demo,
    faults,
    incidents,
    keys,
    llm,
    llm_eval,
    llm_runs,
    operate,
    recordings,
    rulebook,
    runbooks,
    runs,
    scenario,
    stack,
    suite,
)
from harness.cli.context import exit_code, sentence
from harness.cli.handing_on import handed_on
from harness.cli.output import err, quiet
from harness.site import PLATFORM_VARIABLE, PlatformName

app = typer.Typer(
    name="triage",
    help="Report a broken system; watch it triaged, repaired, proved and recorded.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (stack, incidents, faults, runs, recordings, operate, demo, dashboard):
    module.register(app)
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(llm.app, name="llm")
llm_eval.register(llm.app)
llm_runs.register(llm.app)
app.add_typer(rulebook.app, name="rulebook")
app.add_typer(runbooks.app, name="runbook")
app.add_typer(suite.app, name="suite")
app.add_typer(scenario.app, name="scenario")


@app.callback()
def options(
    home: Annotated[
        Path | None, typer.Option("--home", envvar="TRIAGE_HOME", help="Where the stack lives.", show_default=False)
    ] = None,
    platform: Annotated[
        PlatformName | None,
        typer.Option("--platform", envvar=PLATFORM_VARIABLE, help="What the stack runs on.", show_default="embedded"),
    ] = None,
) -> None:
    """Options of every command."""
    if platform is not None:
        os.environ[PLATFORM_VARIABLE] = platform
    if home is not None:
        os.environ["TRIAGE_HOME"] = str(home.expanduser().absolute())


@runtime_checkable
class _UsageError(Protocol):
    """What typer raises for wrong usage. It carries its own copy of click, whose exceptions have no public name."""

    exit_code: int

    def show(self) -> None: ...


def main() -> int:
    """Run the CLI; return its exit code."""
    leash.hold()
    return guarded(app)


def guarded(command: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run a command (with the process's own arguments unless others are given); return its exit code.

    Foreseen errors come as one sentence on standard error, never as a trace.
    """
    try:
        with quiet():
            if command is app and (code := handed_on(sys.argv[1:] if arguments is None else arguments)) is not None:
                return code
            result = command(arguments, standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; silence the interpreter's own complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, _UsageError):
            error.show()
            return error.exit_code
        code = exit_code(error)
        if code is None:
            raise
        err.print(f"triage: {sentence(error)}", markup=False)
        return code
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
