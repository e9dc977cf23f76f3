"""Proofs that are kept: a validation goes on where it stopped, and only what holds, of these sources, is there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from harness.errors import StackDownError
from harness.proofs import Kept, Proofs, Step, all_of
from harness.scenario import Draw, draw, load
from harness.validate import REPAIRED, Check, Proof, distinct

NAMES = ("db_conn_drift", "cache_poison", "service_hung")


def oracles() -> list[tuple[Draw, tuple[str, ...]]]:
    return distinct([draw(load(name)) for name in NAMES])


class Bench:
    """Stands for a stack: every proof takes ten seconds; one may be wrong, one may find the stack gone."""

    def __init__(self, folder: Path | None, *, commit: str = "abc", wrong: str = "", gone: str = "") -> None:
        self.proofs = Proofs(folder, platform="embedded", commit=commit)
        self.wrong, self.gone = wrong, gone
        self.proved: list[str] = []
        self._clock: Iterator[int] = count(0, 10)

    async def prove(self, drawn: Draw, also: tuple[str, ...]) -> Proof:
        name = drawn.scenario.name
        if name == self.gone:
            raise StackDownError("the stack is gone")
        self.proved.append(name)
        check = Check(REPAIRED, True, name != self.wrong, "seen")
        return Proof(name, drawn.seed, ("a fault",), (check,), also)

    async def run(self) -> list[Step]:
        clock = self._clock
        return [step async for step in all_of(oracles(), self.proofs, self.prove, lambda: float(next(clock)))]


def damaged(folder: Path, text: str) -> None:
    [file] = folder.glob("cache_poison--*.json")
    file.write_text(text)


@pytest.mark.asyncio
async def test_every_oracle_is_proved_with_an_estimate_of_the_rest(tmp_path: Path) -> None:
    steps = await Bench(tmp_path).run()
    assert [step.proof.scenario for step in steps] == list(NAMES)
    assert [(step.done, step.total, step.kept, step.left_s) for step in steps] == [
        (1, 3, False, 20.0),
        (2, 3, False, 10.0),
        (3, 3, False, 0.0),
    ]


@pytest.mark.asyncio
async def test_an_interrupted_validation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Bench(tmp_path, gone="service_hung")
    with pytest.raises(StackDownError):
        await first.run()
    assert first.proved == ["db_conn_drift", "cache_poison"]
    second = Bench(tmp_path)
    steps = await second.run()
    assert second.proved == ["service_hung"]
    assert [(step.proof.scenario, step.kept, step.left_s) for step in steps] == [
        ("db_conn_drift", True, 10.0),
        ("cache_poison", True, 10.0),
        ("service_hung", False, 0.0),
    ]


@pytest.mark.asyncio
async def test_each_kept_proof_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks another validation may have written one: it would be neither kept nor missing."""
    with pytest.raises(StackDownError):
        await Bench(tmp_path, gone="service_hung").run()
    looked: list[str] = []
    find = Proofs.find

    def counted(proofs: Proofs, drawn: Draw) -> Kept | None:
        looked.append(drawn.scenario.name)
        return find(proofs, drawn)

    monkeypatch.setattr(Proofs, "find", counted)
    assert len(await Bench(tmp_path).run()) == len(NAMES)
    assert looked == list(NAMES)


@pytest.mark.asyncio
async def test_what_did_not_hold_is_tried_again(tmp_path: Path) -> None:
    assert not all(step.proof.ok for step in await Bench(tmp_path, wrong="cache_poison").run())
    again = Bench(tmp_path)
    assert all(step.proof.ok for step in await again.run())
    assert again.proved == ["cache_poison"]


@pytest.mark.asyncio
async def test_a_proof_of_other_sources_is_none_of_these(tmp_path: Path) -> None:
    await Bench(tmp_path).run()
    other = Bench(tmp_path, commit="def")
    await other.run()
    assert other.proved == list(NAMES)


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", ["", "{", '{"about": "another", "seconds": 1, "proof": {}}'])
async def test_a_damaged_proof_is_none(tmp_path: Path, damage: str) -> None:
    await Bench(tmp_path).run()
    damaged(tmp_path, damage)
    again = Bench(tmp_path)
    await again.run()
    assert again.proved == ["cache_poison"]


@pytest.mark.asyncio
async def test_a_proof_of_more_allowed_actions_is_another_one(tmp_path: Path) -> None:
    kept = Proofs(tmp_path, platform="embedded", commit="abc")
    drawn = draw(load("db_conn_drift"))
    kept.keep(drawn, Proof("db_conn_drift", drawn.seed, ("a fault",), (Check(REPAIRED, True, True, "seen"),)), 1.0)
    assert kept.find(drawn) is not None
    expect = drawn.scenario.expect.model_copy(update={"max_actions": 3})
    assert kept.find(draw(drawn.scenario.model_copy(update={"expect": expect}))) is None


@pytest.mark.asyncio
async def test_without_a_folder_nothing_is_kept() -> None:
    bench = Bench(None)
    await bench.run()
    await bench.run()
    assert len(bench.proved) == 6
