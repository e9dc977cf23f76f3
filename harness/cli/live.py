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
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from broker.contracts.monitor import Verified
from broker.gate import Trusted
from harness.cli.output import out, seconds
from harness.cli.report import hypothesis
from harness.control import Seen
from harness.story import Story, TaskView
from harness.terminal import one_line

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

    def __init__(self, incident: str | None = None, *, shown: bool = True) -> None:
        """
        Args:
            incident: what to follow; without it the first incident that is reported.
            shown: False keeps the story and shows nothing.
        """
        self._story: Story | None = None if incident is None else Story(incident)
        self._shown = shown
        # Drawn anew by the clock too: the times of running tasks grow.
        self._live = Live(console=out, refresh_per_second=8, get_renderable=self._frame) if out.is_terminal else None
        self._said: set[str] = set()

    @property
    def story(self) -> Story | None:
        """What has been seen so far."""
        return self._story

    def watch(self, incident: str) -> None:
        """Follow another incident from now on (a report was merged)."""
        self._story = Story(incident)

    def see(self, item: Seen) -> None:
        """Take one message of the journal."""
        if not isinstance(item, Trusted):
            return
        event = item.event()
        if self._story is None and event.payload.TYPE == "incident.reported":
            self._story = Story(str(getattr(event.payload, "incident", "")))
        if self._story is not None and self._story.see(event):
            self._show()

    def __enter__(self) -> Self:
        if self._live is not None and self._shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None and self._shown:
            self._live.stop()

    def _frame(self) -> RenderableType:
        if self._story is None:
            return Text("nothing is reported yet", style="dim")
        # While it moves it must fit the screen; the last frame stands in full.
        short = self._live is not None and self._live.is_started and self._story.closed is None
        return render(self._story, width=out.width, sentence_lines=1 if short and out.height < 34 else 3)

    def _show(self) -> None:
        if self._story is None or not self._shown:
            return
        if self._live is not None:
            self._live.refresh()
        else:
            self._say_lines(self._story)

    def _say_lines(self, story: Story) -> None:
        for line in lines(story):
            if line not in self._said:
                self._said.add(line)
                out.print(escape(line))


def lines(story: Story) -> list[str]:
    """Return the story as lines that only ever grow: for pipes and logs. No text in it makes a line of its own."""
    found = [f"incident {story.incident}: {story.text}"] if story.text else []
    found += [f"seen: {item.kind} on {item.device}: {item.detail}" for item in story.deviations]
    found += [f"plan: {story.planning}"] if story.planning else []
    found += [f"question: {line}" for line in question_lines(story)]
    found += [f"approval: {line}" for line in approval_lines(story)]
    if story.plan is not None:
        found += [f"hypothesis: {hypothesis(story.plan.hypothesis)}", f"graph: {story_graph(story)}"]
    found += [f"note: {note}" for note in story.notes]
    for task in story.tasks.values():
        if task.state != "waiting":
            head = f"task v{story.version}-{task.task_id} {task.type} {task.target}: {task.state}"
            head += f" by {task.agent}" if task.agent else ""
            found.append(f"{head} in {seconds(task.seconds)}: {task.sentence}" if task.sentence else head)
    found += [check_line(item) for item in story.verified]
    if story.closed:
        found.append(f"closed: {story.closed.verdict}: {story.closed.reason}")
    return [one_line(text) for text in found]


def question_lines(story: Story) -> list[str]:
    """Return the open question with how it is answered; empty if nothing is asked."""
    if story.question is None:
        return []
    wait = f"within {seconds(story.question.wait_s)}, else the rulebook goes on"
    return [f"“{story.question.question}”", f'answer with: triage answer {story.incident} "…" {wait}']


def approval_lines(story: Story) -> list[str]:
    """Return each task that waits for a person with how it is decided on; empty if none does."""
    found = []
    for asked in story.approvals.values():
        limit = f" within {seconds(asked.wait_s)}, else it counts as not approved" if asked.wait_s else ""
        found.append(f"{asked.task_id} waits: {asked.action} of {asked.target}; {asked.why}")
        found.append(f"decide with: triage approve {asked.incident} {asked.task_id} (or triage deny){limit}")
    return found


def story_graph(story: Story) -> str:
    """Return the plan's DAG as one line: generations with arrows between them."""
    types = {name: task.type for name, task in story.tasks.items()}
    return " -> ".join(" | ".join(f"{name} {types.get(name, '')}" for name in names) for names in story.order)


def check_line(check: Verified) -> str:
    """Return what the monitor's check found, in one line."""
    if check.ok:
        return f"check {check.n}: ok: no symptom and the objective met for {check.window_s:g} s"
    return f"check {check.n}: not ok: {'; '.join(check.reasons)}"


