"""Reports as one HTML file each, which loads nothing: style inline, plots as SVG, no script at all. Pure.

Every text of the world (reports, log lines, a model's words) passes `clean`; the page's own policy forbids whatever
might slip through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.suite.compare import Comparison, FigureMoved, bounds, succeeded, why_failed
from harness.suite.report import FigureSaid, Report, interval, shown
from harness.suite.result import LANES, RunResult
from harness.suite.svg import Bar, Dots, Pair, bars, clean, dots, lanes, pairs

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
NOTE = (
    "Intervals are 95 %: Wilson's for rates, a seeded bootstrap for medians and MRL. SR is the spec's: verified by the "
    "control plane and by the oracle, at least 80 % of the tasks completed, at most 20 % of the last ones failed. "
    "A run that could not be measured failed."
)


def document(title: str, body: Iterable[str]) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{clean(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def page(report: Report) -> str:
    """Return a suite's report as a page."""
    about = report.about
    good = sum(succeeded(run) for run in report.runs)
    head = [
        f"<h1>Suite {clean(about.set)}: {good} of {len(report.runs)} runs succeeded</h1>",
        f"<p><code>{clean(about.command)}</code></p>",
        f'<p class="dim">{clean(about.date)}, sources {clean(about.commit)}, {clean(about.platform)}, '
        f"{clean(about.machine)}; {about.seeds} seeds each. {NOTE}</p>",
    ]
    if about.planned > len(report.runs):
        head.append(f'<p class="bad">Interrupted: {len(report.runs)} of {about.planned} runs were made.</p>')
    if about.skipped:
        head.append(f"<p>Not made on this platform: {clean(', '.join(about.skipped))}.</p>")
    return document(f"Suite {about.set}", [*head, *_gates(report), *_plots(report), *_figures(report), *_runs(report)])


def _gates(report: Report) -> list[str]:
    if not report.gates:
        return []
    rows = [
        (
            held.gate,
            f'<span class="{"good" if held.ok else "bad"}">{"holds" if held.ok else "does not hold"}</span>',
            held,
        )
        for held in report.gates
    ]
    body = [
        f"<tr><td>{clean(gate)}</td><td>{word}</td><td>{clean(held.sentence)}</td></tr>" for gate, word, held in rows
    ]
    return ["<h2>Gates</h2>", table(("gate", "", "why"), body)]


def _plots(report: Report) -> list[str]:
    order = {planner: n for n, planner in enumerate(report.figures)}
    rows = [
        Bar(
            f"{said.family}, {planner}",
            order[planner],
            said.hits / said.total,
            said.low,
            said.high,
            f"{said.hits} of {said.total}",
        )
        for family in sorted({said.family for found in report.families.values() for said in found})
        for planner, found in report.families.items()
        for said in found
        if said.family == family
    ]
    return [
        "<h2>Success by family of faults</h2>",
        '<p class="dim">Share of the runs that succeeded, with its 95 % interval; right: so many of so many.</p>',
        bars("families", "Success rate by family of faults and planner", rows),
        *_distribution(report, "MTTD", "Time to detect", "detect_s"),
        *_distribution(report, "MTTR", "Time to recover", "recover_s"),
    ]


def _distribution(report: Report, name: str, title: str, attribute: str) -> list[str]:
    rows = []
    for series, planner in enumerate(report.figures):
        own = [run.figures for run in report.runs if run.key.planner == planner and run.figures is not None]
        values = tuple(value for one in own if (value := getattr(one, attribute)) is not None)
        said = report.figures[planner][name]
        rows.append(Dots(planner, series, values, said.value, said.low, said.high))
    if not any(row.values for row in rows):
        return [f"<h2>{title}</h2>", '<p class="dim">No run has this figure.</p>']
    heading = f"{title} ({name}): every run, the median, and its interval"
    legend = '<p class="dim">Seconds; each mark is a run, the upright line the median, below it the 95 % interval.</p>'
    return [f"<h2>{title}</h2>", legend, dots(name.lower(), heading, rows)]


def _figures(report: Report) -> list[str]:
    found = ["<h2>Figures</h2>"]
    for planner, said in report.figures.items():
        rows = [_figure_row(name, figure) for name, figure in said.items()]
        found += [f"<h3>{clean(planner)}</h3>", table(("figure", "", "value", "95 % interval", "of"), rows)]
    return found


def _figure_row(name: str, figure: FigureSaid) -> str:
    return (
        f"<tr><td>{clean(name)}</td><td>{clean(figure.title)}</td><td class=n>{shown(figure.value, figure.unit)}</td>"
        f"<td class=n>{interval(figure.low, figure.high, figure.unit)}</td><td>{clean(figure.detail)}</td></tr>"
    )


def _runs(report: Report) -> list[str]:
    legend = (
        '<p class="dim">Timelines are in seconds from the start of the run. A bar lasted, a diamond happened; '
        "hollow bars and crosses are bad news, such as the fault itself.</p>"
    )
    return ["<h2>Runs</h2>", legend, *(_run(number, run) for number, run in enumerate(report.runs))]


