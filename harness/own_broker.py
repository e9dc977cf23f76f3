"""A broker of one's own, in a home of its own, for as long as a block lasts: nothing of a running stack is touched.

The home looks like an embedded stack's in which only the broker runs: keys, inventory and `stack.json` lie where they
lie there, so whatever reads a journal (`triage --home DIR tail`, a dashboard) reads this one, and nobody can act in it,
since there are no roles. Ports are free ones. Server and home are gone when the block ends, however it ends; after a
SIGKILL the kernel ends the server, and the next one removes the home.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from broker.contracts.inventory import Inventory
from broker.errors import BrokerError
from broker.jetstream import JetStreamBroker, ensure
from broker.jetstream_link import open_link
from broker.keyring import Keyring, create_master, derive_role_file
from broker.subjects import ADMIN_USER, BROKER_USERS, Role
from deploy.embedded.layout import Layout, layout
from deploy.embedded.status import StackRecord
from deploy.nats.config import server_binary, server_config, write_config
from deploy.sockets import LOOPBACK, free_port, is_free
from deploy.vault import ensure_passphrase, ensure_secrets, write_private
from harness.children import end_child
from harness.errors import StackDownError
from harness.leash import ends_with_us
from services.inventory.ports import OFFSETS

READY_S = 15.0
STOP_S = 5.0
POLL_S = 0.02
TRIES = 50
STARTS = 5
"""How often the server is started, with other ports each time, where somebody takes one between choice and use."""
TAKEN = "address already in use"
"""The server's own words for it."""
PREFIX = "triage-replay-"
"""Of the name of every such home."""
READERS: tuple[Role, ...] = ("operator", "reader")
"""Roles whose key files lie in the home: those that look at a journal."""


@dataclass(frozen=True, slots=True)
class OwnBroker:
    """The broker, up, with empty streams."""

    home: Path
    url: str
    keyring: Keyring = field(repr=False)
    """The master: it signs for every role, as of this journal only."""
    broker: JetStreamBroker
    """A connection that may publish anything."""


@asynccontextmanager
async def own_broker(inventory: Inventory) -> AsyncIterator[OwnBroker]:
    """Give a broker with the project's streams and keys that nobody else has.

    Args:
        inventory: what readers take for the world.

    Raises:
        StackDownError: the server is not installed, or did not start.
    """
    await asyncio.to_thread(_sweep, Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=PREFIX))
    process: subprocess.Popen[bytes] | None = None
    try:
        place = layout(root)
        ring = await asyncio.to_thread(_furnish, place, inventory)
        process, port = await _started(place, ring)
        url = f"nats://{LOOPBACK}:{port}"
        await ensure(url, ring.broker_password(ADMIN_USER))
        link = await open_link(url, user=ADMIN_USER, password=ring.broker_password(ADMIN_USER), name="replay")
        connection = JetStreamBroker(link, role="operator", instance="replay")
        try:
            yield OwnBroker(root, url, ring, connection)
        finally:
            await connection.close()
    finally:
        if process is not None:
            end_child(process, STOP_S)
        shutil.rmtree(root, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove the homes of those who were killed. One that says nothing of its owner may just be being made."""
    for home in folder.glob(f"{PREFIX}*"):
        try:
            record = StackRecord.decode(layout(home).stack.read_bytes())
            mine = home.stat().st_uid == os.getuid()
        except (OSError, BrokerError):
            continue
        if mine and not psutil.pid_exists(record.supervisord_pid):
            shutil.rmtree(home, ignore_errors=True)


def _free_ports() -> int:
    """Return a free port after which the monitoring's is free too.

    Raises:
        StackDownError: there is no such pair.
    """
    for _ in range(TRIES):
        port = free_port()
        if port + OFFSETS["nats-monitoring"] <= 65_535 and is_free(port + OFFSETS["nats-monitoring"]):
            return port
    raise StackDownError("no two neighbouring ports of this machine are free for a broker; end what is not needed")


def _furnish(place: Layout, inventory: Inventory) -> Keyring:
    """Write what a reader of a stack looks for, but for its ports."""
    for folder in (place.run, place.keys, place.data("nats")):
        folder.mkdir(parents=True, mode=0o700)
    passphrase = ensure_passphrase(place.passphrase)
    ring = create_master(place.master_keys, passphrase)
    for role in READERS:
        derive_role_file(ring, role, place.role_keys(role), passphrase)
    ensure_secrets(place.secrets)
    write_private(place.inventory, inventory.encode())
    return ring


async def _started(place: Layout, ring: Keyring) -> tuple[subprocess.Popen[bytes], int]:
    """Return the server, ready, and its port.

    Raises:
        StackDownError: it did not start; nothing of it is left.
    """
    for left in reversed(range(STARTS)):
        port = _free_ports()
        process = _start(place, port, ring)
        try:
            await _ready(process, place, port + OFFSETS["nats-monitoring"])
        except BaseException as error:
            end_child(process, STOP_S)
            if left and isinstance(error, StackDownError) and TAKEN in _log_of(place):
                continue
            raise
        return process, port
    raise AssertionError("the last try returns or raises")


def _log_of(place: Layout) -> str:
    return (place.data("nats") / "nats.log").read_text(errors="replace")


def _start(place: Layout, port: int, ring: Keyring) -> subprocess.Popen[bytes]:
    record = StackRecord(
        port_base=port, schedulers=1, roles=False, supervisord_pid=os.getpid(), since_us=time.time_ns() // 1_000
    )
    write_private(place.stack, record.encode())
    folder = place.data("nats")
    text = server_config(
        port=port,
        monitoring_port=port + OFFSETS["nats-monitoring"],
        store_dir=folder / "store",
        passwords={user: ring.broker_password(user) for user in BROKER_USERS},
    )
    write_config(folder / "nats.conf", text)
    try:
        with (folder / "nats.log").open("wb") as log:
            # Apart from our terminal: its interrupt is for us, and we end the server when everything was said.
            return subprocess.Popen(
                [str(server_binary()), "-c", str(folder / "nats.conf")],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ends_with_us(),
            )
    except OSError as error:
        raise StackDownError(f"no broker can be started: {error}") from error


async def _ready(process: subprocess.Popen[bytes], place: Layout, monitoring_port: int) -> None:
    deadline = time.monotonic() + READY_S
    async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if (await client.get(f"http://{LOOPBACK}:{monitoring_port}/healthz")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(POLL_S)
    said = _log_of(place).strip().splitlines()[-1:]
    raise StackDownError(f"the broker for the replay did not start: {said[0] if said else 'it said nothing'}")