def render(story: Story, *, width: int, sentence_lines: int = 2) -> RenderableType:
    """Return the whole view for so many columns; a task's sentence takes about that many lines at most."""
    parts: list[RenderableType] = [Text(f"“{story.text.strip()[:300]}”", style="italic")]
    if story.deviations:
        seen = story.deviations[-1]
        parts.append(Text(f"seen: {seen.kind} on {seen.device}: {seen.detail}", style="magenta"))
    parts.append(Text(f"plan: {story.planning or 'waiting for the planner'}", style="cyan"))
    parts += [Text(line, style="bold yellow") for line in (*question_lines(story), *approval_lines(story))]
    if story.plan is not None:
        parts.append(Text(f"hypothesis: {hypothesis(story.plan.hypothesis)}", style="bold"))
        parts += [Text(""), graph(story, width - 4), Text("")]
        for task in story.tasks.values():
            parts += _task(task, (width - 10) * sentence_lines)
    parts += [Text(f"! {note}", style="yellow") for note in story.notes]
    parts += [_check(story)]
    return Panel(Group(*parts), title=f"incident {story.incident}", border_style=_border(story))


def graph(story: Story, width: int) -> RenderableType:
    """Return the plan's DAG: a column per generation, arrows where one waits for the one before, marks for states.
    Where it would be wider than `width` columns, tasks are named by their ids alone."""
    longest = sum(max(_cell_width(story, name) for name in names) for names in story.order)
    full = longest + 5 * (len(story.order) - 1) <= width
    grid = Table.grid(padding=(0, 0))
    cells: list[list[Text]] = []
    for row in range(max((len(names) for names in story.order), default=0)):
        line: list[Text] = []
        for level, names in enumerate(story.order):
            if level:
                line.append(Text(_joint(len(story.order[level - 1]), len(names), row), style="dim"))
            line.append(_cell(story.tasks.get(names[row]), full) if row < len(names) else Text(""))
        cells.append(line)
    for line in cells:
        grid.add_row(*line)
    return grid


def _cell_width(story: Story, name: str) -> int:
    task = story.tasks.get(name)
    return 2 if task is None else len(f"{task.task_id} {task.type}") + 2


def _cell(task: TaskView | None, full: bool) -> Text:
    if task is None:
        return Text("")
    name = f"{task.task_id} {task.type}" if full else task.task_id
    return Text(f"{MARK[task.state]} {name}", style=STYLE[task.state], no_wrap=True)


def _joint(left: int, right: int, row: int) -> str:
    """Return one row of the lines between two generations: what is left flows together, then spreads to the right."""
    most = max(left, right)
    if row >= most:
        return ""
    if most == 1:
        return " ──▶ "
    down, up = row < most - 1, row > 0
    bar = {(False, True): "┬", (True, True): "┼", (True, False): "┴"}[(up, down)]
    if row >= left:
        bar = "├" if down else "└"
    elif row >= right:
        bar = "┤" if down else "┘"
    return f" {'─' if row < left else ' '}{bar}{'▶ ' if row < right else '  '}"


def _task(task: TaskView, room: int) -> list[RenderableType]:
    """Return a task: one line of what, who, state and time, and its sentence under it."""
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(ratio=1, no_wrap=True)
    for width in (15, 12, 8):
        head.add_column(width=width, no_wrap=True)
    state = Text(f"{MARK[task.state]} {task.state}", style=STYLE[task.state])
    head.add_row(
        Text(f"{task.task_id} {task.type} {task.target}", overflow="ellipsis"), task.agent or "-", state, _elapsed(task)
    )
    if not task.sentence:
        return [head]
    said = task.sentence if len(task.sentence) <= room else task.sentence[: room - 1] + "…"
    return [head, Padding(Text(said, style="dim"), (0, 0, 0, 3))]


def _elapsed(task: TaskView) -> str:
    if task.seconds is None and task.dispatched_at is not None and task.state in ("running", "dispatched"):
        return seconds(max(0.0, time.time() - task.dispatched_at))
    return seconds(task.seconds)


def _check(story: Story) -> Text:
    if story.closed is not None:
        good = story.closed.verdict in ("verified", "no_fault")
        return Text(f"{story.closed.verdict}: {story.closed.reason}", style="bold green" if good else "bold red")
    return Text(check_line(story.verified[-1]) if story.verified else "")


def _border(story: Story) -> str:
    if story.closed is None:
        return "yellow"
    return "green" if story.closed.verdict in ("verified", "no_fault") else "red"