def _run(number: int, run: RunResult) -> str:
    good = succeeded(run)
    word = '<strong class="good">succeeded</strong>' if good else '<strong class="bad">failed</strong>'
    after = run.figures.recover_s if run.figures is not None else None
    took = "" if after is None else f", recovered after {after:.1f} s"
    name = f"{run.key.scenario}, seed {run.key.seed}, {run.key.planner}"
    parts = [f"<summary>{clean(name)}: {word}{took}</summary>", f"<p>{clean(why_failed(run))}</p>" if not good else ""]
    if run.marks:
        parts += [lanes(f"run-{number}", f"Timeline of {name}", run.marks), _steps(run)]
    return f"<details>{''.join([*parts, _facts(run)])}</details>"


def _steps(run: RunResult) -> str:
    """Return the timeline as a table: the same for those who do not see the plot."""
    order = {lane: n for n, lane in enumerate(LANES)}
    rows = [
        f"<tr><td class=n>{mark.at_s:.2f} s</td><td class=n>"
        f"{'' if mark.until_s is None else f'{mark.until_s - mark.at_s:.2f} s'}</td>"
        f"<td>{mark.lane}</td><td>{clean(mark.label)}</td></tr>"
        for mark in sorted(run.marks, key=lambda mark: (mark.at_s, order[mark.lane]))
    ]
    return f"<details><summary>Timeline as a table</summary>{table(('at', 'for', 'who', 'what'), rows)}</details>"


def _facts(run: RunResult) -> str:
    tidy = run.clean_up
    put_back = "as before" if tidy.proved else "NOT as before"
    facts = [
        ("injected", "; ".join(run.faults) or "nothing"),
        ("reported", run.text or "by nobody"),
        ("believed", run.hypothesis),
        ("planned by", ", ".join((run.planned_by, *run.models))),
        ("done", "; ".join(run.actions) or "nothing"),
        ("on healthy devices", "; ".join(run.false_actions) or "nothing"),
        ("changed besides", "; ".join(run.collateral) or "nothing"),
        ("verdict", f"{run.verdict}: {run.reason}" if run.verdict else ""),
        *((f"{'ok' if clause.ok else 'NO'}: {clause.name}", clause.detail) for clause in run.clauses),
        ("envelopes refused", str(run.refused)),
        ("world", "; ".join([put_back, *(["stack brought up anew"] if tidy.restarted else []), *tidy.left])),
        ("notes", "; ".join(run.notes)),
    ]
    rows = [f"<tr><th scope=row>{clean(name)}</th><td>{clean(value)}</td></tr>" for name, value in facts if value]
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def table(headings: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table of rows that are HTML already."""
    head = "".join(f"<th scope=col>{clean(heading)}</th>" for heading in headings)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def comparison(found: Comparison) -> str:
    """Return two reports side by side as a page."""
    mended = sum(run.change == "mended" for run in found.changed)
    broken = len(found.changed) - mended
    body = [
        f"<h1>{mended} runs mended, {broken} broken, {found.same} alike</h1>",
        f"<p>A: {clean(found.first)}</p><p>B: {clean(found.second)}</p>",
        '<p class="dim">Better or worse is said only where the two 95 % intervals do not meet.</p>',
        *_pair_plots(found.figures),
        "<h2>Figures</h2>",
        table(("planner", "figure", "A", "B", "B is"), [_moved_row(figure) for figure in found.figures]),
        "<h2>Runs that ended otherwise</h2>",
        table(
            ("run", "", "why it failed"),
            [
                f"<tr><td>{clean(f'{run.scenario} seed {run.seed}, {run.planner}')}</td><td "
                f'class="{"good" if run.change == "mended" else "bad"}">{run.change}</td><td>{clean(run.why)}</td></tr>'
                for run in found.changed
            ],
        ),
    ]
    for side, names in (("A", found.only_first), ("B", found.only_second)):
        if names:
            body.append(f"<p>Only in {side}: {clean('; '.join(names))}.</p>")
    return document("Two suites compared", body)


def _pair_plots(figures: Sequence[FigureMoved]) -> list[str]:
    parts = []
    several = len({figure.planner for figure in figures}) > 1
    for unit, title in (("share", "Rates"), ("s", "Times")):
        rows = []
        for figure in figures:
            first, second = bounds(figure.first), bounds(figure.second)
            if figure.unit == unit and first is not None and second is not None:
                label = f"{figure.name}, {figure.planner}" if several else figure.name
                rows.append(Pair(label, first, second))
        if rows:
            shown_unit = "" if unit == "share" else unit
            parts += [
                f"<h2>{title}</h2>",
                pairs(title.lower(), f"{title} of A and B, with 95 % intervals", rows, shown_unit),
            ]
    return parts


def _moved_row(figure: FigureMoved) -> str:
    css = {"better": "good", "worse": "bad"}.get(figure.moved, "dim")
    return (
        f"<tr><td>{clean(figure.planner)}</td><td>{clean(f'{figure.name}: {figure.title}')}</td>"
        f"<td class=n>{_side(figure.first)}</td><td class=n>{_side(figure.second)}</td>"
        f'<td class="{css}">{figure.moved}</td></tr>'
    )


def _side(figure: FigureSaid) -> str:
    if figure.value is None:
        return "-"
    return f"{shown(figure.value, figure.unit)} ({interval(figure.low, figure.high, figure.unit)})"
