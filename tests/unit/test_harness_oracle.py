"""The oracle: users are served by the declared load, and what cannot be measured has not held."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from broker.contracts.inventory import Objective
from harness.errors import StackDownError
from harness.oracle import Oracle, judge_traffic
from harness.verdict import Before
from injector.collateral import Baseline, Witness
from injector.fault import Spec, World
from injector.injector import Injector
from injector.journal import FaultJournal
from services.inventory.declared import TRAFFIC_RATE, declare
from services.platform.port import Drift, PlatformDownError, VerbFailedError
from services.shop.loadgen import LoadGenerator
from services.shop.settings import Environment, LoadgenSettings
from tests.support.world import FakeFaults, FakePlatform, running, shop_inventory

OBJECTIVE = Objective()
WELL = {"success_ratio": 1.0, "p95_ms": 20.0}
CLIENT = httpx.AsyncClient
DRIFT = Spec("db_conn_drift", "orders")


def figures(sent: float, **changes: object) -> dict[str, object]:
    """Return what the load generator's /stats says after sending so much in one window."""
    return {"window_s": 5, "sent": sent, "ok": sent, "failed": 0, **WELL, "rate": sent / 5, "errors": {}, **changes}


class TestTraffic:
    def test_the_declared_load_that_is_answered_well_is_served(self) -> None:
        assert judge_traffic(figures(5 * TRAFFIC_RATE), OBJECTIVE).ok

    @pytest.mark.parametrize("sent", [1, 5, 49])
    def test_a_throttled_generator_proves_nothing_however_well_it_is_answered(self, sent: int) -> None:
        clause = judge_traffic(figures(sent), OBJECTIVE)
        assert not clause.ok
        assert clause.detail == f"only {sent} requests in 5 s; 20/s are declared"

    def test_a_stopped_generator_proves_nothing(self) -> None:
        assert not judge_traffic(figures(0, success_ratio=None, p95_ms=None), OBJECTIVE).ok
        assert not judge_traffic(figures(0), OBJECTIVE).ok

    @pytest.mark.parametrize("wrong", [{"sent": "nan"}, {"success_ratio": "nan"}, {"p95_ms": "nan"}, {"sent": None}])
    def test_a_figure_that_is_no_number_proves_nothing(self, wrong: dict[str, object]) -> None:
        assert not judge_traffic(figures(100) | wrong, OBJECTIVE).ok

    def test_the_declared_rate_is_what_the_generator_is_started_with(self) -> None:
        secrets = {"orders_db_password": "a", "catalog_db_password": "b"}
        loadgen = next(item for item in declare(17_400, secrets) if item.kind == "traffic")
        assert float(loadgen.environment["LOADGEN_RATE"]) == TRAFFIC_RATE


class BlindFaults(FakeFaults):
    async def environment(self, name: str) -> dict[str, str]:
        raise VerbFailedError(f"{name} does not run")


class BlindPlatform(FakePlatform):
    async def list(self) -> tuple[object, ...]:  # type: ignore[override]
        raise PlatformDownError("the process manager does not answer")


def oracle(tmp_path: Path, faults: FakeFaults, platform: FakePlatform) -> Oracle:
    inventory = shop_inventory()
    return Oracle(Injector(World(faults, inventory), FaultJournal(tmp_path)), Witness(platform), inventory)


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load generator that says that all is well."""

    let_answer(monkeypatch, {"/stats": figures(100), "/settings": {"rate": TRAFFIC_RATE, "noise": 0.0, "seed": 1}})


def let_answer(monkeypatch: pytest.MonkeyPatch, answers: dict[str, object]) -> None:
    """Let every HTTP server answer with JSON by path."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answers[request.url.path]))
    monkeypatch.setattr(httpx, "AsyncClient", lambda **kw: CLIENT(**kw, transport=transport))


@pytest.mark.asyncio
@pytest.mark.usefixtures("well")
async def test_a_world_as_declared_holds(tmp_path: Path) -> None:
    platform = FakePlatform({"orders": running("orders")})
    judged = await oracle(tmp_path, FakeFaults(), platform).judge(
        [DRIFT], Before(Baseline(platform.workloads)), allowed={}
    )
    assert judged.ok, judged


@pytest.mark.asyncio
@pytest.mark.usefixtures("well")
async def test_evidence_that_cannot_be_had_fails_its_clause_and_no_other(tmp_path: Path) -> None:
    platform = FakePlatform({"orders": running("orders")})
    judged = await oracle(tmp_path, BlindFaults(), platform).judge(
        [DRIFT], Before(Baseline(platform.workloads)), allowed={}
    )
    gone, served, unchanged = judged.clauses
    assert not gone.ok
    assert gone.name == "db_conn_drift on orders is gone"
    assert "measurement failed" in gone.detail
    assert "orders does not run" in gone.detail
    assert served.ok
    assert unchanged.ok


