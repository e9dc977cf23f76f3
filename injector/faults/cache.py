"""Cache poisoning (spec 8): entries that are not what the service wrote; its real decoder fails on them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import valkey

from broker.contracts.plan import FaultClass
from injector.errors import BadTargetError
from injector.fault import PROCESSES, Bounds, Evidence, Fault, Platform, Spec, World
from services.inventory.declared import CACHE_SETTINGS
from services.platform.port import VerbFailedError

POISON = b'{"sku": "\xff\xfe broken'
"""Neither UTF-8 nor JSON: what a half-written or foreign object looks like."""
FULL: Mapping[str, str] = {"maxmemory": str(100 << 10), "maxmemory-policy": "noeviction"}
"""Less than an empty cache uses itself, and nothing may go: every write is refused."""
PASSWORD = "changed-by-hand"  # noqa: S105 - nobody else knows it, which is the fault


class _OnCache(Fault):
    """Common to what is done to the cache over the network; its client blocks, so it runs in a thread."""

    targets: tuple[str, ...] = ("shop-cache",)

    async def inject(self, world: World, spec: Spec) -> None:
        with _answering():
            await asyncio.to_thread(self._break, world, spec)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        with _answering():
            return await asyncio.to_thread(self._look, world, spec)

    async def heal(self, world: World, spec: Spec) -> None:
        with _answering():
            await asyncio.to_thread(self._mend, world, spec)

    @abstractmethod
    def _break(self, world: World, spec: Spec) -> None: ...

    @abstractmethod
    def _look(self, world: World, spec: Spec) -> Evidence: ...

    @abstractmethod
    def _mend(self, world: World, spec: Spec) -> None: ...


class CachePoison(_OnCache):
    """Overwrite the cached products with an object no reader can decode."""

    name = "cache_poison"
    summary = "the cached products are replaced by undecodable objects"
    fault_class: FaultClass = "cache_poison"
    arguments: Mapping[str, Bounds] = {"entries": (50.0, 1.0, 10_000.0)}

    def _break(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, prefix):
            skus = [f"{prefix}product:sku-{n:03d}" for n in range(1, int(self.number(spec, "entries")) + 1)]
            client.mset(dict.fromkeys({*skus, *_keys(client, prefix)}, POISON))

    def _look(self, world: World, spec: Spec) -> Evidence:
        with _client(world, spec) as (client, prefix):
            count = len(_poisoned(client, prefix))
        return Evidence(count > 0, f"{count} poisoned entries in {spec.target}")

    def _mend(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, prefix):
            if bad := _poisoned(client, prefix):
                client.unlink(*bad)


class CacheFull(_OnCache):
    """The cache is at its limit and may let nothing go: it refuses every write with its own words (OOM)."""

    name = "cache_full"
    summary = "the cache is full and may evict nothing; it refuses writes"
    platforms: tuple[Platform, ...] = PROCESSES
    fault_class: FaultClass = "resource_limit"

    def _break(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, _):
            _configure(client, FULL)

    def _look(self, world: World, spec: Spec) -> Evidence:
        with _client(world, spec) as (client, _):
            found = client.config_get(*FULL)
        shown = ", ".join(f"{name} {found.get(name)}" for name in FULL)
        return Evidence(all(found.get(name) == value for name, value in FULL.items()), f"{spec.target} has {shown}")

    def _mend(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, _):
            _configure(client, {name: CACHE_SETTINGS[name] for name in FULL})


class CachePasswordChanged(_OnCache):
    """Somebody set a password on the cache and told nobody; who was connected has to come again."""

    name = "cache_password_changed"
    summary = "the cache demands a password that no client has"
    platforms: tuple[Platform, ...] = PROCESSES
    fault_class: FaultClass = "bad_credentials"

    def _break(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, _):
            _configure(client, {"requirepass": PASSWORD})
            client.client_kill_filter(_type="normal", skipme=True)

    def _look(self, world: World, spec: Spec) -> Evidence:
        """Come as the shop's services do."""
        try:
            with _client(world, spec) as (client, _):
                client.ping()
        except valkey.AuthenticationError as error:
            return Evidence(True, f"{spec.target} says: {error}")
        return Evidence(False, f"{spec.target} takes clients without a password")

    def _mend(self, world: World, spec: Spec) -> None:
        if self._look(world, spec).present:
            with _client(world, spec, PASSWORD) as (client, _):
                _configure(client, {"requirepass": CACHE_SETTINGS["requirepass"]})


def _configure(client: valkey.Valkey, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        client.config_set(name, value)


@contextmanager
def _answering() -> Iterator[None]:
    """Say in the platform's terms that the cache does not answer.

    Raises:
        VerbFailedError: it does not.
    """
    try:
        yield
    except valkey.ValkeyError as error:
        raise VerbFailedError(f"the cache does not answer: {error}") from error


class _client:
    def __init__(self, world: World, spec: Spec, password: str | None = None) -> None:
        device = world.inventory.get(spec.target)
        if device is None or device.cache_prefix is None:
            raise BadTargetError(f"{spec.target} is no cache with a declared prefix")
        self._prefix = device.cache_prefix
        self._client = valkey.Valkey(
            host=device.host, port=device.port, password=password, socket_timeout=2, socket_connect_timeout=2
        )

    def __enter__(self) -> tuple[valkey.Valkey, str]:
        return self._client, self._prefix

    def __exit__(self, *_exc: object) -> None:
        self._client.close()


def _poisoned(client: valkey.Valkey, prefix: str) -> list[bytes]:
    return [key for key in _keys(client, prefix) if client.get(key) == POISON]


def _keys(client: valkey.Valkey, prefix: str) -> list[bytes]:
    return sorted(client.scan_iter(match=f"{prefix}*", count=500))
