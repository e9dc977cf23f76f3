"""Servers in containers by testcontainers: the images of the compose file, thrown away with the test.

Nothing here needs a registry. Testcontainers' own helper image (Ryuk, which removes what a killed test run left behind)
is used where the engine has it, and done without where it has not: the containers are removed by their blocks. On a
machine that itself looks like a container of another engine, testcontainers would hand out that engine's gateway as
address; only there it is told to use the published ports.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import docker
import yaml
from docker.errors import DockerException, ImageNotFound, NotFound

from broker.subjects import BROKER_USERS
from deploy.nats.config import server_config, write_config
from tests.support.waiting import eventually

COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
READY_S = 60.0
NATS_PORT, MONITORING_PORT, POSTGRES_PORT = 4222, 8222, 5432
OWNER, PASSWORD = "postgres", "secret"
RYUK = "testcontainers/ryuk:0.8.1"


@cache
def image_of(service: str) -> str:
    """Return the image that a service of the compose file has."""
    return str(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"][service]["image"])


@cache
def missing() -> str | None:
    """Return in one sentence why no such container can be made here, or None."""
    wanted = (image_of("nats"), image_of("audit-db"))
    try:
        client = docker.from_env(timeout=10)
    except DockerException as error:
        return f"no Docker engine: nothing was tested in containers ({type(error).__name__})"
    try:
        absent = [name for name in wanted if not _has(client, name)]
        if not _has(client, RYUK):
            os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        if Path("/.dockerenv").exists() and not _knows(client, socket.gethostname()):
            os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
    finally:
        client.close()
    if absent:
        return f"images are missing, `make images` builds them: {', '.join(absent)}; nothing was tested in containers"
    return None


def _has(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def _knows(client: docker.DockerClient, container: str) -> bool:
    try:
        client.containers.get(container)
    except NotFound:
        return False
    return True


@contextmanager
def _running(image: str, *ports: int, **more: Any) -> Iterator[tuple[str, dict[int, int]]]:
    """A container for the length of a block: its address, and its published ports by those inside."""
    from testcontainers.core.container import DockerContainer  # late: it reads the environment when it is imported

    container = DockerContainer(image, **more).with_exposed_ports(*ports)
    container.start()
    try:
        yield container.get_container_host_ip(), {port: int(container.get_exposed_port(port)) for port in ports}
    finally:
        container.stop()


class ContainerNats:
    """A broker in a container, as far as a contract test knows it."""

    def __init__(self, host: str, ports: dict[int, int]) -> None:
        self.url = f"nats://{host}:{ports[NATS_PORT]}"
        self.monitoring_url = f"http://{host}:{ports[MONITORING_PORT]}"
        self.passwords = {user: f"password-of-{user}" for user in BROKER_USERS}


@contextmanager
def running_nats(home: Path) -> Iterator[ContainerNats]:
    """A broker with the generated configuration; no streams yet. May not answer at once."""
    config = home / "nats.conf"
    text = server_config(
        port=NATS_PORT,
        monitoring_port=MONITORING_PORT,
        store_dir=Path("/data"),
        passwords={user: f"password-of-{user}" for user in BROKER_USERS},
        host="0.0.0.0",  # noqa: S104 - inside its container
        monitoring_host="0.0.0.0",  # noqa: S104 - likewise
    )
    write_config(config, text)
    mounted = [(str(config), "/run/nats.conf", "ro")]
    command = "nats-server --config /run/nats.conf"
    with _running(image_of("nats"), NATS_PORT, MONITORING_PORT, command=command, volumes=mounted) as (host, ports):
        yield ContainerNats(host, ports)


class ContainerPostgres:
    """A database server in a container; one database per test."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._numbers = itertools.count(1)

    def dsn(self, database: str = "postgres", user: str = OWNER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@{self._host}:{self._port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; return its DSN."""
        name = f"audit{next(self._numbers)}"
        asyncio.run(_execute(self.dsn(), f"CREATE DATABASE {name}"))
        return self.dsn(name)


@contextmanager
def running_postgres_container() -> Iterator[ContainerPostgres]:
    """A started server for the length of a block."""
    with _running(image_of("audit-db"), POSTGRES_PORT, env={"POSTGRES_PASSWORD": PASSWORD}) as (host, ports):
        server = ContainerPostgres(host, ports[POSTGRES_PORT])

        async def answers() -> bool:
            await _execute(server.dsn(), "SELECT 1")
            return True

        asyncio.run(eventually(answers, READY_S))
        yield server


async def _execute(dsn: str, statement: str) -> None:
    session = await asyncpg.connect(dsn, timeout=5)
    try:
        await session.execute(statement)
    finally:
        await session.close()
