"""What every platform adapter promises. One suite for all of them: an adapter is added to `WORLDS`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import valkey

from services.platform.fault_port import LinkFault
from services.platform.ledger import Ledger, Row
from services.platform.port import (
    Drift,
    NotManagedError,
    PlatformDownError,
    UnknownWorkloadError,
    VerbFailedError,
    Workload,
)
from tests.support.docker_world import docker_world, proxied_world
from tests.support.embedded_world import WorldUnderTest, embedded_world
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

WORLDS: dict[str, Callable[[], AbstractContextManager[WorldUnderTest]]] = {
    "embedded": embedded_world,
    "docker": docker_world,
    "proxy": proxied_world,
}
CONTAINERS = [pytest.param(name, marks=pytest.mark.docker) for name in ("docker", "proxy")]


@pytest.fixture(scope="module", params=["embedded", *CONTAINERS])
def shared(request: pytest.FixtureRequest) -> Iterator[WorldUnderTest]:
    with WORLDS[request.param]() as world:
        yield world


@pytest.fixture
def world(shared: WorldUnderTest) -> Iterator[WorldUnderTest]:
    yield shared
    asyncio.run(_mend(shared))


async def _mend(world: WorldUnderTest) -> None:
    """Leave the world as declared for the next test, by the injector's own means."""
    for item in await world.platform.list():
        await world.faults.thaw(item.name)
        await world.faults.unhog(item.name)
        await world.faults.start(item.name)
        await world.faults.reset_environment(item.name)
    await world.faults.set_link("web", "store", LinkFault("ok"))


def _kinds(workload: Workload) -> set[str]:
    return {item.what for item in workload.drift}


# -- looking


@pytest.mark.asyncio
async def test_workloads_are_listed_in_the_order_of_declaration_and_without_drift(world: WorldUnderTest) -> None:
    found = await world.platform.list()
    assert [item.name for item in found] == ["web", "store", "cache", "users"]
    assert [item.managed for item in found] == [True, True, True, False]
    assert {item.state for item in found} == {"running"}
    assert all(item.drift == () for item in found)


@pytest.mark.asyncio
async def test_start_time_is_that_of_the_process(world: WorldUnderTest) -> None:
    before = time.time_ns() // 1_000
    await world.platform.restart("web", key="start-time")
    started = (await world.platform.inspect("web")).started_at_us
    assert started is not None
    assert before <= started <= time.time_ns() // 1_000


@pytest.mark.asyncio
async def test_an_unknown_workload_is_refused_by_name(world: WorldUnderTest) -> None:
    with pytest.raises(UnknownWorkloadError, match="warehouse"):
        await world.platform.inspect("warehouse")
    with pytest.raises(UnknownWorkloadError, match="warehouse"):
        await world.platform.restart("warehouse", key="k-unknown")
    with pytest.raises(UnknownWorkloadError, match="warehouse"):
        await world.faults.kill("warehouse")


@pytest.mark.asyncio
async def test_health_is_what_the_workload_itself_says(world: WorldUnderTest) -> None:
    assert (await world.platform.health("web"))[0]
    assert await world.platform.health("cache") == (True, "Valkey answers PONG")
    await world.faults.freeze("cache")
    healthy, sentence = await world.platform.health("cache", timeout_s=0.2)
    assert not healthy
    assert "no answer" in sentence
    await world.faults.stop("web")
    assert not (await world.platform.health("web"))[0]


# -- logs


@pytest.mark.asyncio
async def test_logs_come_oldest_first_with_levels_and_without_control_characters(world: WorldUnderTest) -> None:
    since = time.time_ns() // 1_000 - 2_000_000
    await world.platform.restart("web", key="logs-1")

    async def written() -> bool:
        return len(await world.platform.logs("web", since_us=since)) >= 3

    await eventually(written)
    lines = (await world.platform.logs("web", since_us=since))[-3:]
    assert [(line.level, line.msg) for line in lines] == [
        ("INFO", "serving"),
        ("ERROR", "something [31mred"),
        ("INFO", "Traceback: plain text"),
    ]


