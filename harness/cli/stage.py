"""`triage demo --stage`: the six minutes of docs/demo_script.md, with real faults on a real stack."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import typer

from harness.cli.context import exit_code, home, port_base, run, sentence
from harness.cli.output import err, out, working
from harness.control import checked_report, connect
from harness.errors import NotFoundError, RefusedError
from harness.site import deployment, outside
from harness.stage import surroundings
from harness.stage.acts import Stage
from harness.stage.play import Do, Played, by_the_presenter, by_the_script, play
from harness.stage.script import SCRIPT, Act, Step, minutes

BUNDLED = "bundled"
INTERRUPTED = 130


def stage(auto: bool, fallback: str | None) -> None:
    """Go through the script; with a recording in place of the stack if one is given, or if the stack fails."""
    if outside():
        raise RefusedError("the stage is for the embedded stack; on containers: triage --platform docker demo")
    if not auto and not sys.stdin.isatty():
        raise typer.BadParameter("nobody can press Enter here: standard input is no terminal", param_hint="--auto")
    try:
        _go(auto, fallback)
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        err.print("interrupted; what was started for the stage is ended", markup=False)
        raise typer.Exit(INTERRUPTED) from error


def _go(auto: bool, fallback: str | None) -> None:
    if fallback is not None:
        run(lambda: _recorded(_file(fallback), SCRIPT, auto))
        return
    try:
        run(lambda: _real(auto))
    except Exception as error:
        if exit_code(error) is not None:
            _offered(error, auto)
        raise


def _file(name: str) -> Path:
    path = surroundings.BUNDLED if name == BUNDLED else Path(name)
    if not path.is_file():
        raise NotFoundError(f"there is no recording {name!r}; the one that comes with the demo is: {BUNDLED}")
    return path


def _offered(error: Exception, auto: bool) -> None:
    """Go on with the bundled recording, if the presenter wants to. What failed is still how the command ends."""
    out.print(f"\nThe stack failed: {sentence(error)}", style="bold yellow", markup=False)
    if auto or typer.confirm("Go on with the bundled recording?", default=True):
        peak = next(number for number, step in enumerate(SCRIPT) if step.act == "peak")
        run(lambda: _recorded(surroundings.BUNDLED, SCRIPT[peak:], auto))


def _end_by_sigterm() -> None:
    """Let SIGTERM end this command as an interrupt does, so that what it started is ended too."""
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)


async def _real(auto: bool) -> None:
    _end_by_sigterm()
    async with AsyncExitStack() as around:
        with working("starting") as progress:
            await around.enter_async_context(surroundings.stack_up(home(), port_base(), progress))
            own = (await deployment(home()).status()).dashboard
            page = await around.enter_async_context(surroundings.page_up(home(), own))
        control = await around.enter_async_context(connect(home()))
        acts = Stage(home(), control, page, None if auto else _asked).acts()
        _sum_up(await _played(SCRIPT, acts, page, auto))


async def _recorded(recording: Path, script: Sequence[Step], auto: bool) -> None:
    """Show a recording in the page, said again from the first of these steps on; the steps are words alone."""
    _end_by_sigterm()
    async with AsyncExitStack() as around:
        with working("starting"):
            place = await around.enter_async_context(surroundings.said_again(recording))
            page = await around.enter_async_context(surroundings.page_up(place))
        out.print(f"A recording is played, nothing happens for real: {recording.name}", style="bold", markup=False)
        _sum_up(await _played(script, {}, page, auto))


async def _played(script: Sequence[Step], acts: Mapping[Act, Do], page: str, auto: bool) -> tuple[Played, ...]:
    pace = by_the_script(asyncio.sleep, script) if auto else by_the_presenter(_line)

    def show(step: Step) -> None:
        _show(step, page, waits=not auto)

    return await play(script, acts, pace, show=show, told=_tell, clock=time.monotonic)


def _show(step: Step, page: str, *, waits: bool) -> None:
    out.print()
    out.print(f"{minutes(step.start_s)}-{minutes(step.end_s)}  {step.title}", style="bold cyan", markup=False)
    for line in step.say:
        out.print(f"  say   {line}", markup=False)
    out.print(f"  look  {step.look}", markup=False)
    out.print(f"  page  {page}#/{step.view}", markup=False)
    if waits:
        err.print("  Enter: go on", style="dim")


def _tell(played: Played) -> None:
    if played.came:
        out.print(f"  done  {played.came} ({played.acted_s:.1f} s)", style="green", markup=False)


def _sum_up(played: Sequence[Played]) -> None:
    out.print()
    for item in played:
        out.print(f"{minutes(item.began_s)} (script {minutes(item.step.start_s)})  {item.step.title}", markup=False)


async def _line() -> str:
    """Return the next line of standard input, without keeping an interrupt from being heard."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sys.stdin, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


async def _asked() -> str:
    """Return what the audience reports; asked again until it can be. Empty: it comes by the page."""
    while True:
        out.print("  What is broken? (empty: type it into the page, Incident, Report)", markup=False)
        text = (await _line()).strip()
        try:
            if text:
                checked_report("inc-audience", text, "harness")
            return text
        except RefusedError as error:
            out.print(f"  {error}", style="yellow", markup=False)
