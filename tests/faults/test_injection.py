"""Every kind of fault on processes since the first ones: shown by the world, seen as drift by the platform, gone after
the agents' own repair. One shop without the control plane, so that nobody but the test repairs anything."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.stack import Stack
from injector.embedded import open_injector
from injector.fault import Spec
from injector.registry import FAULTS
from services.platform.embedded.adapter import EmbeddedPlatform
from tests.support.ports import free_base

pytestmark = pytest.mark.stack

KINDS = {
    "bad_command": "command",
    "bad_version": "command",
    "wrong_port": "environment",
    "missing_variable": "environment",
    "limit_too_small": "environment",
    "feature_flag": "environment",
    "table_locked": "process",
    "connections_exhausted": "process",
    "load_spike": "process",
    "descriptors_exhausted": "limits",
    "cache_full": "settings",
    "cache_password_changed": "settings",
    "privileges_revoked": "grants",
    "poison_message": "messages",
    "stuck_consumer": "consumer",
    "retry_storm": "environment",
    "dropped_index": "indexes",
}
"""Fault, and the kind of drift as which the platform sees it."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="triage-"))  # Unix sockets have short paths, so the home does too
    stack = Stack(home, free_base())
    try:
        asyncio.run(stack.up(roles=False))
        yield home
    finally:
        if asyncio.run(stack.alive()):
            asyncio.run(stack.down())
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", KINDS)
async def test_a_fault_is_shown_by_the_world_seen_as_drift_and_gone_after_the_repair(shop: Path, name: str) -> None:
    injector, platform, fault = open_injector(shop), EmbeddedPlatform(shop), FAULTS[name]
    spec = Spec(name, fault.targets[0])
    target, _ = fault.truth(spec)
    assert not (await injector.evidence(spec)).present
    opened = await injector.inject(spec)  # returns when the world shows it
    assert {item.what for item in (await platform.inspect(target)).drift} == {KINDS[name]}
    assert (await platform.reconcile(target, key=f"repair-{name}")).changed
    found = await injector.evidence(spec)
    assert not found.present, found.detail
    assert (await platform.inspect(target)).drift == ()
    await injector.heal(opened.id)  # what is repaired already heals without harm


@pytest.mark.asyncio
@pytest.mark.parametrize("name", KINDS)
async def test_a_fault_that_nobody_repaired_is_healed_to_the_declaration(shop: Path, name: str) -> None:
    injector, platform, fault = open_injector(shop), EmbeddedPlatform(shop), FAULTS[name]
    opened = await injector.inject(Spec(name, fault.targets[-1]))
    await injector.heal(opened.id)
    workloads = await platform.list()
    assert [(item.name, item.drift) for item in workloads if item.drift] == []
    assert {item.state for item in workloads} == {"running"}


def test_every_kind_of_fault_on_processes_has_its_test() -> None:
    """The first eleven are broken and repaired in every scenario of the nightly set and in tests/contract."""
    first = {
        *("service_stopped", "service_killed", "service_hung", "mq_stopped", "db_conn_drift", "db_wrong_password"),
        *("cache_poison", "network_partition", "network_latency", "connections_dropped", "cpu_hog"),
    }
    assert {name for name, fault in FAULTS.items() if "embedded" in fault.platforms} == first | set(KINDS)
