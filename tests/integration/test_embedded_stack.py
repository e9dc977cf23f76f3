"""The whole embedded stack, once up for all tests of this module; they end with taking it down in several ways."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from broker.errors import KeyringError
from deploy.embedded import daemon
from deploy.embedded.errors import AlreadyUpError, HomeError, NotUpError, PortInUseError, StackError
from deploy.embedded.stack import Stack
from deploy.vault import write_private
from services.inventory.ports import OFFSETS
from services.platform.embedded.adapter import EmbeddedPlatform
from services.platform.embedded.faults import EmbeddedFaults
from services.platform.fault_port import LinkFault
from tests.support.ports import free_base
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.stack]

UNASKED = ("scheduler-2", "dashboard")
"""What a stack has only when it is asked for."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    # The space is meant: every configuration and command line has to carry it.
    found = Stack(Path(tempfile.mkdtemp(prefix="t s-")), free_base())
    try:
        asyncio.run(found.up())
        yield found
    finally:
        daemon.end_leftovers(found.layout)
        shutil.rmtree(found.layout.root, ignore_errors=True)


def _stats(stack: Stack) -> dict[str, float]:
    url = f"http://127.0.0.1:{stack.port_base + OFFSETS['loadgen']}/stats"
    with urllib.request.urlopen(url, timeout=5.0) as response:
        found: dict[str, float] = json.loads(response.read())
        return found


@pytest.mark.asyncio
async def test_everything_is_up_healthy_and_users_are_served(stack: Stack) -> None:
    await healthy_again(stack)
    seen = await stack.status()
    assert {program.name for program in seen.programs} == {
        "supervisord",
        "links",
        *(name for name in OFFSETS if "--" not in name and "monitoring" not in name and name not in UNASKED),
    }
    assert 0 < seen.rss_bytes < 1.2 * 2**30

    async def served() -> bool:
        return (_stats(stack)["success_ratio"] or 0.0) >= 0.99

    await eventually(served)


@pytest.mark.asyncio
async def test_a_fresh_stack_has_no_drift(stack: Stack) -> None:
    workloads = await EmbeddedPlatform(stack.layout.root).list()
    assert [(item.name, item.drift) for item in workloads if item.drift] == []
    assert {item.state for item in workloads} == {"running"}


@pytest.mark.asyncio
async def test_no_process_of_the_stack_carries_a_secret_it_does_not_need(stack: Stack) -> None:
    secrets = json.loads(stack.layout.secrets.read_text())
    seen = {program.name: program for program in (await stack.status()).programs}
    for name, own in (("orders", "orders_db_password"), ("catalog", "catalog_db_password"), ("gateway", "")):
        pid = seen[name].pid
        assert pid is not None
        environment = " ".join(psutil.Process(pid).environ().values())
        assert [secret for secret, value in secrets.items() if value in environment] == ([own] if own else [])
        assert str(stack.layout.passphrase.read_text().strip()) not in environment


def test_files_with_secrets_are_private(stack: Stack) -> None:
    home = stack.layout
    for path in (home.secrets, home.passphrase, home.world, home.supervisor_config, home.master_keys, home.root):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.asyncio
async def test_a_second_up_is_refused_and_disturbs_nothing(stack: Stack) -> None:
    before = [program.pid for program in (await stack.status()).programs]
    with pytest.raises(AlreadyUpError, match="triage status"):
        await Stack(stack.layout.root, stack.port_base).up()
    assert [program.pid for program in (await stack.status()).programs] == before


@pytest.mark.asyncio
async def test_a_port_in_use_is_named_with_its_owner_and_nothing_is_left(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path / "other", stack.port_base)
    with pytest.raises(PortInUseError, match=rf"port {stack.port_base}, which nats needs, .*nats-server \(pid \d+\)"):
        await other.up()
    assert daemon.leftovers(other.layout) == []
    with pytest.raises(NotUpError):
        await other.status()


@pytest.mark.asyncio
async def test_a_killed_role_comes_back_and_a_killed_service_does_not(stack: Stack) -> None:
    pid = await stack.kill("planner-1")
    await stack.kill("catalog")

    async def back() -> bool:
        found = (await stack.status()).program("planner-1")
        return found is not None and found.healthy and found.pid != pid

    await eventually(back, 20.0)
    platform = EmbeddedPlatform(stack.layout.root)
    assert (await platform.inspect("catalog")).state == "failed"
    await platform.start("catalog", key="test-start-catalog")
    assert (await platform.health("catalog"))[0]


