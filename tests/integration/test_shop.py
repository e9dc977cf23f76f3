"""The shop with its real servers: it works, it fails with the real errors, and it finds back by itself."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import psutil
import pytest
import pytest_asyncio

from broker.contracts.telemetry import LogLine
from services.platform.fault_port import LinkFault
from services.shop.products import SKUS
from services.shop.schema import prepare
from tests.support.shop import SERVICES, Shop, compact, eventually, running_shop

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

RATE = 12.0
"""Users per second in these tests: enough to see, little enough for a busy machine."""
ORDER = {"sku": SKUS[0], "quantity": 2, "customer": "Ada"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def the_shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def shop(the_shop: Shop) -> AsyncIterator[Shop]:
    """The running shop, whole again before each test."""
    await the_shop.repair()
    await the_shop.healthy(*SERVICES[:-1])
    await eventually(partial(the_shop.health, "loadgen"), lambda body: body["status"] != "GONE")
    await the_shop.load(rate=RATE)
    await the_shop.healthy()
    try:
        yield the_shop
    except BaseException:
        the_shop.show_logs()
        raise


async def checkout(shop: Shop, **changes: object) -> tuple[int, Any]:
    answer = await shop.http.post(f"{shop.url('gateway')}/checkout", json=ORDER | changes)
    return answer.status_code, answer.json()


async def product(shop: Shop, sku: str) -> tuple[int, Any]:
    answer = await shop.http.get(f"{shop.url('gateway')}/products/{sku}")
    return answer.status_code, answer.json()


def upstream(body: Any) -> Any:
    """Return the name of the failure that a gateway's error answer passes on from a neighbour."""
    return (body["error"].get("upstream") or {}).get("code")


async def dependency(shop: Shop, service: str, name: str) -> Any:
    return (await shop.health(service))["dependencies"].get(name, {}).get("error_code")


async def failing_line(shop: Shop, service: str, since: int, code: str) -> LogLine:
    """Return the first ERROR line of a failed request with that code."""

    async def found() -> list[LogLine]:
        lines = shop.lines(service, since)
        return [line for line in lines if line.meta.get("error_code") == code and "status" in line.meta]

    return (await eventually(found, bool))[0]


async def test_a_checkout_is_priced_stored_and_shipped(shop: Shop) -> None:
    status, order = await checkout(shop)
    assert status == 201

    async def stored() -> dict[str, Any]:
        answer = await shop.http.get(f"{shop.url('orders')}/orders/{order['id']}")
        body: dict[str, Any] = answer.json()
        return body

    shipped = await eventually(stored, lambda body: body["status"] == "shipped")
    _, goods = await product(shop, SKUS[0])
    assert shipped["price_cents"] == goods["price_cents"]
    assert shipped["customer"] == "Ada"


async def test_the_products_are_listed_and_an_unknown_one_is_not_found(shop: Shop) -> None:
    answer = await shop.http.get(f"{shop.url('gateway')}/products")
    assert [item["sku"] for item in answer.json()["products"]] == list(SKUS)
    assert (await product(shop, "SKU-9999"))[0] == 404
    assert (await product(shop, "%00"))[0] == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 0},
        {"quantity": "2"},
        {"customer": ""},
        {"customer": "a\0b"},
        {"customer": "x" * 20_000},
        {"more": 1},
    ],
)
async def test_a_senseless_order_is_refused_and_costs_no_error(shop: Shop, changes: dict[str, object]) -> None:
    status, body = await checkout(shop, **changes)
    assert status in (413, 422), compact(body)
    assert body["error"]["code"] == "refused"


async def test_users_are_served_at_the_asked_rate_and_everything_is_measured(shop: Shop) -> None:
    def served(stats: dict[str, Any]) -> bool:
        return bool(stats["failed"] == 0 and stats["ok"] > 30 and 5 < stats["rate"] < 25 and stats["p95_ms"] < 1_000)

    stats = await eventually(shop.stats, served)
    assert stats["success_ratio"] == 1.0
    for name in SERVICES:
        body = await shop.health(name)
        assert body["requests"]["count"] > 0
        assert body["mem_bytes"] > 10_000_000
        assert 0.0 < body["cpu_load"] < 1.5
        metrics = (await shop.http.get(f"{shop.url(name)}/metrics")).text
        assert "shop_requests_total{" in metrics


