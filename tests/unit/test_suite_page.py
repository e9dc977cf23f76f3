"""The page: one file that loads nothing, runs nothing, shows hostile texts as texts, and speaks without pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from harness.suite.compare import compare
from harness.suite.page import POLICY, comparison, page
from harness.suite.report import Report, report
from harness.suite.result import Mark
from harness.suite.svg import Bar, Dots, Pair, bars, clean, dots, lanes, pairs, shape, ticks
from tests.support.suites import about, failed, run, unmeasured

MODEL = "http://127.0.0.1:1234/v1"
HOSTILE = """</details></svg><script>alert("x")</script><img src=http://evil/x onerror='y'>&amp;\x00\x1b[31m\u202e"""


class Elements(HTMLParser):
    """What a page is made of."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def hostile_report() -> Report:
    mark = Mark(lane="agents", label=HOSTILE, at_s=1.0, until_s=2.0)
    bad = failed(seed=2, planner=MODEL, text=HOSTILE, reason=HOSTILE, hypothesis=HOSTILE, actions=(HOSTILE,))
    said = bad.model_copy(update={"marks": (mark,), "models": (HOSTILE,), "collateral": (HOSTILE,)})
    return report(about(command=HOSTILE, machine=HOSTILE, skipped=(HOSTILE,)), (run(), said, unmeasured(seed=3)))


PAGES = [
    page(hostile_report()),
    page(report(about(planned=9), (run(), failed(seed=2)))),
    comparison(compare(hostile_report(), report(about(), (run(), run(seed=2, planner=MODEL))))),
]


@pytest.mark.parametrize("text", PAGES)
def test_every_element_is_closed_and_none_of_them_loads_or_runs_anything(text: str) -> None:
    found = Elements(text)
    assert found.open == []
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "a", "image", "use"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert "url(" not in text
    assert "@import" not in text
    assert POLICY in text


@pytest.mark.parametrize("text", PAGES[:1])
def test_hostile_texts_are_shown_as_texts(text: str) -> None:
    assert '<script>alert("x")</script>' in "".join(Elements(text).text)
    assert "\x00" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("text", PAGES)
def test_every_plot_has_a_title_and_a_description_of_its_own(text: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert plots
    names: list[str] = []
    for plot in plots:
        root = ElementTree.fromstring(plot)  # noqa: S314 - made by us a line before
        assert root.get("role") == "img"
        told = {child.get("id"): child.text for child in root if child.tag in ("title", "desc")}
        assert list(told) == str(root.get("aria-labelledby")).split()
        assert all(told.values())
        names += [str(name) for name in told]
    assert len(names) == len(set(names)), "an id stands twice"


def test_the_page_has_a_language_headings_and_table_headings_for_readers_of_screens() -> None:
    text = PAGES[0]
    assert '<html lang="en">' in text
    assert text.count("<h1>") == 1
    assert "<th scope=col>" in text


def test_the_page_is_made_for_light_and_for_dark() -> None:
    assert "color-scheme: light dark" in PAGES[0]
    assert "prefers-color-scheme: dark" in PAGES[0]


def test_why_a_run_failed_stands_on_the_page() -> None:
    assert "closed as unresolved" in PAGES[1]
    assert "not measured: the incident was not closed in time" in PAGES[0]


def test_an_interrupted_suite_says_so() -> None:
    assert "Interrupted: 2 of 9 runs were made" in PAGES[1]


def test_a_text_is_escaped_and_what_xml_cannot_hold_is_replaced() -> None:
    assert clean("<a href='x'>&\x07\ufffe") == "&lt;a href=&#x27;x&#x27;&gt;&amp;\ufffd\ufffd"


@pytest.mark.parametrize(
    ("most", "found"),
    [
        (10.0, (0, 2, 4, 6, 8, 10)),
        (12.0, (0, 5, 10, 15)),
        (0.9, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.0, (0, 1)),
        (float("nan"), (0, 1)),
    ],
)
def test_ticks_are_round_and_reach_the_greatest_value(most: float, found: tuple[float, ...]) -> None:
    assert ticks(most) == pytest.approx(found)


def test_a_bar_is_as_long_as_its_rate() -> None:
    """From 230 to 696 is 466 wide: half of it is 233."""
    plot = bars("x", "t", [Bar("network", 0, 0.5, 0.2, 0.8, "2 of 4")])
    assert 'width="233.0"' in plot
    assert "network: 0.50, 95 % interval 0.20 to 0.80" in plot


def test_every_value_has_a_mark_and_the_series_differ_in_shape() -> None:
    rows = [Dots(f"p{n}", n, (1.0, 2.0, 3.0), 2.0, 1.0, 3.0) for n in range(6)]
    plot = dots("x", "t", rows)
    shapes = [re.findall(rf'<(\w+) [^>]*class="c{n} (\w+)"', plot) for n in range(6)]
    assert [len(found) for found in shapes] == [3] * 6
    assert len({re.sub(r'class="c\d', "", shape(n, 100.0, 100.0)) for n in range(6)}) == 6


@pytest.mark.parametrize(
    "plot", [bars("x", "t", []), dots("x", "t", []), lanes("x", "t", []), pairs("x", "t", [], "s")]
)
def test_a_plot_of_nothing_is_still_a_plot(plot: str) -> None:
    assert ElementTree.fromstring(plot).findtext("desc")  # noqa: S314 - made by us


def test_a_timeline_begins_with_its_first_mark_also_before_the_start() -> None:
    marks = (Mark(lane="monitor", label="early", at_s=-1.0), Mark(lane="agents", label="late", at_s=1.0, until_s=3.0))
    plot = lanes("x", "t", marks)
    assert "0.0 s monitor: early; 2.0 s agents: late" in plot
    assert 'd="M230.0 ' in plot


def test_two_reports_figures_stand_below_each_other_on_one_scale() -> None:
    plot = pairs("x", "t", [Pair("SR", (0.5, 0.2, 0.8), (0.9, 0.6, 1.0))], "")
    assert "SR: A 0.50, B 0.90" in plot


def test_a_count_stands_right_of_the_axis_where_no_bar_and_no_whisker_runs_through_it() -> None:
    root = ElementTree.fromstring(bars("x", "t", [Bar("network", 0, 1.0, 0.5, 1.0, "999 of 999")]))  # noqa: S314 - ours
    [count] = [item for item in root.iter("text") if item.text == "999 of 999"]
    assert count.get("text-anchor") == "end"
    assert float(str(count.get("x"))) - 10 * 6 > 696.0


def test_long_names_of_two_models_of_one_endpoint_can_be_told_apart() -> None:
    names = [f"http://127.0.0.1:1234/v1 (qwen2.5-coder-{size}b-instruct)" for size in ("0.5", "1.5")]
    names += [f"{name[:-1]}, full)" for name in names]
    plot = dots("x", "t", [Dots(name, n, (1.0,), 1.0, 1.0, 1.0) for n, name in enumerate(names)])
    shown = re.findall(r">([^<]*\u2026[^<]*)</text>", plot)
    assert len(shown) == 4
    assert all(len(label) <= 29 for label in shown)
    assert len(set(shown)) == 4, shown


def test_a_series_without_values_says_so_and_a_figure_that_no_run_has_is_no_plot() -> None:
    rows = [Dots("rulebook", 0, (1.0,), 1.0, 1.0, 1.0), Dots("a", 1, (), None, None, None)]
    assert ">no value</text>" in dots("x", "t", rows)
    text = page(report(about(), (unmeasured(),)))
    assert text.count("No run has this figure.") == 2
    assert "mttr-t" not in text


def test_a_timeline_begins_with_its_run_and_good_and_bad_news_differ_in_shape() -> None:
    marks = (Mark(lane="world", label="injected", at_s=5.0, ok=False), Mark(lane="world", label="healed", at_s=10.0))
    plot = lanes("x", "t", marks)
    bad, good = re.findall(r'<g class="(bad|good)">.*?<path d="M([\d.]+) [\d.]+(\S*)', plot)
    assert (bad[0], good[0]) == ("bad", "good")
    assert bad[2] != good[2]
    assert float(bad[1]) + 5 == pytest.approx(230 + 466 / 2), "half way, as 5 s are of 10 s from the start"


def test_a_figure_that_neither_report_has_is_one_dash() -> None:
    text = comparison(compare(report(about(), (unmeasured(),)), report(about(), (unmeasured(),))))
    assert "<td class=n>-</td>" in text
    assert "- (-)" not in text
