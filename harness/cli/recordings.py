"""Recordings: decide them again, say them again, put another planner into them, compare them."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.errors import KeyringError
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, emit_json_line, err, out, plain, working
from harness.errors import NotVerifiedError
from harness.replay import replay as replay_recording
from harness.site import deployment

if TYPE_CHECKING:
    from harness.decisions import Change
    from harness.diff import Comparison, Side
    from harness.rebroadcast import Gaps
    from harness.swap import Swapped, Wish

INTERRUPTED = 130
SHOWN = 300
"""Characters of a decision that are shown of each side; --json has all."""
SHOWN_CHANGES = 6
SHORT = 80
OWN = "home"


def replay(
    recording: Annotated[Path, typer.Argument(help="File written by triage run --record.")],
    live: Annotated[
        bool, typer.Option("--live", help="Say it again through a broker of its own, for tail and dashboards.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option("--speed", min=0.01, max=10_000, help="With --live: recorded seconds in a second.")
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="With --live: keep the journal up after its end, until interrupted.")
    ] = False,
    swap: Annotated[
        str | None,
        typer.Option("--swap", metavar="planner=rulebook|URL", help="Let another planner decide, until they part."),
    ] = None,
    signed_by: Annotated[
        str | None,
        typer.Option("--signed-by", metavar="KEY|home", help="Refuse it unless this key, or this stack's, signed it."),
    ] = None,
    json_: Json = False,
) -> None:
    """Decide a recorded run again, offline, and compare every plan, dispatch and verdict byte by byte.

    Exit code 5 and the first difference if it differs. With --swap: 0 if the planners agree, 1 where they part.
    """
    if live and swap is not None:
        raise typer.BadParameter("it cannot be said live and swapped at once", param_hint="--swap")
    if not live and (speed is not None or stay):
        raise typer.BadParameter("it is for --live only", param_hint="--speed" if speed is not None else "--stay")
    if live:
        _live(recording, speed or 1.0, stay, signed_by, json_)
    elif swap is not None:
        _swap(recording, swap, signed_by, json_)
    else:
        _again(recording, signed_by, json_)


def _again(recording: Path, signed_by: str | None, json_: bool) -> None:
    report = replay_recording(recording, signed_by=_key(signed_by))
    if json_:
        emit_json(report)
    elif report.difference is None:
        signer = f"signed by {report.signed_by[:16]}…" if report.signed_by else "not signed"
        out.print(
            f"identical: {report.events} events, {report.decisions} decisions, the same bytes "
            f"({report.events_per_second:,.0f} events/s); {signer}"
        )
    if report.difference is not None:
        raise NotVerifiedError(report.difference.sentence)


def _key(text: str | None) -> bytes | None:
    """Return the public key that `--signed-by` means.

    Raises:
        KeyringError: the keys of the home cannot be opened, or sign no recordings.
    """
    if text is None:
        return None
    if text != OWN:
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise typer.BadParameter("a key has 64 hexadecimal digits; or say: home", param_hint="--signed-by")
        return bytes.fromhex(text)
    public = deployment(home()).keys().load("operator").recording_public
    if public is None:
        raise KeyringError(
            f"the keys under {home()} are of before recordings were signed; bring the stack up once, "
            "or: triage keys rotate"
        )
    return public


# live


def _live(recording: Path, speed: float, stay: bool, signed_by: str | None, json_: bool) -> None:
    key = _key(signed_by)
    try:
        run(lambda: _broadcast(recording, speed, stay, key, json_))
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        err.print("interrupted; the replay's broker and its home are gone", markup=False)
        raise typer.Exit(INTERRUPTED) from error


async def _broadcast(path: Path, speed: float, stay: bool, key: bytes | None, json_: bool) -> None:
    # Late: no other command needs a server of its own.
    from harness.own_broker import own_broker
    from harness.rebroadcast import Voices, gaps, opened, say, stamps

    piece = opened(path, signed_by=key)
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with own_broker(piece.inventory) as own:
        lines = piece.lines
        seconds = lines[-1].at_s / speed if lines else 0.0
        if json_:
            facts = {"scenario": piece.scenario, "incident": piece.incident, "speed": speed, "seconds": seconds}
            emit_json_line({"url": own.url, "home": str(own.home), "messages": len(lines), **facts})
        else:
            out.print(
                f"{piece.scenario}: {len(lines)} messages in {seconds:,.1f} s at speed {speed:g}\n"
                f"journal  {own.url}\nhome     {own.home}\n"
                f"watch    triage --home {own.home} tail -f",
                markup=False,
            )
        with working(f"replaying {piece.scenario}") as tell:
            stand = await say(
                lines,
                own.broker,
                Voices(own.keyring),
                speed=speed,
                told=lambda count, line: tell(f"{count} of {len(lines)}", line.subject),
            )
        kept = gaps(lines, await stamps(own.broker, stand), speed)
        if json_:
            emit_json_line(kept)
        else:
            _print_gaps(kept, stay)
        if stay:
            await asyncio.Event().wait()


def _print_gaps(kept: Gaps, stay: bool) -> None:
    out.print(
        f"{kept.messages} messages said; gaps within {kept.worst_ms:.1f} ms of the recorded ones "
        f"(99 % within {kept.p99_ms:.1f} ms, half within {kept.median_ms:.2f} ms)"
    )
    if stay:
        out.print("the journal stays until Ctrl-C")


# swap


def _swap(recording: Path, what: str, signed_by: str | None, json_: bool) -> None:
    name, given, planner = what.partition("=")
    if name != "planner" or not given or not (planner == "rulebook" or re.match("https?://", planner)):
        raise typer.BadParameter(
            f"{what[:60]!r} names no planner: planner=rulebook, or planner=http://host:port/v1", param_hint="--swap"
        )
    if (key := _key(signed_by)) is not None:
        replay_recording(recording, signed_by=key)
    found = run(lambda: _swapped(recording, planner))
    if json_:
        emit_json(found)
    else:
        _print_swapped(found)
    if found.parting is not None:
        raise typer.Exit(1)


async def _swapped(recording: Path, planner: str) -> Swapped:
    # Late: no other command needs the planner's client.
    from harness.swap import swap
    from harness.swap_model import asking

    if planner == "rulebook":
        return await swap(recording, planner)
    async with asking(home(), planner, recording) as (shown, ask):
        return await swap(recording, shown, ask)


def _print_swapped(found: Swapped) -> None:
    for why in found.unanswered:
        out.print(
            f"note: the model gave no answer, so the rulebook stood in for it ({why})", style="yellow", markup=False
        )
    parting = found.parting
    if parting is None:
        attempts = "attempt" if found.proposals == 1 else "attempts"
        out.print(
            f"same: {found.planner} proposes what the recorded planner proposed, in {found.proposals} {attempts} "
            f"({found.events} events)",
            markup=False,
        )
        return
    where = f"plan {parting.version}, attempt {parting.attempt} of {parting.incident}"
    out.print(f"they part at {where}, after {found.events} events: {_named(parting.changes) or 'one says nothing'}")
    _print_wish(f"recorded planner ({found.recorded_mode})", parting.recorded)
    _print_wish(found.planner, parting.other)


def _print_wish(whose: str, wish: Wish | None) -> None:
    if wish is None:
        out.print(f"{whose}: proposed nothing", markup=False)
        return
    belief = f"{wish.fault_class} on {wish.target}, confidence {wish.confidence:.2f}"
    out.print(f"{whose}, after {wish.after_s:.1f} s: {belief} (by {wish.origin})", markup=False)
    for number, task in enumerate(wish.tasks, 1):
        out.print(f"  {number}. {task}", markup=False)


# diff


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A recording; or live, or live:INCIDENT.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare bytes: for two views of the very same run, such as its journal.")
    ] = False,
    json_: Json = False,
) -> None:
    """Show where two runs part: the first decision that differs, both texts, and what led to each.

    Exit code 0 if they decided the same, 1 if not.
    """
    found = run(lambda: _compared(a, b, exact))
    if json_:
        emit_json(found)
    else:
        _print_comparison(found)
    if not found.same:
        raise typer.Exit(1)


async def _compared(a: str, b: str, exact: bool) -> Comparison:
    from harness.diff import compare
    from harness.sources import is_live, live, recorded

    files = {source: recorded(Path(source)) for source in (a, b) if not is_live(source)}
    beside = next((found.incident for found in files.values()), None)
    one, other = [files[source] if source in files else await live(home(), source, beside) for source in (a, b)]
    return compare(one, other, exact=exact)


def _print_comparison(found: Comparison) -> None:
    if found.first is None:
        how = "the same bytes" if found.exact else "the same in essence"
        out.print(f"same: {found.decisions[0]} decisions, {how}", markup=False)
        return
    first = found.first
    what = _named(first.changes) or "one run has no such decision"
    where = f"decision {first.number} of the {first.machine}, {first.after_s:.1f} s after the report"
    out.print(f"they part at {where}: {what}", markup=False)
    for change in first.changes[:SHOWN_CHANGES]:
        out.print(f"  {change.field}: {_short(change.a)} in A, {_short(change.b)} in B", markup=False)
    for name, side in ((f"A {found.a}", first.a), (f"B {found.b}", first.b)):
        _print_side(name, side)
    later = [f"the {name} at its decision {item.number}" for name, item in found.machines.items() if item != first]
    if later:
        out.print(f"later: {', '.join(later)}", markup=False)


def _named(changes: tuple[Change, ...]) -> str:
    """Return the names of the places that differ, the first of them if they are many."""
    names = [change.field for change in changes[:SHOWN_CHANGES]]
    return ", ".join(names) + (f" and {len(changes) - len(names)} more" if len(changes) > len(names) else "")


def _short(value: object) -> str:
    text = str(plain(value))
    return text if len(text) <= SHORT else f"{text[:SHORT]}…"


def _print_side(name: str, side: Side | None) -> None:
    if side is None:
        out.print(f"{name}: decides nothing more", markup=False)
        return
    text = side.text if len(side.text) <= SHOWN else f"{side.text[:SHOWN]}…"
    out.print(f"{name}: event {side.seq}, {side.after_s:+.1f} s, {side.subject}\n  {text}", markup=False)
    for step in side.led_by:
        out.print(f"  led by event {step.seq}, {step.after_s:+.1f} s, {step.subject}", style="dim", markup=False)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(replay)
    app.command()(diff)