@pytest.mark.asyncio
@pytest.mark.usefixtures("well")
async def test_a_world_that_cannot_be_looked_at_has_not_stayed_the_same(tmp_path: Path) -> None:
    judged = await oracle(tmp_path, FakeFaults(), BlindPlatform({})).judge([DRIFT], Before(Baseline({})), allowed={})
    assert [clause.ok for clause in judged.clauses] == [True, True, False]
    assert "measurement failed: the process manager does not answer" in judged.clauses[-1].detail


@pytest.mark.asyncio
async def test_a_generator_that_is_gone_gives_no_figures(tmp_path: Path) -> None:
    platform = FakePlatform({"orders": running("orders")})
    judged = await oracle(tmp_path, FakeFaults(), platform).judge(
        [], Before(Baseline(platform.workloads)), allowed={}, grace_s=0.0
    )
    assert [clause.ok for clause in judged.clauses] == [False, True]


@pytest.mark.asyncio
@pytest.mark.parametrize("rate", [0.0, 12.0, None, "nan"])
async def test_a_generator_that_is_set_to_less_than_declared_is_found_out_whatever_it_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: object
) -> None:
    let_answer(monkeypatch, {"/stats": figures(100), "/settings": {"rate": rate}})
    assert not (await oracle(tmp_path, FakeFaults(), FakePlatform({})).served_now()).ok
    let_answer(monkeypatch, {"/stats": figures(100), "/settings": {"rate": TRAFFIC_RATE}})
    assert (await oracle(tmp_path, FakeFaults(), FakePlatform({})).served_now()).ok


@pytest.mark.asyncio
@pytest.mark.parametrize("rate", [1.0, 0.0])
async def test_the_real_generator_throttled_or_stopped_by_an_agent_serves_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    environment = {"SHOP_SERVICE": "loadgen", "SHOP_HOST": "127.0.0.1", "SHOP_PORT": "1", "SHOP_SCOPE": "loadgen"}
    load = {"LOADGEN_TARGET": "http://127.0.0.1:1", "LOADGEN_RATE": f"{TRAFFIC_RATE:g}", "LOADGEN_SEED": "1"}
    generator = LoadGenerator(LoadgenSettings.read(Environment(environment | load)))
    app = generator.app()
    monkeypatch.setattr(httpx, "AsyncClient", lambda **kw: CLIENT(**kw, transport=httpx.ASGITransport(app)))
    judge = oracle(tmp_path, FakeFaults(), FakePlatform({}))
    async with CLIENT(transport=httpx.ASGITransport(app), base_url="http://loadgen") as agent:
        (await agent.put("/settings", json={"rate": rate})).raise_for_status()
    clause = await judge.served_now()
    await generator._stop_sending()
    assert not clause.ok
    assert f"is set to {rate:g}/s; 20/s are declared" in clause.detail


@pytest.mark.asyncio
async def test_the_baseline_holds_the_world_and_the_load_it_is_under(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = {"rate": TRAFFIC_RATE, "noise": 0.3, "seed": 7}
    let_answer(monkeypatch, {"/settings": load})
    before = await oracle(tmp_path, FakeFaults(), FakePlatform({"orders": running("orders")})).before()
    assert (set(before.world.workloads), before.load) == ({"orders"}, load)


@pytest.mark.asyncio
@pytest.mark.usefixtures("well")
async def test_a_world_that_drifts_before_the_fault_is_no_baseline(tmp_path: Path) -> None:
    drift = (Drift("environment", "ORDERS_DB_HOST", "a", "b"),)
    platform = FakePlatform({"orders": running("orders", drift=drift)})
    with pytest.raises(StackDownError, match=r"not as declared .*orders drifts: environment ORDERS_DB_HOST"):
        await oracle(tmp_path, FakeFaults(), platform).before()


@pytest.mark.asyncio
@pytest.mark.usefixtures("well")
async def test_a_world_that_cannot_be_looked_at_before_the_fault_begins_no_run(tmp_path: Path) -> None:
    with pytest.raises(PlatformDownError):
        await oracle(tmp_path, FakeFaults(), BlindPlatform({})).before()


@pytest.mark.asyncio
async def test_a_generator_that_does_not_say_its_load_begins_no_run(tmp_path: Path) -> None:
    with pytest.raises(StackDownError, match="does not say its load"):
        await oracle(tmp_path, FakeFaults(), FakePlatform({})).before()


@pytest.mark.asyncio
async def test_evidence_that_cannot_be_had_is_not_gone(tmp_path: Path) -> None:
    assert not await oracle(tmp_path, BlindFaults(), FakePlatform({})).is_gone(DRIFT)
    assert await oracle(tmp_path, FakeFaults(), FakePlatform({})).is_gone(DRIFT)
