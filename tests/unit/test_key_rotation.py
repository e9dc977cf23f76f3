"""Rotation of a home's keys: two passes, what a crash leaves, and the kill switch carried across."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Halt, Resume
from broker.envelope import Signer, open_frame
from broker.errors import KeyringError
from broker.gate import Gate
from broker.keyring import begin_rotation, derive_role_file, finish_rotation, load, rotate
from broker.memory import MemoryBroker, MemoryJournal
from broker.runtime.control import ControlFollower, KillSwitch
from broker.runtime.machine_host import MachineHost
from broker.subjects import ROLES
from deploy.embedded import keys
from deploy.embedded.layout import Layout
from harness.control import ControlPlane
from harness.embedded import Embedded
from harness.rotation import SETTLE_S, Standing, carry, read_standing
from tests.support.cli import Cli, cli_of
from tests.support.keyfiles import PASSPHRASE, Running, cheap_scrypt, key_home
from tests.support.machines import DeskMachine, DeskState, report
from tests.support.signing import master, signer
from tests.support.world import shop_inventory


@pytest.fixture(autouse=True, scope="module")
def cheap() -> Iterator[None]:
    with cheap_scrypt():
        yield


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    home = tmp_path / "home"
    home.mkdir()
    return key_home(home)


class TestPasses:
    @pytest.mark.asyncio
    async def test_between_them_everybody_holds_the_new_version_and_nobody_signs_with_it(self, place: Layout) -> None:
        running = Running(place)
        begun = await keys.begin(place, PASSPHRASE)
        assert (begun.current, begun.versions) == (1, (1, 2))
        for role in ROLES:
            ring = load(place.role_keys(role), PASSPHRASE)
            assert (ring.current, ring.versions) == (1, (1, 2))
        running.poll(ROLES)
        assert running.talk() == {1}
        await keys.finish(place, PASSPHRASE)
        running.poll(["scheduler"])
        assert running.talk() == {1, 2}, "one has looked at its file, the others understand it"
        running.poll(ROLES)
        assert running.talk() == {2}

    @pytest.mark.asyncio
    async def test_a_role_file_that_cannot_be_written_stops_the_rotation_before_anybody_signs(
        self, place: Layout
    ) -> None:
        place.role_keys("log").unlink()
        place.role_keys("log").mkdir()
        with pytest.raises(KeyringError, match=r"log\.keys cannot be written"):
            await keys.begin(place, PASSPHRASE)
        assert load(place.master_keys, PASSPHRASE).current == 1
        assert load(place.role_keys("scheduler"), PASSPHRASE).current == 1

    @pytest.mark.asyncio
    async def test_going_up_does_not_replace_a_file_that_nobody_can_read_and_a_rotation_does(
        self, place: Layout
    ) -> None:
        place.role_keys("log").write_text("{")
        with pytest.raises(KeyringError, match=r"log\.keys is damaged"):
            await keys.ensure_role_files(place, load(place.master_keys, PASSPHRASE), PASSPHRASE)
        assert place.role_keys("log").read_text() == "{"
        begun = await keys.begin(place, PASSPHRASE)
        assert load(place.role_keys("log"), PASSPHRASE) == begun.restricted_to("log")

    @pytest.mark.asyncio
    async def test_going_up_brings_files_of_two_versions_to_the_masters(self, place: Layout) -> None:
        rotated = rotate(place.master_keys, PASSPHRASE)
        derive_role_file(rotated, "scheduler", place.role_keys("scheduler"), PASSPHRASE)
        place.role_keys("sensors").unlink()
        before = place.role_keys("scheduler").stat().st_mtime_ns
        await keys.ensure_role_files(place, rotated, PASSPHRASE)
        for role in ROLES:
            assert load(place.role_keys(role), PASSPHRASE) == rotated.restricted_to(role)
        assert place.role_keys("scheduler").stat().st_mtime_ns == before, "what is right already is not written again"

    def test_only_one_changes_the_keys(self, place: Layout) -> None:
        with keys.changing_keys(place), pytest.raises(KeyringError, match="being rotated"), keys.changing_keys(place):
            pass
        with keys.changing_keys(place):
            pass


@pytest.mark.asyncio
async def test_what_a_machine_takes_does_not_depend_on_when_it_looked_at_its_keys(place: Layout) -> None:
    """The same journal read by a host that ran through the rotation and by one that starts after it."""

    async def decisions(journal: MemoryJournal, host: MachineHost[DeskState]) -> list[str]:
        task = asyncio.create_task(host.run())
        await journal.advance(1)
        if journal.last(report("i1").subject()) is None:
            begin_rotation(place.master_keys, PASSPHRASE)
            await keys.ensure_role_files(place, load(place.master_keys, PASSPHRASE), PASSPHRASE)
            ring = finish_rotation(place.master_keys, PASSPHRASE)
            frame = Signer("operator", "cli", ring.restricted_to("operator"), clock=lambda: journal.now_us)
            operator = MemoryBroker(journal, "op", "operator")
            await operator.publish(report("i1").subject(), frame.seal(report("i1")))
            await journal.advance(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return [stored.subject for stored in journal.messages()]

    def host(journal: MemoryJournal, name: str) -> MachineHost[DeskState]:
        running = Running(place).keys["scheduler"]
        signing = Signer("scheduler", name, running.keyring, clock=lambda: journal.now_us)
        broker = MemoryBroker(journal, name, "scheduler")
        return MachineHost(DeskMachine(), broker, signing, running.gate(), sleep=journal.sleep)

    journal = MemoryJournal()
    live = await decisions(journal, host(journal, "s1"))
    assert live == ["triage.incident.i1.reported", "triage.plan.i1.v1.a1.requested"]
    assert await decisions(journal, host(journal, "s2")) == live


@pytest.mark.asyncio
async def test_a_machine_whose_new_keys_cannot_be_opened_ends_and_takes_the_message_after_its_restart(
    place: Layout,
) -> None:
    journal = MemoryJournal()
    running = Running(place).keys["scheduler"]

    def host(name: str, gate: Gate) -> MachineHost[DeskState]:
        signing = Signer("scheduler", name, running.keyring, clock=lambda: journal.now_us)
        return MachineHost(DeskMachine(), MemoryBroker(journal, name, "scheduler"), signing, gate, sleep=journal.sleep)

    first = asyncio.create_task(host("s1", running.gate()).run())
    await journal.advance(1)
    ring = rotate(place.master_keys, PASSPHRASE)
    place.role_keys("scheduler").write_text("{")
    said = Signer("operator", "cli", ring.restricted_to("operator"), clock=lambda: journal.now_us).seal(report("i1"))
    await MemoryBroker(journal, "op", "operator").publish(report("i1").subject(), said)
    await journal.advance(1)
    with pytest.raises(KeyringError, match=r"scheduler\.keys is damaged"):
        first.result()
    second = asyncio.create_task(host("s2", Gate(ring.restricted_to("scheduler"))).run())
    await journal.advance(1)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert [stored.subject for stored in journal.messages()][-1] == "triage.plan.i1.v1.a1.requested"


class Scene:
    """An operator who halts, resumes and rotates; keys in memory."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.broker = MemoryBroker(self.journal, "operator-1", "operator")

    def control(self, version: int = 1) -> ControlPlane:
        ring = master(version).restricted_to("operator")
        return ControlPlane(Path(), self.broker, ring, signer("operator", journal=self.journal, version=version), SHOP)

    async def say(self, message: Contract, version: int = 1) -> int:
        return await self.control(version).say(message)

    def last_version(self, message: Contract) -> int:
        stored = self.journal.last(message.subject())
        return 0 if stored is None else open_frame(stored.data).key_version

    async def switch_of_a_starting_worker(self, oldest: int) -> KillSwitch:
        whole = master(oldest + 2).restricted_to("log")
        kept = {name: {n: key for n, key in held.items() if n >= oldest} for name, held in whole.keys.items()}
        ring = replace(whole, keys=kept)
        switch = KillSwitch()
        follower = ControlFollower(
            MemoryBroker(self.journal, "log-1", "log"),
            Gate(ring),
            switch,
            on_rotate=lambda _: None,
            sleep=self.journal.sleep,
        )
        task = asyncio.create_task(follower.run())
        await self.journal.advance(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return switch


SHOP = shop_inventory()


@pytest.mark.asyncio
class TestTheKillSwitchAcrossRotations:
    async def test_a_standing_halt_still_stands_after_three_of_them(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        for version in (2, 3, 4):
            await carry(scene.control(version), master(version))
        assert (await scene.switch_of_a_starting_worker(oldest=2)).reason == "fire"

    async def test_a_halt_that_was_lifted_stays_lifted(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        await scene.say(Resume(reason="it is out"))
        for version in (2, 3, 4):
            await carry(scene.control(version), master(version))
        assert not (await scene.switch_of_a_starting_worker(oldest=2)).halted

    async def test_where_nothing_was_said_nothing_is_said(self) -> None:
        scene = Scene()
        await carry(scene.control(2), master(2))
        assert scene.journal.messages() == []

    async def test_what_cannot_be_verified_is_neither_stated_nor_lifted(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"), version=7)
        await carry(scene.control(2), master(2))
        assert len(scene.journal.messages()) == 1

    async def test_a_halt_that_comes_meanwhile_is_not_lifted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = Scene()
        await scene.say(Halt(reason="drill"))
        await scene.say(Resume(reason="over"))

        async def read(broker: object, gate: Gate) -> Standing:
            standing = await read_standing(scene.broker, gate)
            await scene.say(Halt(reason="fire"))
            return standing

        monkeypatch.setattr("harness.rotation.read_standing", read)
        await carry(scene.control(2), master(2))
        assert scene.last_version(Resume(reason="")) == 1
        assert (await scene.switch_of_a_starting_worker(oldest=1)).reason == "fire"

    async def test_a_resume_that_comes_meanwhile_is_not_taken_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))

        async def read(broker: object, gate: Gate) -> Standing:
            standing = await read_standing(scene.broker, gate)
            await scene.say(Resume(reason="it is out"))
            return standing

        monkeypatch.setattr("harness.rotation.read_standing", read)
        await carry(scene.control(2), master(2))
        assert not (await scene.switch_of_a_starting_worker(oldest=1)).halted

    async def test_a_word_on_the_switch_does_not_grow_old_in_the_journal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = Scene()
        lasting: list[object] = []
        publish = scene.broker.publish

        async def seen(subject: str, data: bytes, **options: object) -> int:
            lasting.append(options["lasting"])
            return await publish(subject, data)

        monkeypatch.setattr(scene.broker, "publish", seen)
        for message in (Halt(reason="x"), Resume(reason="x"), report("i1")):
            await scene.say(message)
        assert lasting == [True, True, False]


class TestCommand:
    @pytest.fixture
    def cli(self, place: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
        return cli_of(place.root, capsys, monkeypatch)

    def test_a_version_that_may_still_be_used_is_not_dropped_unless_forced(self, cli: Cli, place: Layout) -> None:
        for _ in range(2):
            assert cli("keys", "rotate").code == 0
        cli("keys", "rotate").refused(4, "key version 1 cannot be dropped yet", "--force")
        assert load(place.master_keys, PASSPHRASE).versions == (1, 2, 3)
        assert json.loads(cli("keys", "rotate", "--force", "--json").out) == {"current": 4, "told": False}
        assert "current version 4; accepted: 2, 3, 4" in cli("keys", "list").out

    def test_a_rotation_that_was_cut_off_is_shown_and_finished(self, cli: Cli, place: Layout) -> None:
        begin_rotation(place.master_keys, PASSPHRASE)
        assert "version 2 signs nothing yet" in cli("keys", "list").out
        assert cli("keys", "rotate").code == 0
        assert load(place.role_keys("log"), PASSPHRASE).current == 2
        assert "signs nothing" not in cli("keys", "list").out

    def test_it_waits_for_a_stack_that_goes_up(self, cli: Cli, place: Layout) -> None:
        with keys.changing_keys(place):
            cli("keys", "rotate").refused(4, "going up or down")
        assert load(place.master_keys, PASSPHRASE).versions == (1,)

    def test_running_roles_are_told_between_the_passes_and_given_time(
        self, cli: Cli, place: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene = Scene()
        naps: list[tuple[float, list[int]]] = []

        @asynccontextmanager
        async def connect(home: Path) -> AsyncIterator[ControlPlane]:
            ring = load(place.role_keys("operator"), PASSPHRASE)
            signing = Signer("operator", "cli", ring, clock=lambda: scene.journal.now_us)
            yield ControlPlane(home, scene.broker, ring, signing, SHOP)

        async def nap(seconds: float) -> None:
            naps.append((seconds, [open_frame(item.data).key_version for item in scene.journal.messages()]))

        monkeypatch.setattr("harness.rotation.connect", connect)
        monkeypatch.setattr(Embedded, "is_up", lambda stack: True)
        monkeypatch.setattr("harness.rotation.rotate.__kwdefaults__", {"force": False, "sleep": nap})
        assert json.loads(cli("keys", "rotate", "--json").out) == {"current": 2, "told": True}
        assert naps == [(SETTLE_S, [1])]
        told = scene.journal.messages("triage.control.rotate")
        assert [open_frame(item.data).key_version for item in told] == [1, 2]
