"""The live view of one incident: the plan as a graph, each task with agent, state and time, its sentence, the verdict.

On a terminal it redraws in place; in a pipe it writes one line for every change and no progress.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from broker.gate import Trusted
from harness.cli.output import out, seconds
from harness.control import Refused, Seen
from harness.story import Story, TaskView

MARK = {"waiting": "○", "dispatched": "◔", "running": "◑", "done": "●", "failed": "✖", "skipped": "◌"}
STYLE = {
    "waiting": "dim",
    "dispatched": "cyan",
    "running": "bold yellow",
    "done": "green",
    "failed": "bold red",
    "skipped": "dim",
}


class LiveView:
    """Follows one incident. Use as a context manager; feed it with `see`."""

    def __init__(self, incident: str | None = None) -> None:
        self._story: Story | None = None if incident is None else Story(incident)
        self._live = Live(console=out, refresh_per_second=8, transient=False) if out.is_terminal else None
        self._said: set[str] = set()
        self._refused = 0

    @property
    def story(self) -> Story | None:
        """What has been seen so far."""
        return self._story

    def watch(self, incident: str) -> None:
        """Follow another incident from now on (a report was merged)."""
        self._story = Story(incident)

    def see(self, item: Seen) -> None:
        """Take one message of the journal."""
        if isinstance(item, Refused):
            self._refused += 1
        if not isinstance(item, Trusted):
            return
        event = item.event()
        if self._story is None and event.payload.TYPE == "incident.reported":
            self._story = Story(str(getattr(event.payload, "incident", "")))
        if self._story is not None and self._story.see(event):
            self._show()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._show()
            self._live.__exit__(kind, error, trace)

    def _show(self) -> None:
        if self._story is None:
            return
        if self._live is not None:
            self._live.update(render(self._story))
        else:
            self._say_lines(self._story)

    def _say_lines(self, story: Story) -> None:
        for line in lines(story):
            if line not in self._said:
                self._said.add(line)
                out.print(escape(line))


def lines(story: Story) -> list[str]:
    """Return the story as lines that only ever grow: for pipes and logs."""
    found = [f"incident {story.incident}: {story.text}"] if story.text else []
    found += [f"seen: {item.kind} on {item.device}: {item.detail}" for item in story.deviations]
    found += [story.planning] if story.planning else []
    found += [f"note: {note}" for note in story.notes]
    for task in story.tasks.values():
        if task.state != "waiting":
            head = f"task v{story.version}-{task.task_id} {task.type} {task.target}: {task.state}"
            found.append(f"{head} by {task.agent}: {task.sentence}" if task.sentence else head)
    found += [f"check {item.n}: {'ok' if item.ok else 'not ok'}: {'; '.join(item.reasons)}" for item in story.verified]
    if story.closed:
        found.append(f"closed: {story.closed.verdict}: {story.closed.reason}")
    return found


def render(story: Story) -> RenderableType:
    """Return the whole view."""
    parts: list[RenderableType] = [Text(f"“{story.text.strip()[:300]}”", style="italic")]
    if story.deviations:
        seen = story.deviations[-1]
        parts.append(Text(f"seen: {seen.kind} on {seen.device}: {seen.detail}", style="magenta"))
    parts.append(Text(story.planning or "waiting for the planner", style="cyan"))
    if story.plan is not None:
        guess = story.plan.hypothesis
        parts.append(Text(f"hypothesis: {guess.fault_class} on {guess.target} ({guess.confidence:.0%})", style="bold"))
        parts.append(graph(story))
        parts.append(task_table(story))
    parts += [Text(f"! {note}", style="yellow") for note in story.notes]
    parts += [_check_line(story)]
    return Panel(Group(*parts), title=f"incident {story.incident}", border_style=_border(story))


def graph(story: Story) -> Text:
    """Return the plan's DAG: one column per generation, arrows between them, marks for the states."""
    text = Text()
    for level, names in enumerate(story.order):
        if level:
            text.append("  ──▶  ", style="dim")
        for position, name in enumerate(names):
            task = story.tasks.get(name)
            if task is None:
                continue
            text.append(" ∥ " if position else "", style="dim")
            text.append(f"{MARK[task.state]} {task.task_id}:{task.type}", style=STYLE[task.state])
    return text


def task_table(story: Story) -> Table:
    """Return one row per task: agent, state, time, and its sentence."""
    table = Table(expand=True, show_edge=False, pad_edge=False)
    for heading, width in (("task", 5), ("what", 24), ("agent", 16), ("state", 11), ("time", 8)):
        table.add_column(heading, min_width=width, no_wrap=True)
    table.add_column("result", ratio=1)
    for task in story.tasks.values():
        state = Text(f"{MARK[task.state]} {task.state}", style=STYLE[task.state])
        what = f"{task.type} {task.target}"
        table.add_row(task.task_id, what, task.agent or "-", state, _elapsed(task), escape(task.sentence[:240]))
    return table


def _elapsed(task: TaskView) -> str:
    if task.seconds is None and task.dispatched_at is not None and task.state in ("running", "dispatched"):
        return seconds(max(0.0, time.time() - task.dispatched_at))
    return seconds(task.seconds)


def _check_line(story: Story) -> Text:
    if story.closed is not None:
        good = story.closed.verdict in ("verified", "no_fault")
        return Text(f"{story.closed.verdict}: {story.closed.reason}", style="bold green" if good else "bold red")
    if story.verified:
        last = story.verified[-1]
        return Text(f"check {last.n}: {'ok' if last.ok else 'not ok'}: {'; '.join(last.reasons)}")
    return Text("")


def _border(story: Story) -> str:
    if story.closed is None:
        return "yellow"
    return "green" if story.closed.verdict in ("verified", "no_fault") else "red"