async def test_noise_is_ugly_but_harmless(shop: Shop) -> None:
    marks = {name: shop.count(name) for name in ("catalog", "orders")}
    await shop.load(rate=20.0, noise=1.0, seed=5)

    async def seen() -> tuple[bool, bool]:
        strangers = any("no product" in line.msg for line in shop.lines("catalog", marks["catalog"]))
        injected = any("\n" in str(line.meta.get("customer")) for line in shop.lines("orders", marks["orders"]))
        return strangers, injected

    await eventually(seen, all)
    assert not {"400", "413", "422", "500"} & set((await shop.stats())["errors"])


async def test_settings_of_the_load_out_of_bounds_are_refused(shop: Shop) -> None:
    for wrong in ({"rate": -1}, {"rate": 1_000}, {"noise": 1.5}, {"speed": 3}):
        answer = await shop.http.put(f"{shop.url('loadgen')}/settings", json=wrong)
        assert answer.status_code == 422
    assert (await shop.http.get(f"{shop.url('loadgen')}/stats?window_s=x")).status_code == 422
    settings = (await shop.http.get(f"{shop.url('loadgen')}/settings")).json()
    assert settings["rate"] == RATE


Inject = Callable[[Shop], Awaitable[None]]


async def change(shop: Shop, name: str, **variables: str) -> None:
    await shop.end(name)
    shop.start_service(name, **variables)


@pytest.mark.parametrize(
    ("variables", "code", "text"),
    [
        ({"ORDERS_DB_HOST": "shop-db-old.invalid"}, "gaierror", "[Errno"),
        ({"ORDERS_DB_PASSWORD": "wrong"}, "InvalidPasswordError", 'password authentication failed for user "orders"'),
        ({"ORDERS_DB_NAME": "old"}, "InvalidCatalogNameError", 'database "old" does not exist'),
        ({"ORDERS_DB_PORT": "1"}, "ECONNREFUSED", "Connect call failed"),
    ],
)
async def test_orders_with_a_wrong_database_starts_says_why_and_works_again_when_corrected(
    shop: Shop, variables: dict[str, str], code: str, text: str
) -> None:
    mark = shop.count("orders")
    await change(shop, "orders", **variables)
    await eventually(partial(dependency, shop, "orders", "shop-db"), lambda found: found == code)
    await eventually(partial(checkout, shop), lambda answer: answer[0] == 502 and upstream(answer[1]) == code)
    line = await failing_line(shop, "orders", mark, code)
    assert (line.level, line.meta["dependency"], line.meta["status"]) == ("ERROR", "shop-db", 500)
    assert text in line.msg
    assert (await shop.health("orders"))["status"] == "ERROR"
    assert (await shop.health("catalog"))["status"] == "OK"
    await change(shop, "orders")
    await shop.healthy("orders", "gateway")


async def test_a_database_that_restarts_is_found_again_without_help(shop: Shop) -> None:
    mark = shop.count("orders")
    await shop.database.stop()
    line = await failing_line(shop, "orders", mark, "ECONNREFUSED")
    assert line.meta["dependency"] == "shop-db"
    shop.database.start()
    await shop.healthy()
    await eventually(partial(checkout, shop), lambda answer: answer[0] == 201)


async def test_a_partition_to_the_database_is_a_timeout_and_heals(shop: Shop) -> None:
    mark = shop.count("orders")
    link = shop.links["orders", "shop-db"]
    await link.set(LinkFault("partition"))
    try:
        line = await failing_line(shop, "orders", mark, "TimeoutError")
        assert line.meta["dependency"] == "shop-db"
        assert (await shop.health("orders"))["dependencies"]["shop-mq"]["ok"]
    finally:
        await link.set(LinkFault("ok"))
    await shop.healthy()
    await eventually(partial(checkout, shop), lambda answer: answer[0] == 201)