@pytest.mark.asyncio
async def test_logs_are_limited_to_the_newest_and_to_their_span(world: WorldUnderTest) -> None:
    newest = await world.platform.logs("web", since_us=0, limit=1)
    assert [line.msg for line in newest] == ["Traceback: plain text"]
    assert await world.platform.logs("web", since_us=time.time_ns() // 1_000 + 10_000_000) == ()
    assert await world.platform.logs("web", since_us=0, until_us=1) == ()


# -- verbs


@pytest.mark.asyncio
async def test_stop_and_start_reach_their_end_states(world: WorldUnderTest) -> None:
    assert (await world.platform.stop("store", key="s-1")).changed
    stopped = await world.platform.inspect("store")
    assert (stopped.state, stopped.pid, stopped.started_at_us) == ("stopped", None, None)
    assert (await world.platform.start("store", key="s-2")).changed
    assert (await world.platform.inspect("store")).state == "running"
    assert (await world.platform.health("store"))[0]


@pytest.mark.asyncio
async def test_verbs_change_nothing_where_the_world_is_already_so(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("store")
    assert not (await world.platform.start("store", key="n-1")).changed
    assert not (await world.platform.resume("store", key="n-2")).changed
    assert not (await world.platform.reconcile("store", key="n-3")).changed
    assert await world.platform.inspect("store") == before


@pytest.mark.asyncio
async def test_a_restart_makes_a_new_process_and_is_counted(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("web")
    assert (await world.platform.restart("web", key="r-1")).changed
    after = await world.platform.inspect("web")
    assert after.pid != before.pid
    assert after.restarts == before.restarts + 1


@pytest.mark.asyncio
async def test_a_paused_workload_is_seen_and_resumed_without_a_restart(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("web")
    assert (await world.platform.pause("web", key="p-1")).changed
    assert (await world.platform.inspect("web")).state == "paused"
    assert await world.faults.is_frozen("web")
    assert (await world.platform.resume("web", key="p-2")).changed
    assert await world.platform.inspect("web") == before


@pytest.mark.asyncio
async def test_a_paused_workload_can_be_stopped_in_order(world: WorldUnderTest) -> None:
    await world.platform.pause("web", key="ps-1")
    began = time.monotonic()
    await world.platform.stop("web", key="ps-2")
    assert time.monotonic() - began < 4.0  # not by waiting for SIGKILL
    assert (await world.platform.inspect("web")).state == "stopped"


@pytest.mark.asyncio
async def test_pausing_what_does_not_run_fails_by_name(world: WorldUnderTest) -> None:
    await world.faults.stop("web")
    with pytest.raises(VerbFailedError, match="web does not run"):
        await world.platform.pause("web", key="pf-1")


@pytest.mark.asyncio
async def test_an_unmanaged_workload_is_never_changed(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("users")
    for verb in (world.platform.restart, world.platform.stop, world.platform.reconcile, world.platform.pause):
        with pytest.raises(NotManagedError, match="users is not managed"):
            await verb("users", key=f"u-{verb.__name__}")
    assert await world.platform.inspect("users") == before


# -- the same key has one effect


@pytest.mark.asyncio
async def test_the_same_key_twice_has_one_effect(world: WorldUnderTest) -> None:
    first = await world.platform.restart("web", key="once")
    pid = (await world.platform.inspect("web")).pid
    second = await world.platform.restart("web", key="once")
    assert (first.changed, second.changed) == (True, False)
    assert (await world.platform.inspect("web")).pid == pid
    assert [row for row in await world.platform.effects() if row[0] == "once"] == [("once", "web", "restart")]


@pytest.mark.asyncio
async def test_the_same_key_at_once_from_many_callers_has_one_effect(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("web")
    others = [world.another() for _ in range(4)]
    effects = await asyncio.gather(*(other.restart("web", key="race") for other in others))
    assert sorted(effect.changed for effect in effects) == [False, False, False, True]
    assert (await world.platform.inspect("web")).restarts == before.restarts + 1


@pytest.mark.asyncio
async def test_a_caller_that_died_after_the_effect_is_not_followed_by_a_second_one(world: WorldUnderTest) -> None:
    _intend(world.home, "died-after", "restart")
    await world.faults.stop("web")
    await world.faults.start("web")  # what the dead caller had done
    pid = (await world.platform.inspect("web")).pid
    assert not (await world.platform.restart("web", key="died-after")).changed
    assert (await world.platform.inspect("web")).pid == pid


@pytest.mark.asyncio
async def test_a_caller_that_died_before_the_effect_is_made_good(world: WorldUnderTest) -> None:
    pid = (await world.platform.inspect("web")).pid
    _intend(world.home, "died-before", "restart")
    assert (await world.platform.restart("web", key="died-before")).changed
    assert (await world.platform.inspect("web")).pid != pid


def _intend(home: Path, key: str, verb: str) -> None:
    Ledger(home / "effects.jsonl").append(Row(key, "web", verb, "intent", time.time_ns() // 1_000))


# -- faults: injected, seen, repaired


@pytest.mark.asyncio
async def test_a_killed_workload_stays_down_until_it_is_reconciled(world: WorldUnderTest) -> None:
    await world.faults.kill("web")
    assert not await world.faults.is_running("web")
    assert (await world.platform.inspect("web")).state == "failed"
    await world.faults.kill("web")  # again: nothing happens
    assert (await world.platform.reconcile("web", key="kill-1")).changed
    assert (await world.platform.inspect("web")).state == "running"


@pytest.mark.asyncio
async def test_a_frozen_workload_is_reconciled_without_a_restart(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("web")
    await world.faults.freeze("web")
    await world.faults.freeze("web")
    assert (await world.platform.inspect("web")).state == "paused"
    assert (await world.platform.reconcile("web", key="freeze-1")).changed
    assert await world.platform.inspect("web") == before


@pytest.mark.asyncio
async def test_changed_configuration_is_seen_survives_a_restart_and_is_reconciled(world: WorldUnderTest) -> None:
    await world.faults.set_environment("web", {"SETTING": "wrong"})
    expected = (Drift("environment", "SETTING", "right", "wrong"),)
    assert (await world.platform.inspect("web")).drift == expected
    await world.platform.restart("web", key="drift-1")
    assert (await world.platform.inspect("web")).drift == expected
    effect = await world.platform.reconcile("web", key="drift-2")
    assert (effect.changed, effect.before) == (True, expected)
    assert (await world.platform.inspect("web")).drift == ()
    assert (await world.faults.environment("web"))["SETTING"] == "right"


@pytest.mark.asyncio
async def test_a_new_variable_and_one_of_a_stopped_workload_are_drift_too(world: WorldUnderTest) -> None:
    await world.faults.set_environment("web", {"EXTRA": "1"})
    await world.faults.stop("web")
    assert (await world.platform.inspect("web")).drift == (Drift("environment", "EXTRA", "(unset)", "1"),)
    await world.faults.reset_environment("web")
    assert (await world.platform.inspect("web")).drift == ()


@pytest.mark.parametrize("value", ['say "hi"; # no', "100 %(ENV_PATH)s", "a,b=c", "it's ünïcode", ""])
@pytest.mark.asyncio
async def test_any_text_can_be_a_drifted_value(world: WorldUnderTest, value: str) -> None:
    await world.faults.set_environment("web", {"SETTING": value})
    assert (await world.faults.environment("web"))["SETTING"] == value


@pytest.mark.asyncio
async def test_a_drifted_secret_is_named_and_never_shown(world: WorldUnderTest) -> None:
    await world.faults.set_environment("web", {"API_PASSWORD": "wrong-one"})
    effect = await world.platform.reconcile("web", key="secret-1")
    assert [(item.what, item.name) for item in effect.before] == [("environment", "API_PASSWORD")]
    shown = repr(effect)
    assert "hush-1" not in shown
    assert "wrong-one" not in shown


@pytest.mark.parametrize("end", ["web", "store"])
@pytest.mark.parametrize("fault", [LinkFault("partition"), LinkFault("latency", latency_ms=80.0), LinkFault("refuse")])
@pytest.mark.asyncio
async def test_a_broken_link_is_drift_of_both_ends_and_either_end_heals_it(
    world: WorldUnderTest, end: str, fault: LinkFault
) -> None:
    before = await world.platform.inspect(end)
    await world.faults.set_link("web", "store", fault)
    assert await world.faults.link("web", "store") == fault
    for name in ("web", "store"):
        assert [item.name for item in (await world.platform.inspect(name)).drift] == ["web--store"]
    assert (await world.platform.inspect("cache")).drift == ()
    assert (await world.platform.reconcile(end, key=f"link-{end}-{fault.mode}")).changed
    assert await world.faults.link("web", "store") == LinkFault("ok")
    assert await world.platform.inspect(end) == before


@pytest.mark.asyncio
async def test_a_link_that_is_not_declared_is_refused(world: WorldUnderTest) -> None:
    with pytest.raises(UnknownWorkloadError, match="store--web"):
        await world.faults.set_link("store", "web", LinkFault("partition"))


@pytest.mark.asyncio
async def test_foreign_processes_are_seen_counted_and_ended_without_a_restart(world: WorldUnderTest) -> None:
    before = await world.platform.inspect("web")
    await world.faults.hog("web", 2)
    await world.faults.hog("web", 2)  # again: still two
    assert await world.faults.hogs("web") == 2
    assert await world.faults.hogs("store") == 0
    seen = await world.platform.inspect("web")
    assert _kinds(seen) == {"process"}
    assert all("triage-hog" in item.actual for item in seen.drift)
    assert (await world.platform.reconcile("web", key="hog-1")).changed
    assert await world.faults.hogs("web") == 0
    assert await world.platform.inspect("web") == before


@pytest.mark.asyncio
async def test_several_faults_at_once_are_all_reconciled(world: WorldUnderTest) -> None:
    await world.faults.set_environment("web", {"SETTING": "wrong"})
    await world.faults.set_link("web", "store", LinkFault("partition"))
    await world.faults.hog("web", 1)
    await world.faults.freeze("web")
    assert _kinds(await world.platform.inspect("web")) == {"environment", "network", "process"}
    await world.platform.reconcile("web", key="all-1")
    after = await world.platform.inspect("web")
    assert (after.state, after.drift) == ("running", ())


# -- commands


@pytest.mark.asyncio
async def test_flushing_a_prefix_deletes_nothing_else(world: WorldUnderTest) -> None:
    with valkey.Valkey(host="127.0.0.1", port=world.cache_port) as client:
        client.mset({f"catalog:{number}": "x" for number in range(1_200)} | {"session:1": "y", "catalogue": "z"})
        effect = await world.platform.exec("cache", "flush_prefix", {"prefix": "catalog:"}, key="flush-1")
        assert (effect.changed, effect.detail) == (True, "1200 entries under 'catalog:' deleted")
        assert sorted(client.keys()) == [b"catalogue", b"session:1"]
        client.set("catalog:new", "x")
        again = await world.platform.exec("cache", "flush_prefix", {"prefix": "catalog:"}, key="flush-1")
        assert not again.changed
        assert client.exists("catalog:new") == 1


@pytest.mark.parametrize(
    ("name", "command", "args"),
    [
        ("cache", "FLUSHALL", {}),
        ("cache", "flush_prefix", {}),
        ("cache", "flush_prefix", {"prefix": "*"}),
        ("cache", "flush_prefix", {"prefix": "catalog:", "and": "more"}),
        ("web", "flush_prefix", {"prefix": "catalog:"}),
    ],
)
@pytest.mark.asyncio
async def test_what_is_not_in_the_catalogue_of_commands_does_not_exist(
    world: WorldUnderTest, name: str, command: str, args: dict[str, str]
) -> None:
    began = len(await world.platform.effects())
    with pytest.raises(VerbFailedError, match=f"{name} cannot run"):
        await world.platform.exec(name, command, args, key="bad-command")
    assert len(await world.platform.effects()) == began


@pytest.mark.asyncio
async def test_a_command_on_a_dead_workload_fails_and_may_be_tried_again(world: WorldUnderTest) -> None:
    await world.faults.kill("cache")
    with pytest.raises(VerbFailedError, match="could not delete"):
        await world.platform.exec("cache", "flush_prefix", {"prefix": "a"}, key="retry-1")
    await world.platform.start("cache", key="retry-2")
    assert (await world.platform.exec("cache", "flush_prefix", {"prefix": "a"}, key="retry-1")).changed


# -- the platform itself


@pytest.mark.asyncio
async def test_without_a_stack_the_platform_is_down_and_says_so(world: WorldUnderTest, tmp_path: Path) -> None:
    platform, faults = world.nowhere(tmp_path)
    with pytest.raises(PlatformDownError, match=world.no_stack):
        await platform.list()
    with pytest.raises(PlatformDownError, match=world.no_stack):
        await faults.kill("web")