@pytest.mark.asyncio
async def test_a_restarted_link_proxy_keeps_a_live_fault(stack: Stack) -> None:
    faults = EmbeddedFaults(stack.layout.root)
    await faults.set_link("orders", "shop-db", LinkFault("partition"))
    await stack.kill("links")

    async def back() -> bool:
        return await faults.link("orders", "shop-db") == LinkFault("partition")

    await eventually(back, 20.0)
    platform = EmbeddedPlatform(stack.layout.root)
    assert (await platform.reconcile("orders", key="test-heal-link")).changed
    assert await faults.link("orders", "shop-db") == LinkFault("ok")


async def healthy_again(stack: Stack, within_s: float = 20.0) -> None:
    """Wait until every program is healthy: users' first requests may meet services that were just started."""
    deadline = time.monotonic() + within_s
    while not (status := await stack.status()).healthy:
        sick = [(program.name, program.state, program.detail) for program in status.programs if not program.healthy]
        assert time.monotonic() < deadline, sick
        await asyncio.sleep(0.2)


@pytest.mark.asyncio
async def test_after_kill_9_of_supervisord_a_new_up_cleans_up_and_keeps_the_data(stack: Stack) -> None:
    faults = EmbeddedFaults(stack.layout.root)
    await faults.hog("orders", 1)
    await faults.freeze("gateway")
    found = (await stack.status()).program("supervisord")
    assert found is not None
    assert found.pid is not None
    os.kill(found.pid, signal.SIGKILL)
    old = {process.pid for process in daemon.leftovers(stack.layout)}
    assert len(old) > 10
    secrets = stack.layout.secrets.read_bytes()
    said: list[tuple[str, str]] = []
    await Stack(stack.layout.root, stack.port_base).up(progress=lambda name, state: said.append((name, state)))
    assert said[0][0] == "leftovers"
    assert not old & {process.pid for process in daemon.leftovers(stack.layout)}
    assert await faults.hogs("orders") == 0
    assert stack.layout.secrets.read_bytes() == secrets
    await healthy_again(stack)


@pytest.mark.asyncio
async def test_down_ends_every_process_hogs_included_and_a_second_down_says_so(stack: Stack) -> None:
    await EmbeddedFaults(stack.layout.root).hog("orders", 1)
    await EmbeddedFaults(stack.layout.root).freeze("orders")
    await stack.down()
    assert daemon.leftovers(stack.layout) == []
    assert list(stack.layout.run.iterdir()) == []
    with pytest.raises(NotUpError, match="triage up"):
        await stack.down()
    with pytest.raises(NotUpError):
        await stack.status()
    assert (stack.layout.data("shop-db") / "PG_VERSION").exists()


@pytest.mark.asyncio
async def test_a_wrong_passphrase_is_refused_and_nothing_stays_up(stack: Stack) -> None:
    right = stack.layout.passphrase.read_bytes()
    write_private(stack.layout.passphrase, b"wrong\n")
    with pytest.raises(KeyringError, match="passphrase"):
        await stack.up()
    assert daemon.leftovers(stack.layout) == []
    write_private(stack.layout.passphrase, right)


@pytest.mark.asyncio
async def test_an_up_that_is_given_up_leaves_nothing_running(stack: Stack) -> None:
    going = asyncio.create_task(stack.up(roles=False))

    async def begun() -> bool:
        return len(daemon.leftovers(stack.layout)) > 3

    await eventually(begun)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert daemon.leftovers(stack.layout) == []


@pytest.mark.asyncio
async def test_wipe_deletes_our_home_and_never_another_folder(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NotUpError):
        await Stack(tmp_path).down(wipe=True)
    with pytest.raises(HomeError, match=r"holds other files \(thesis.txt\)"):
        await Stack(tmp_path).up()
    assert (tmp_path / "thesis.txt").exists()
    await stack.down(wipe=True)
    assert not stack.layout.root.exists()


@pytest.mark.asyncio
async def test_three_schedulers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="1 or 2"):
        await Stack(tmp_path).up(schedulers=3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_the_launcher_gives_up_root_and_can_still_pass_into_a_private_folder(tmp_path: Path) -> None:
    secret = tmp_path / "private"
    secret.mkdir(mode=0o700)
    (secret / "file").write_text("read")
    (secret / "file").chmod(0o600)
    launcher = Path(daemon.__file__).with_name("unprivileged.py")
    script = f"id -un; cat {secret}/file; touch {secret}/new"
    command = ["/usr/bin/env", "python3", "-I", "-S", str(launcher), "nobody", "/bin/sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "nobody\nread"
    assert done.returncode != 0
    assert not (secret / "new").exists()