@pytest.mark.parametrize(
    ("value", "code"),
    [(b"{broken", "JSONDecodeError"), (b"\xff\xfe\xfa", "UnicodeDecodeError"), (b'{"sku": 1}', "ValidationError")],
)
async def test_a_poisoned_cache_fails_requests_with_the_decoders_words(shop: Shop, value: bytes, code: str) -> None:
    await eventually(partial(product, shop, SKUS[0]), lambda answer: answer[0] == 200)
    mark = shop.count("catalog")
    assert await shop.poison(value) > 0
    await eventually(partial(product, shop, SKUS[0]), lambda answer: answer[0] == 502 and upstream(answer[1]) == code)
    line = await failing_line(shop, "catalog", mark, code)
    assert (line.level, line.meta["dependency"], line.meta["status"]) == ("ERROR", "shop-cache", 500)
    health = await shop.health("catalog")
    assert health["dependencies"]["shop-cache"]["ok"]
    assert health["last_error"]["error_code"] == code
    await shop.flush()
    await eventually(partial(product, shop, SKUS[0]), lambda answer: answer[0] == 200)


@pytest.mark.parametrize("hung", [False, True])
async def test_without_its_cache_the_catalog_warns_and_still_serves(shop: Shop, hung: bool) -> None:
    mark = shop.count("catalog")
    if hung:
        shop.processes["shop-cache"].send(signal.SIGSTOP)
    else:
        await shop.end("shop-cache")
    code = "TimeoutError" if hung else "ECONNREFUSED"
    try:
        await eventually(partial(dependency, shop, "catalog", "shop-cache"), lambda found: found == code)
        await eventually(partial(product, shop, SKUS[0]), lambda answer: answer[0] == 200)
        health = await shop.health("catalog")
        assert health["status"] == "WARN"
        warned = [line for line in shop.lines("catalog", mark) if line.meta.get("error_code") == code]
        assert {line.level for line in warned} == {"WARN"}
    finally:
        if hung:
            shop.processes["shop-cache"].send(signal.SIGCONT)
        else:
            shop.start_cache()
    await shop.healthy("catalog")


@pytest.mark.parametrize("hung", [False, True])
async def test_without_the_queue_orders_are_refused_and_come_back_with_it(shop: Shop, hung: bool) -> None:
    mark = shop.count("orders")
    if hung:
        shop.processes["shop-mq"].send(signal.SIGSTOP)
    else:
        await shop.end("shop-mq")
    code = "TimeoutError" if hung else "ECONNREFUSED"
    try:
        line = await failing_line(shop, "orders", mark, code)
        assert line.meta["dependency"] == "shop-mq"
        await eventually(partial(dependency, shop, "fulfilment", "shop-mq"), lambda found: found == code)
    finally:
        if hung:
            shop.processes["shop-mq"].send(signal.SIGCONT)
        else:
            shop.start_queue()
    await shop.healthy()
    await eventually(partial(shop.health, "fulfilment"), lambda body: body["requests"]["count"] > 0)


async def test_a_queue_that_lost_its_disk_is_set_up_again(shop: Shop) -> None:
    await shop.end("shop-mq", signal.SIGKILL)
    (shop.home / "shop-mq").rename(shop.home / "lost")
    shop.start_queue()
    await shop.healthy()

    async def ordered() -> Any:
        return (await checkout(shop))[1]

    order = await eventually(ordered, lambda found: "id" in found)

    async def status() -> Any:
        return (await shop.http.get(f"{shop.url('orders')}/orders/{order['id']}")).json()["status"]

    await eventually(status, lambda found: found == "shipped")


async def test_what_could_not_be_shipped_is_shipped_after_the_repair(shop: Shop) -> None:
    link = shop.links["fulfilment", "orders"]
    await link.set(LinkFault("refuse"))
    mark = shop.count("fulfilment")
    _, order = await checkout(shop)
    line = await failing_line(shop, "fulfilment", mark, "ECONNREFUSED")
    assert line.meta["dependency"] == "orders"
    await link.set(LinkFault("ok"))

    async def status() -> Any:
        return (await shop.http.get(f"{shop.url('orders')}/orders/{order['id']}")).json()["status"]

    await eventually(status, lambda found: found == "shipped")
    await shop.healthy()


