"""Report an incident, follow it, read the journal."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from broker.contracts.base import Token
from broker.contracts.incident import MAX_TEXT, IncidentClosed
from broker.contracts.machine import Event
from broker.gate import Trusted
from broker.port import CaughtUp
from harness.cli.context import Json, home, run
from harness.cli.live import LiveView
from harness.cli.output import emit_json, emit_json_line, err, out, plain
from harness.cli.report import print_closed
from harness.control import ControlPlane, Refused, Seen, checked_report, connect, too_long
from harness.errors import NotVerifiedError, RefusedError, TimedOutError
from harness.score import Score, score
from harness.story import Story


def report(
    text: Annotated[str, typer.Argument(help="What is wrong, in your words; - reads standard input.")],
    wait: Annotated[bool, typer.Option("--wait", help="Follow it live until it is closed.")] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1.0, help="With --wait: give up after this, seconds.")
    ] = 180.0,
    json_: Json = False,
) -> None:
    """Report an incident in free text."""
    words = _text(text)
    checked_report("unnamed", words, "operator")  # what cannot be taken is said before anything is connected to
    run(lambda: _report(words, wait, timeout_s, json_))


def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Start this many messages before the end.")] = 50,
    incident: Annotated[str | None, typer.Option("--incident", help="Only what belongs to this incident.")] = None,
    telemetry: Annotated[bool, typer.Option("--telemetry", help="Show telemetry and timers too.")] = False,
    json_: Json = False,
) -> None:
    """Show the journal, decoded and verified."""
    if incident is not None:
        _check_name(incident)
    run(lambda: _tail(follow, last, incident, telemetry, json_))


def _check_name(incident: str) -> None:
    try:
        TypeAdapter(Token).validate_python(incident)
    except ValidationError as error:
        raise RefusedError(f"{incident[:60]!r} is no name of an incident, such as inc-1072012b") from error


def _text(text: str) -> str:
    if text != "-":
        return text
    try:
        # A text of so many characters has no more bytes than that; never the whole of an endless pipe.
        raw = sys.stdin.buffer.read(4 * MAX_TEXT + 1)
        if len(raw) > 4 * MAX_TEXT:
            raise RefusedError(too_long(f"more than {4 * MAX_TEXT:,} bytes"))
        return raw.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"the incident text is no UTF-8 text (byte {error.start}); report it in words") from error


async def _report(text: str, wait: bool, timeout_s: float, json_: bool) -> None:
    async with connect(home()) as control:
        start = await control.broker.last_sequence() + 1
        incident = await control.report(text)
        if not wait:
            if json_:
                emit_json({"incident": incident})
            else:
                out.print(f"reported as {incident}; follow it with: triage tail -f --incident {incident}")
            return
        closed, figures, story = await follow_incident(control, start, incident, timeout_s, quiet=json_)
        if json_:
            emit_json({"incident": incident, "closed": plain(closed), "figures": plain(figures)})
        else:
            print_closed(story, closed, figures)
        if closed.verdict not in ("verified", "no_fault"):
            raise NotVerifiedError(f"{closed.incident} was closed {closed.verdict}: {closed.reason}")


async def follow_incident(
    control: ControlPlane, start: int, incident: str, timeout_s: float, *, quiet: bool
) -> tuple[IncidentClosed, Score, Story]:
    """Follow an incident (and the one it is merged into) until it is closed.

    Raises:
        TimedOutError: it was not closed in time; it goes on without us.
    """
    view = LiveView(incident, shown=not quiet)
    try:
        async with asyncio.timeout(timeout_s):
            with view:
                return await _until_closed(control, start, incident, view)
    except TimeoutError as error:
        raise TimedOutError(
            f"{incident} is still open after {timeout_s:g} s; follow it with: triage tail -f --incident {incident}"
        ) from error


async def _until_closed(
    control: ControlPlane, start: int, incident: str, view: LiveView
) -> tuple[IncidentClosed, Score, Story]:
    events: list[Event] = []
    async for item in control.follow(start):
        view.see(item)
        if not isinstance(item, Trusted):
            continue
        events.append(item.event())
        message = item.message
        if not isinstance(message, IncidentClosed) or message.incident != incident:
            continue
        if message.verdict == "merged" and message.merged_into:
            return await _continue_as(control, message.merged_into, view)
        return message, score(incident, events, injected_at=None), view.story or Story(incident)
    raise TimedOutError(f"the journal ended before {incident} was closed")


async def _continue_as(control: ControlPlane, incident: str, view: LiveView) -> tuple[IncidentClosed, Score, Story]:
    """The report was merged: follow the incident that was open already, from its own beginning."""
    view.watch(incident)
    first = await control.broker.last(f"triage.incident.{incident}.reported")
    return await _until_closed(control, first.seq if first else 1, incident, view)


async def _tail(follow: bool, last: int, incident: str | None, telemetry: bool, json_: bool) -> None:
    async with connect(home()) as control:
        start = (
            max(1, await control.broker.last_sequence() - last + 1)
            if incident is None
            else await _start(control, incident)
        )
        async for item in control.follow(start, follow=follow):
            if isinstance(item, CaughtUp) or not _wanted(item, incident, telemetry):
                continue
            if json_:
                emit_json_line(_row(item))
            else:
                out.print(line(item))


async def _start(control: ControlPlane, incident: str) -> int:
    first = await control.broker.last(f"triage.incident.{incident}.reported")
    if first is None:
        err.print(f"no incident {escape(incident)} stands in the journal yet")
        return await control.broker.last_sequence() + 1
    return first.seq


def _wanted(item: Seen, incident: str | None, telemetry: bool) -> bool:
    if isinstance(item, Refused):
        return incident is None
    if isinstance(item, Trusted):
        if incident is not None:
            return getattr(item.message, "incident", None) == incident
        return telemetry or item.message.TYPE not in ("telemetry", "timer")
    return False


def _row(item: Seen) -> dict[str, object]:
    if isinstance(item, Refused):
        return {
            "seq": item.stored.seq,
            "time_us": item.stored.time_us,
            "subject": item.stored.subject,
            "refused": item.name,
            "detail": item.detail,
        }
    assert isinstance(item, Trusted)  # noqa: S101 - `_wanted` lets nothing else through
    envelope = item.envelope
    return {
        "seq": item.stored.seq,
        "time_us": item.stored.time_us,
        "subject": item.stored.subject,
        "type": envelope.type,
        "sender": envelope.sender,
        "channel": envelope.channel,
        "key_version": envelope.key_version,
        "cause": envelope.cause,
        "tag": envelope.tag,
        "nonce": envelope.nonce.hex(),
        "hmac": envelope.hmac.hex(),
        "payload": plain(item.message),
    }


def line(item: Seen) -> str:
    """Return one message of the journal as one line of markup."""
    if isinstance(item, CaughtUp):
        return ""
    stored = item.stored
    at = datetime.fromtimestamp(stored.time_us / 1e6, UTC).strftime("%H:%M:%S.%f")[:-3]
    head = f"[dim]{stored.seq:>7} {at}[/dim]"
    if isinstance(item, Refused):
        return f"{head} [bold red]REFUSED {item.name}[/bold red] {escape(stored.subject)}: {escape(item.detail[:200])}"
    mark = "[magenta]LLM[/magenta] " if item.envelope.tag == "LLM_DECISION" else ""
    payload = escape(item.message.encode().decode()[:220])
    return f"{head} [cyan]{escape(stored.subject)}[/cyan] {mark}[dim]{escape(item.envelope.sender)}[/dim] {payload}"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(report)
    app.command()(tail)
