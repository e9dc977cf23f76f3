"""The stream over the memory broker: what a page has, however its connection broke, is the journal without a gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from broker.contracts.control import Halt, Resume
from dashboard.api.feed import Feed
from dashboard.api.sse import stream
from tests.support.dashboard import Stage
from tests.support.waiting import eventually


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


class Page:
    """A page that keeps what it got, as a browser's EventSource does."""

    def __init__(self) -> None:
        self.last = 0
        self.entries: list[dict[str, Any]] = []
        self.others: list[tuple[str, Any]] = []

    async def listen(self, feed: Feed, until: int, beat_s: float = 5.0) -> None:
        """Follow behind what it has until it has `until` entries, or the stream ends; then the connection breaks."""
        async with asyncio.timeout(10), aclosing(stream(feed, self.last, beat_s)) as stream_:
            async for chunk in stream_:
                self._take(chunk.decode())
                if len(self.entries) >= until or (self.others and self.others[-1][0] == "reset"):
                    return

    def _take(self, chunk: str) -> None:
        for block in chunk.split("\n\n"):
            fields = dict(line.partition(": ")[::2] for line in block.splitlines())
            if fields.get("event") == "entry":
                self.last = int(fields["id"])
                self.entries.append(json.loads(fields["data"]))
            elif "event" in fields:
                assert "id" not in fields, "only entries move the place where a stream resumes"
                self.others.append((fields["event"], json.loads(fields["data"])))

    @property
    def seqs(self) -> list[int]:
        return [item["seq"] for item in self.entries]


async def until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds)


async def talk(stage: Stage, count: int, pause: bool = False) -> None:
    for number in range(count):
        await stage.say("operator", Halt(reason=f"line\n{number}") if number % 2 else Resume(reason="on"))
        if pause:
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_page_that_breaks_off_again_and_again_has_every_message_once(stage: Stage) -> None:
    await talk(stage, 20)
    async with stage.running() as feed:
        talking = asyncio.create_task(talk(stage, 200, pause=True))
        page = Page()
        breaks = 0
        while len(page.entries) < 220:
            await page.listen(feed, min(220, len(page.entries) + 7))
            breaks += 1
        await talking
    assert page.seqs == list(range(1, 221))
    assert breaks > 2
    assert page.entries[1]["payload"]["reason"] == "line\n1"


@pytest.mark.asyncio
async def test_a_broken_connection_leaves_nobody_behind(stage: Stage) -> None:
    await talk(stage, 3)
    async with stage.running() as feed:
        for _ in range(50):
            page = Page()
            await page.listen(feed, 3)
        assert feed.followers == 0


@pytest.mark.asyncio
async def test_many_pages_follow_one_reader_and_get_the_same_bytes(stage: Stage) -> None:
    async with stage.running() as feed:
        pages = [Page() for _ in range(20)]
        listening = [asyncio.create_task(page.listen(feed, 50)) for page in pages]
        await talk(stage, 50, pause=True)
        await asyncio.gather(*listening)
        clients = [client for client in stage.journal.clients if client.name == "dashboard-1"]
    assert len(clients) == 1
    assert all(page.seqs == pages[0].seqs for page in pages)


@pytest.mark.asyncio
async def test_a_page_that_was_away_too_long_is_told_to_begin_anew(stage: Stage) -> None:
    await talk(stage, 10)
    async with stage.running() as feed:
        feed.ring._max_bytes = 1_000
        await talk(stage, 10)
        await stage.caught_up()
        page = Page()
        page.last = 2
        await page.listen(feed, 1)
    assert [name for name, _ in page.others] == ["reset"]
    assert page.entries == []


@pytest.mark.asyncio
async def test_a_page_that_knows_more_than_there_is_begins_anew(stage: Stage) -> None:
    await talk(stage, 3)
    async with stage.running() as feed:
        page = Page()
        page.last = 99
        await page.listen(feed, 1)
    assert [name for name, _ in page.others] == ["reset"]


@pytest.mark.asyncio
async def test_another_stack_under_the_same_home_is_another_journal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.api.feed.ALIVE_S", 0.02)
    monkeypatch.setattr("dashboard.api.feed.RETRY_S", 0.02)
    await talk(stage, 5)
    async with stage.running() as feed:
        before = feed.journal
        page = Page()
        listening = asyncio.create_task(page.listen(feed, 99))
        stage.identity = "second"
        await listening
        assert page.others[-1][0] == "reset"
        await feed.until_ready()
        assert feed.journal != before
        fresh = Page()
        await fresh.listen(feed, 5)
    assert fresh.seqs == [1, 2, 3, 4, 5]


@pytest.mark.asyncio
async def test_a_broker_that_comes_back_goes_on_where_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.api.feed.ALIVE_S", 0.02)
    monkeypatch.setattr("dashboard.api.feed.RETRY_S", 0.02)
    await talk(stage, 5)
    async with stage.running() as feed:
        before = feed.journal
        page = Page()
        listening = asyncio.create_task(page.listen(feed, 8))
        stage.journal.faults.down = True
        stage.journal.wake()
        await until(lambda: page.others == [("stack", {"connected": False})])
        stage.journal.faults.down = False
        await until(lambda: feed.connected)
        await talk(stage, 3)
        await listening
        assert feed.journal == before
    assert page.seqs == list(range(1, 9))
    assert page.others == [("stack", {"connected": False}), ("stack", {"connected": True})]


@pytest.mark.asyncio
async def test_a_silent_journal_gives_a_sign_of_life(stage: Stage) -> None:
    async with stage.running() as feed:
        page = Page()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await page.listen(feed, 1, beat_s=0.02)
    beats = [data for name, data in page.others if name == "beat"]
    assert len(beats) > 2
    assert beats[0]["connected"] is True


@pytest.mark.asyncio
async def test_a_change_beside_the_journal_is_told_once(stage: Stage) -> None:
    async with stage.running() as feed:
        page = Page()
        listening = asyncio.create_task(page.listen(feed, 1))
        await until(lambda: feed.followers > 0)
        feed.notify("faults")
        await until(lambda: bool(page.others))
        await talk(stage, 1)
        await listening
    assert page.others == [("faults", {})]