async def test_connections_dropped_on_the_way_to_orders_are_felt_by_their_requests(shop: Shop) -> None:
    link = shop.links["gateway", "orders"]
    await link.set(LinkFault("drop", drop_ratio=0.5, seed=1))
    try:
        line = await failing_line(shop, "gateway", shop.count("gateway"), "ECONNRESET")
        assert (line.meta["dependency"], line.meta["status"]) == ("orders", 502)
    finally:
        await link.set(LinkFault("ok"))
    await shop.healthy()


async def test_a_neighbour_that_hangs_is_a_timeout_at_the_gateway_before_the_user_gives_up(shop: Shop) -> None:
    shop.processes["orders"].send(signal.SIGSTOP)
    try:
        status, body = await eventually(
            partial(checkout, shop), lambda answer: answer[1]["error"]["dependency"] == "orders"
        )
        assert (status, body["error"]["code"]) == (504, "ReadTimeout")
        await eventually(partial(dependency, shop, "gateway", "orders"), lambda found: found == "ReadTimeout")
    finally:
        shop.processes["orders"].send(signal.SIGCONT)
    await shop.healthy()


async def test_a_killed_service_is_refused_and_counts_against_the_objective(shop: Shop) -> None:
    await shop.end("catalog", signal.SIGKILL)
    await eventually(shop.stats, lambda stats: stats["errors"].get("502", 0) > 10)
    await eventually(partial(dependency, shop, "gateway", "catalog"), lambda found: found == "ECONNREFUSED")
    shop.start_service("catalog")
    await shop.healthy()
    await eventually(shop.stats, lambda stats: stats["success_ratio"] == 1.0)


async def test_foreign_processes_in_a_scope_are_counted_to_it(shop: Shop) -> None:
    hog = await asyncio.create_subprocess_exec(
        "python3",
        "-c",
        "while True: pass",
        env={"PATH": "/usr/bin:/bin", "SHOP_SCOPE": "orders", "SHOP_PORT": str(shop.port("orders"))},
    )
    try:
        await eventually(partial(shop.health, "orders"), lambda body: body["cpu_load"] > 0.25)
    finally:
        hog.kill()
        await hog.wait()


async def test_preparing_the_databases_again_changes_nothing(shop: Shop) -> None:
    _, order = await checkout(shop)
    await prepare(shop.database.admin_dsn, shop.secrets)
    assert (await shop.http.get(f"{shop.url('orders')}/orders/{order['id']}")).status_code == 200
    await eventually(partial(checkout, shop), lambda answer: answer[0] == 201)


async def test_a_port_that_is_taken_ends_the_service_with_a_sentence(shop: Shop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        shop.processes["second"] = shop.processes.pop("fulfilment")
        shop.start_service("fulfilment", SHOP_PORT=str(taken.getsockname()[1]))
        started = shop.processes.pop("fulfilment")
        shop.processes["fulfilment"] = shop.processes.pop("second")

        async def ended() -> bool:
            return not started.running()

        await eventually(ended, bool)
        assert await started.end() == 1
    assert any("address already in use" in line.msg.lower() for line in shop.lines("fulfilment"))


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_told_to_stop_as_soon_as_it_is_up_stops(shop: Shop, name: str) -> None:
    """Its checks are on their way at that moment, and their answers may come together with the cancellation."""
    for _ in range(3):
        assert await shop.end(name) == 0
        said = len(shop.lines(name))
        shop.start_service(name)
        await eventually(partial(_serving_since, shop, name, said), bool)
    assert await shop.end(name) == 0
    shop.start_service(name)
    await shop.healthy()


async def _serving_since(shop: Shop, name: str, said: int) -> bool:
    return any(line.msg == "serving" for line in shop.lines(name)[said:])


async def test_all_services_together_stay_small_and_stop_cleanly(shop: Shop) -> None:
    resident = {name: psutil.Process(shop.processes[name].pid).memory_info().rss for name in SERVICES}
    assert sum(resident.values()) < 300 * 2**20, compact(resident)
    for name in SERVICES:
        assert await shop.end(name) == 0
        assert shop.lines(name)[-1].msg == "stopping"
    for name in SERVICES:
        shop.start_service(name)
    await shop.healthy()
