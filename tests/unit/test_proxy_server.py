"""The platform proxy over HTTP: what comes through, what is refused, and how it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.platform.docker.events import WorkloadEvent
from services.platform.fault_port import Limits, LinkFault
from services.platform.port import (
    Drift,
    NotManagedError,
    NotOnThisPlatformError,
    PlatformDownError,
    PlatformError,
    RefusedError,
    UnknownWorkloadError,
    VerbFailedError,
    Workload,
)
from services.platform.proxy import policy
from services.platform.proxy.client import RemotePlatform
from services.platform.proxy.policy import CLIENTS, Client
from services.platform.proxy.wire import VERBS
from tests.support.proxy_world import ManagedPlatform, MemoryWorld, Proxied, proxied
from tests.support.world import running

DRIFT = (Drift("environment", "SETTING", "right", "wrong"),)
ARGUMENTS: dict[str, Any] = {
    "name": "orders",
    "source": "orders",
    "destination": "shop-db",
    "instance": "log-agent-1",
    "signal": "KILL",
    "key": "k-1",
    "since_us": 0,
    "command": "flush_prefix",
    "args": {"prefix": "a"},
    "changes": {"A": "1"},
    "fault": {"mode": "partition"},
    "limits": {"cpu_cores": 0.5},
    "processes": 1,
}
"""Something fitting for every parameter of every verb."""


@pytest_asyncio.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxied]:
    loadgen = Workload("loadgen", False, "running", 1, 1, 0, ())
    platform = ManagedPlatform({"orders": running("orders", drift=DRIFT), "loadgen": loadgen})
    async with proxied(tmp_path, MemoryWorld(platform)) as served:
        yield served
    assert served.world.closed


def plain() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, verify=False)  # noqa: S501 - plain HTTP; loading certificates takes long


async def post(proxy: Proxied, verb: str, body: Any = None, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}".strip()}
    async with plain() as client:
        return await client.post(f"{proxy.url}/v1/{verb}", json=body, headers=headers)


def fitting(verb: str) -> dict[str, Any]:
    return {name: ARGUMENTS[name] for name in VERBS[verb].arguments.model_fields if name in ARGUMENTS}


# -- through


@pytest.mark.asyncio
async def test_looks_and_changes_arrive_and_their_answers_come_back_whole(proxy: Proxied) -> None:
    platform = proxy.platform("action")
    assert await platform.inspect("orders") == running("orders", drift=DRIFT)
    assert [item.name for item in await platform.list()] == ["orders", "loadgen"]
    effect = await platform.reconcile("orders", key="k-1")
    assert (effect.changed, effect.before) == (True, DRIFT)
    assert await platform.effects() == (("k-1", "orders", "reconcile"),)
    assert (await platform.stats("orders")).processes == 3
    assert await platform.health("orders", timeout_s=0.1) == (True, "answers 200")


@pytest.mark.asyncio
async def test_faults_arrive_from_the_injector(proxy: Proxied) -> None:
    faults, there = proxy.faults("injector"), proxy.world.faults
    await faults.kill("loadgen")
    assert "loadgen" in there.down
    await faults.set_link("orders", "shop-db", LinkFault("latency", latency_ms=80.0))
    assert await faults.link("orders", "shop-db") == LinkFault("latency", latency_ms=80.0)
    await faults.set_environment("orders", {"A": "ünï"})
    assert await faults.environment("orders") == {"A": "ünï"}
    await faults.kill_role("log-agent-1", "STOP")
    assert "log-agent-1/STOP" in there.down
    assert (await proxy.platform("injector").containers())[0].role == "log"


@pytest.mark.parametrize(
    "error",
    [
        UnknownWorkloadError("no workload is called x"),
        VerbFailedError("it did not start"),
        NotManagedError("x is not managed"),
        NotOnThisPlatformError("not here"),
        PlatformDownError("no engine"),
        PlatformError("something"),
    ],
)
@pytest.mark.asyncio
async def test_errors_come_back_as_what_they_were(proxy: Proxied, error: PlatformError) -> None:
    async def fail(name: str) -> None:
        raise error

    proxy.world.platform.inspect = fail
    with pytest.raises(PlatformError, match=str(error)) as caught:
        await proxy.platform("log").inspect("orders")
    assert type(caught.value) is type(error)


@pytest.mark.asyncio
async def test_a_fault_of_the_proxy_itself_is_told_without_its_inside(proxy: Proxied) -> None:
    async def fail(name: str) -> None:
        raise ZeroDivisionError("secret-inside")

    proxy.world.platform.inspect = fail
    with pytest.raises(PlatformError, match="the platform proxy failed: ZeroDivisionError") as caught:
        await proxy.platform("log").inspect("orders")
    assert "secret-inside" not in str(caught.value)
    assert (await proxy.platform("log").list())[0].name == "orders"


# -- refused

REFUSED = [(client, verb) for client in CLIENTS for verb in VERBS if policy.judge(client, verb) is not None]


@pytest.mark.asyncio
async def test_everything_a_client_may_not_do_is_refused_logged_counted_and_not_done(proxy: Proxied) -> None:
    async with plain() as client:
        for who, verb in REFUSED:
            headers = {"authorization": f"Bearer {proxy.token(who).read_text().strip()}"}
            answer = await client.post(f"{proxy.url}/v1/{verb}", json=fitting(verb), headers=headers)
            assert (answer.status_code, answer.json()["kind"]) == (403, "RefusedError"), (who, verb)
            assert proxy.counted("triage_platform_refused_total", client=who, verb=verb) == 1.0
    told = {(row["client"], row["verb"]) for row in proxy.log.entries if row["event"] == "platform_refused"}
    assert told == set(REFUSED)
    assert proxy.world.platform.ledger == []
    assert not proxy.world.faults.down
    assert not proxy.world.faults.links


@pytest.mark.parametrize("token", [None, "", "wrong", "action", "log-0123456789abcde"])
@pytest.mark.asyncio
async def test_without_a_known_token_nothing_is_done(proxy: Proxied, token: str | None) -> None:
    for verb in VERBS:
        answer = await post(proxy, verb, fitting(verb), token)
        assert answer.status_code == 403
    assert proxy.counted("triage_platform_refused_total", client="unknown", verb="restart") == 1.0
    assert proxy.world.platform.ledger == []


@pytest.mark.asyncio
async def test_an_empty_token_file_opens_nothing(proxy: Proxied) -> None:
    proxy.token("injector").write_text("\n")
    assert (await post(proxy, "list", {}, "")).status_code == 403
    with pytest.raises(RefusedError, match="is empty"):
        await proxy.platform("injector").list()


@pytest.mark.asyncio
async def test_an_unmanaged_target_is_refused_as_such(proxy: Proxied) -> None:
    for client in ("action", "injector"):
        with pytest.raises(NotManagedError, match="loadgen is not managed: nothing may restart it"):
            await proxy.platform(client).restart("loadgen", key="k-2")
        assert proxy.counted("triage_platform_refused_total", client=client, verb="restart") == 1.0
    assert proxy.world.platform.ledger == []


@pytest.mark.parametrize(
    "verb", ["create", "group", "locked", "_carry_out", "fault.recreate", "fault._engine", "x" * 500]
)
@pytest.mark.asyncio
async def test_a_verb_that_is_none_is_refused_and_counted_without_its_name(proxy: Proxied, verb: str) -> None:
    token = proxy.token("injector").read_text().strip()
    assert (await post(proxy, verb, {}, token)).status_code == 403
    assert proxy.counted("triage_platform_refused_total", client="injector", verb="unknown") == 1.0


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("inspect", {}),
        ("inspect", {"name": 5}),
        ("inspect", {"name": "orders", "more": 1}),
        ("inspect", ["orders"]),
        ("restart", {"name": "orders"}),
        ("fault.set_link", {"source": "orders", "destination": "shop-db", "fault": {"mode": "explode"}}),
        ("fault.kill_role", {"instance": "x", "signal": "HUP"}),
    ],
)
@pytest.mark.asyncio
async def test_wrong_arguments_are_refused_in_a_sentence(proxy: Proxied, verb: str, body: Any) -> None:
    answer = await post(proxy, verb, body, proxy.token("injector").read_text().strip())
    assert answer.status_code == 400
    assert f"{verb} was called with wrong arguments" in answer.json()["text"]


@pytest.mark.asyncio
async def test_a_call_that_is_too_long_is_refused(proxy: Proxied) -> None:
    answer = await post(proxy, "inspect", {"name": "x" * 70_000}, proxy.token("log").read_text().strip())
    assert (answer.status_code, answer.json()["text"]) == (400, "a call has at most 65536 bytes")


BAD_NAMES = ["../../../../usr/**/x", "/etc/x", "a/b", "x" * 300, "a\0b", "", "*", "Orders", "orders\n"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("inspect", {"name": None}),
        ("restart", {"name": None, "key": "k-1"}),
        ("fault.stop", {"name": None}),
        ("fault.link", {"source": None, "destination": "shop-db"}),
        ("fault.link", {"source": "orders", "destination": None}),
        ("fault.kill_role", {"instance": None, "signal": "KILL"}),
    ],
)
@pytest.mark.asyncio
async def test_a_name_that_can_be_no_workloads_is_refused_before_anything_is_asked(
    proxy: Proxied, verb: str, given: dict[str, Any], name: str
) -> None:
    body = {key: name if value is None else value for key, value in given.items()}
    proxy.world.platform = proxy.world.faults = None  # whoever asks them fails with 500
    answer = await post(proxy, verb, body, proxy.token("injector").read_text().strip())
    assert (answer.status_code, answer.json()["kind"]) == (404, "UnknownWorkloadError")
    assert len(answer.json()["text"]) < 250


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("logs", {"name": "orders", "since_us": 0, "limit": 0}),
        ("logs", {"name": "orders", "since_us": 0, "limit": -1}),
        ("logs", {"name": "orders", "since_us": 0, "limit": 5_001}),
        ("restart", {"name": "orders", "key": ""}),
        ("restart", {"name": "orders", "key": "k" * 201}),
        ("exec", {"name": "orders", "command": "flush_prefix", "args": {}, "key": "k" * 60_000}),
        ("health", {"name": "orders", "timeout_s": 1e308}),
        ("health", {"name": "orders", "timeout_s": 10.1}),
        ("health", {"name": "orders", "timeout_s": -1}),
        ("health", {"name": "orders", "timeout_s": float("nan")}),
    ],
)
@pytest.mark.asyncio
async def test_an_argument_out_of_its_bounds_is_refused_on_both_ends(
    proxy: Proxied, verb: str, given: dict[str, Any]
) -> None:
    headers = {"authorization": f"Bearer {proxy.token('injector').read_text().strip()}"}
    async with plain() as client:
        answer = await client.post(f"{proxy.url}/v1/{verb}", content=json.dumps(given), headers=headers)
    assert answer.status_code == 400
    assert f"{verb} was called with wrong arguments: " in answer.json()["text"]
    platform, name = proxy.platform("injector"), given["name"]
    rest = {key: value for key, value in given.items() if key != "name"}
    with pytest.raises(PlatformError, match=f"{verb} was called with wrong arguments"):
        await getattr(platform, verb)(name, **rest)
    assert proxy.world.platform.ledger == []


@pytest.mark.asyncio
async def test_what_is_just_within_its_bounds_goes_through(proxy: Proxied) -> None:
    platform = proxy.platform("injector")
    assert (await platform.restart("orders", key="k" * 200)).changed
    assert await platform.health("orders", timeout_s=10)
    await platform.logs("orders", since_us=0, limit=5_000)


@pytest.mark.asyncio
async def test_one_log_is_read_at_a_time(proxy: Proxied) -> None:
    together, most = 0, 0

    async def logs(name: str, **_: Any) -> tuple[()]:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.02)
        together -= 1
        return ()

    proxy.world.platform.logs = logs
    await asyncio.gather(*(proxy.platform("log").logs("orders", since_us=0) for _ in range(4)))
    assert most == 1


# -- the client's sentences


@pytest.mark.asyncio
async def test_a_token_that_is_missing_or_not_known_is_told_with_its_file(proxy: Proxied, tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match=r"none\.token, which holds the token for the platform proxy, cannot be read"
    ):
        await RemotePlatform(proxy.url, tmp_path / "none.token").list()
    stale = tmp_path / "stale.token"
    stale.write_text("an-older-token-0123456789\n")
    with pytest.raises(RefusedError, match=r"stale\.token is not valid: the platform proxy does not know this token"):
        await RemotePlatform(proxy.url, stale).list()


@pytest.mark.asyncio
async def test_a_token_that_changes_counts_at_once_on_both_ends(proxy: Proxied) -> None:
    platform = proxy.platform("log")
    await platform.list()
    proxy.token("log").write_text("another-token-0123456789\n")
    assert len(await platform.list()) == 2


@pytest.mark.asyncio
async def test_a_proxy_that_is_away_is_told_in_one_sentence(proxy: Proxied) -> None:
    platform = RemotePlatform("http://127.0.0.1:9", proxy.token("log"), retry_s=0.2)
    with pytest.raises(PlatformDownError, match=r"does not answer at http://127\.0\.0\.1:9; is the stack up\?"):
        await platform.list()


@pytest.mark.asyncio
async def test_a_proxy_that_breaks_off_is_not_asked_again(tmp_path: Path) -> None:
    calls = 0

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    (tmp_path / "t").write_text("a-token-0123456789abc\n")
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(PlatformDownError, match=r"broke off restart .* look before repeating it"):
            await RemotePlatform(f"http://127.0.0.1:{port}", tmp_path / "t").restart("orders", key="k")
    assert calls == 1


# -- events, health, metrics


@pytest.mark.asyncio
async def test_events_stream_to_those_who_may_hear_them(proxy: Proxied) -> None:
    died = WorkloadEvent(name="orders", happening="died", at_us=5, exit_code=137)
    proxy.world.queue.put_nowait(died)
    async with asyncio.timeout(5):
        stream = proxy.platform("sensors").events()
        assert await anext(stream) == died
        await stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_events_are_refused_to_others(proxy: Proxied) -> None:
    for client in ("log", "action"):
        who: Client = client
        with pytest.raises(RefusedError, match=f"{client} may not events"):
            await anext(proxy.platform(who).events())
    assert proxy.counted("triage_platform_refused_total", client="log", verb="events") == 1.0


@pytest.mark.asyncio
async def test_health_and_metrics_are_open_to_everybody(proxy: Proxied) -> None:
    await proxy.platform("log").list()
    async with plain() as client:
        assert (await client.get(f"{proxy.url}/healthz")).status_code == 200
        proxy.world.ready = False
        assert (await client.get(f"{proxy.url}/healthz")).status_code == 503
        text = (await client.get(f"{proxy.url}/metrics")).text
        assert (await client.get(f"{proxy.url}/v1/list")).status_code == 405
    assert 'triage_platform_calls_total{client="log",outcome="ok",verb="list"} 1.0' in text


@pytest.mark.asyncio
async def test_limits_survive_the_wire(proxy: Proxied) -> None:
    seen: list[Limits] = []

    async def set_limits(name: str, limits: Limits) -> None:
        seen.append(limits)

    proxy.world.faults.set_limits = set_limits
    await proxy.faults("injector").set_limits("orders", Limits(memory_bytes=64 * 2**20))
    assert seen == [Limits(None, 64 * 2**20)]
