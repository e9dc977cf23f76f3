"""The injector: every fault shows evidence, heals, and survives its own crash."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from injector import injector as module
from injector.errors import (
    BadArgumentError,
    BadTargetError,
    DamagedNoteError,
    NoEvidenceError,
    NotHealedError,
    NotHereError,
    NotOpenError,
    UnknownFaultError,
    WorldError,
)
from injector.fault import Platform, Spec, World
from injector.injector import Injector
from injector.journal import FaultJournal
from injector.registry import FAULTS, check, find
from services.platform.fault_port import Limits
from services.platform.port import PlatformDownError, VerbFailedError
from tests.support.world import FakeFaults, shop_inventory

ON_THE_CACHE = ("cache_poison", "cache_full", "cache_password_changed")
WITHOUT_SERVER = [name for name in FAULTS if name not in ON_THE_CACHE]


def injector(tmp_path: Path, world: FakeFaults, platform: Platform = "docker") -> Injector:
    subject = World(world, shop_inventory(), platform)
    return Injector(subject, FaultJournal(tmp_path), now=lambda: "2026-01-01T00:00:00+00:00")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", WITHOUT_SERVER)
async def test_every_fault_is_seen_when_injected_and_gone_when_healed(tmp_path: Path, name: str) -> None:
    subject = injector(tmp_path, FakeFaults(), FAULTS[name].platforms[-1])
    spec = Spec(name, FAULTS[name].targets[0])
    assert not (await subject.evidence(spec)).present
    opened = await subject.inject(spec)
    assert (await subject.evidence(spec)).present
    assert [fault.id for fault in subject.open()] == [opened.id]
    await subject.heal(opened.id)
    assert not (await subject.evidence(spec)).present
    assert subject.open() == ()


@pytest.mark.asyncio
async def test_healing_survives_the_injectors_crash_in_mid_injection(tmp_path: Path) -> None:
    world = FakeFaults()
    spec = Spec("service_hung", "orders")
    FaultJournal(tmp_path).begin(spec, "2026-01-01T00:00:00+00:00")  # written down, then the process died
    await world.freeze("orders")
    healed = await injector(tmp_path, world).heal_all()
    assert [fault.state for fault in healed] == ["injecting"]
    assert not world.frozen


@pytest.mark.asyncio
async def test_what_was_repaired_meanwhile_heals_without_harm(tmp_path: Path) -> None:
    world = FakeFaults()
    subject = injector(tmp_path, world)
    opened = await subject.inject(Spec("service_killed", "orders"))
    await world.start("orders")
    await subject.heal(opened.id)
    assert subject.open() == ()


@pytest.mark.asyncio
async def test_a_fault_the_world_does_not_show_is_an_error_and_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVIDENCE_TIMEOUT_S", 0.0)
    subject = injector(tmp_path, FakeFaults(deaf=True))
    with pytest.raises(NoEvidenceError, match="does not show service_stopped on orders"):
        await subject.inject(Spec("service_stopped", "orders"))
    assert len(subject.open()) == 1


def test_an_unknown_fault_names_the_nearest() -> None:
    with pytest.raises(UnknownFaultError, match="did you mean service_killed"):
        find("service_kiled")


def test_a_wrong_target_names_the_right_ones() -> None:
    with pytest.raises(BadTargetError, match="applies to shop-cache"):
        check(Spec("cache_poison", "orders"))


@pytest.mark.parametrize(("name", "value"), [("ratio", 2.0), ("ratio", "much"), ("speed", 1.0), ("ratio", True)])
def test_an_argument_out_of_bounds_is_refused(name: str, value: float) -> None:
    with pytest.raises(BadArgumentError):
        check(Spec("connections_dropped", "gateway--orders", {name: value}))


@pytest.mark.asyncio
async def test_healing_what_is_not_open_names_what_is(tmp_path: Path) -> None:
    with pytest.raises(NotOpenError, match="open: none"):
        await injector(tmp_path, FakeFaults()).heal("service_killed-orders-1")


def test_two_faults_of_one_kind_have_their_own_ids(tmp_path: Path) -> None:
    journal = FaultJournal(tmp_path)
    spec = Spec("network_partition", "orders--shop-db")
    assert [journal.begin(spec, "t").id for _ in range(2)] == [
        "network_partition-orders-shop-db-1",
        "network_partition-orders-shop-db-2",
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if "embedded" not in fault.platforms])
async def test_a_fault_of_containers_is_refused_on_processes_before_anything_is_touched(
    tmp_path: Path, name: str
) -> None:
    subject = injector(tmp_path, FakeFaults(), "embedded")
    with pytest.raises(NotHereError, match="cannot be made on the embedded platform; it can on docker"):
        await subject.inject(Spec(name, FAULTS[name].targets[0]))
    assert subject.open() == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if "docker" not in fault.platforms])
async def test_a_fault_of_processes_is_refused_on_containers_before_anything_is_touched(
    tmp_path: Path, name: str
) -> None:
    subject = injector(tmp_path, FakeFaults(), "docker")
    with pytest.raises(NotHereError, match="cannot be made on the docker platform; it can on embedded"):
        await subject.inject(Spec(name, FAULTS[name].targets[0]))
    assert subject.open() == ()


def test_there_are_twenty_four_kinds_of_fault_on_processes_alone() -> None:
    assert len([name for name, fault in FAULTS.items() if "embedded" in fault.platforms]) >= 24


@pytest.mark.asyncio
async def test_a_wrong_value_of_somebody_else_is_no_evidence(tmp_path: Path) -> None:
    world = FakeFaults(changed={"orders": {"ORDERS_DB_PORT": "5433"}})
    found = await injector(tmp_path, world).evidence(Spec("wrong_port", "orders"))
    assert (found.present, found.detail) == (False, "orders runs without the injected ORDERS_DB_PORT")


@pytest.mark.asyncio
async def test_a_service_that_lacks_a_variable_shows_it_although_it_does_not_run(tmp_path: Path) -> None:
    world = FakeFaults()
    subject = injector(tmp_path, world, "embedded")
    spec = Spec("missing_variable", "gateway")
    await subject.inject(spec)
    await world.stop("gateway")
    found = await subject.evidence(spec)
    assert found.present
    assert found.detail == "gateway was given an empty GATEWAY_ORDERS_URL, and does not run"


@pytest.mark.asyncio
async def test_another_limit_than_the_injected_one_is_no_evidence(tmp_path: Path) -> None:
    world = FakeFaults()
    subject = injector(tmp_path, world)
    spec = Spec("cpu_limit", "catalog", {"cores": 0.2})
    await subject.inject(spec)
    world.limited["catalog"] = Limits(cpu_cores=1.0)
    assert (await subject.evidence(spec)).detail == "catalog may use 1 cores"
    assert not (await subject.evidence(spec)).present


class BrokenWorld(FakeFaults):
    async def stop(self, name: str) -> None:
        raise VerbFailedError(f"{name} did not stop within 5 s")


@pytest.mark.asyncio
async def test_a_platform_that_fails_is_one_sentence_and_the_fault_stays_to_be_healed(tmp_path: Path) -> None:
    subject = injector(tmp_path, BrokenWorld())
    with pytest.raises(WorldError, match="service_stopped on orders: orders did not stop within 5 s"):
        await subject.inject(Spec("service_stopped", "orders"))
    assert [fault.state for fault in subject.open()] == ["injecting"]


class BlindWorld(FakeFaults):
    async def is_running(self, name: str) -> bool:
        raise PlatformDownError("the process manager does not answer")


@pytest.mark.asyncio
async def test_evidence_that_the_platform_does_not_give_is_one_sentence_too(tmp_path: Path) -> None:
    subject = injector(tmp_path, BlindWorld())
    sentence = "service_stopped on orders: the process manager does not answer"
    with pytest.raises(WorldError, match=sentence):
        await subject.evidence(Spec("service_stopped", "orders"))
    with pytest.raises(WorldError, match=sentence):
        await subject.inject(Spec("service_stopped", "orders"))
    (opened,) = subject.open()
    with pytest.raises(WorldError, match=sentence):
        await subject.heal(opened.id)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ON_THE_CACHE)
async def test_a_cache_that_does_not_answer_is_one_sentence(tmp_path: Path, name: str) -> None:
    # Its inventory has the cache on a port where nobody listens.
    subject = injector(tmp_path, FakeFaults(), "embedded")
    with pytest.raises(WorldError, match=f"{name} on shop-cache: the cache does not answer"):
        await subject.inject(Spec(name, "shop-cache"))
    with pytest.raises(WorldError, match=f"{name} on shop-cache: the cache does not answer"):
        await subject.evidence(Spec(name, "shop-cache"))


class SlowWorld(FakeFaults):
    """A server that needs a while before it does what it is told."""

    refusals = 3

    async def start(self, name: str) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise VerbFailedError(f"{name} does not answer: connection refused")
        await super().start(name)


@pytest.mark.asyncio
async def test_healing_waits_for_a_server_that_was_started_only_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.0)
    world = SlowWorld()
    subject = injector(tmp_path, world)
    opened = await subject.inject(Spec("service_stopped", "orders"))
    await subject.heal(opened.id)
    assert (world.refusals, subject.open()) == (-1, ())


class StubbornWorld(FakeFaults):
    """One workload that never starts again, and one on which the platform breaks."""

    async def start(self, name: str) -> None:
        if name == "fulfilment":
            raise VerbFailedError("fulfilment did not start")
        if name != "catalog":
            await super().start(name)


@pytest.mark.asyncio
async def test_healing_all_tries_each_and_names_those_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVIDENCE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(module, "STARTING_S", 0.0)
    times = (f"2026-01-01T00:00:0{n}+00:00" for n in range(9))
    subject = Injector(World(StubbornWorld(), shop_inventory()), FaultJournal(tmp_path), now=lambda: next(times))
    for target in ("orders", "fulfilment", "gateway", "catalog"):
        await subject.inject(Spec("service_stopped", target))
    with pytest.raises(NotHealedError, match=r"^2 of 4 open faults could not be healed") as caught:
        await subject.heal_all()
    said = str(caught.value)
    assert "service_stopped-catalog-1" in said
    assert "fulfilment did not start" in said
    assert "\n" not in said
    assert [fault.spec.target for fault in subject.open()] == ["catalog", "fulfilment"]


SAID: dict[str, tuple[str, str]] = {
    "service_stopped": ("orders does not run", "orders runs"),
    "service_killed": ("orders does not run", "orders runs"),
    "service_hung": ("orders is frozen", "orders is not frozen"),
    "mq_stopped": ("shop-mq does not run", "shop-mq runs"),
    "db_conn_drift": (
        "orders runs with the injected ORDERS_DB_HOST",
        "orders runs without the injected ORDERS_DB_HOST",
    ),
    "missing_variable": (
        "orders was given an empty ORDERS_MQ_URL, and runs",
        "orders was not given an empty ORDERS_MQ_URL, and runs",
    ),
    "bad_command": (
        "orders was given python -m services.shop.orders_server, and runs",
        "orders was not given python -m services.shop.orders_server, and runs",
    ),
    "network_partition": ("the link orders--shop-db swallows traffic", "the link orders--shop-db lets traffic pass"),
    "network_latency": ("the link gateway--orders delays traffic", "the link gateway--orders lets traffic pass"),
    "connections_dropped": (
        "the link gateway--orders resets a share of new connections",
        "the link gateway--orders lets traffic pass",
    ),
    "network_throttle": ("the link gateway--catalog throttles traffic", "the link gateway--catalog lets traffic pass"),
    "cpu_hog": (
        "foreign processes in the scope of catalog that burn CPU: 2",
        "foreign processes in the scope of catalog that burn CPU: 0",
    ),
    "table_locked": (
        "foreign processes in the scope of shop-db that hold a lock on the table orders: 1",
        "foreign processes in the scope of shop-db that hold a lock on the table orders: 0",
    ),
    "disk_full": (
        "a foreign file of 1 bytes lies in the volume of shop-cache",
        "no foreign file lies in the volume of shop-cache",
    ),
}
"""What the world shows of a fault while it is there, and once it is gone: both stand behind "<fault> is gone"."""


@pytest.mark.asyncio
@pytest.mark.parametrize("name", SAID)
async def test_what_was_seen_is_said_as_plainly_when_the_fault_is_gone_as_while_it_is_there(
    tmp_path: Path, name: str
) -> None:
    subject = injector(tmp_path, FakeFaults(), FAULTS[name].platforms[-1])
    spec = Spec(name, FAULTS[name].targets[0])
    opened = await subject.inject(spec)
    there = (await subject.evidence(spec)).detail
    await subject.heal(opened.id)
    assert (there, (await subject.evidence(spec)).detail) == SAID[name]


def test_a_fault_that_somebody_heals_while_the_open_ones_are_listed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FaultJournal(tmp_path)
    stays, goes = (journal.begin(Spec("service_killed", name), "t") for name in ("catalog", "orders"))
    read_text = Path.read_text

    def read(path: Path) -> str:
        FaultJournal(tmp_path).close(goes)
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", read)
    assert [fault.id for fault in journal] == [stays.id]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"id": "x", "spec": {"fault": 1}, "state": "open", "at": "t"}', "\x00"]
)
async def test_a_damaged_note_is_named_and_all_others_are_healed(tmp_path: Path, text: str) -> None:
    subject = injector(tmp_path, FakeFaults())
    opened = await subject.inject(Spec("service_killed", "orders"))
    (tmp_path / "db_conn_drift-orders-1.json").write_text(text)
    with pytest.raises(DamagedNoteError, match=r"db_conn_drift-orders-1\.json \(.*triage status") as caught:
        await subject.heal_all()
    assert "\n" not in str(caught.value)
    assert not (await subject.evidence(opened.spec)).present
    with pytest.raises(DamagedNoteError):
        subject.open()
    (tmp_path / "db_conn_drift-orders-1.json").unlink()
    assert subject.open() == ()


class LateWorld(FakeFaults):
    """A busy machine: what was begun shows 25 s later by the test's clock."""

    now = 0.0

    async def is_running(self, name: str) -> bool:
        return self.now < 25.0 or await super().is_running(name)


@pytest.mark.asyncio
async def test_a_fault_that_a_busy_machine_shows_late_was_injected_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LateWorld()

    async def sleep(seconds: float) -> None:
        world.now += seconds

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: world.now))
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    assert (await injector(tmp_path, world).inject(Spec("service_killed", "orders"))).state == "open"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.asyncio
async def test_what_a_killed_injector_left_half_written_is_gone_once_its_fault_is_healed(tmp_path: Path) -> None:
    subject = injector(tmp_path, FakeFaults())
    opened = await subject.inject(Spec("service_killed", "orders"))
    (tmp_path / f"{opened.id}.tmp4711").write_text('{"id"')
    assert [fault.id for fault in subject.open()] == [opened.id]
    await subject.heal_all()
    assert names_in(tmp_path) == []
