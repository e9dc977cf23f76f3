"""Cache poisoning (spec 8): entries that are not what the service wrote; its real decoder fails on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import valkey

from broker.contracts.plan import FaultClass
from injector.errors import BadTargetError
from injector.fault import EVERYWHERE, Evidence, Platform, Spec, World, number
from services.platform.port import VerbFailedError

POISON = b'{"sku": "\xff\xfe broken'
"""Neither UTF-8 nor JSON: what a half-written or foreign object looks like."""


class CachePoison:
    """Overwrite the cached products with an object no reader can decode."""

    name = "cache_poison"
    summary = "the cached products are replaced by undecodable objects"
    targets: tuple[str, ...] = ("shop-cache",)
    arguments: Mapping[str, tuple[float, float, float]] = {"entries": (50.0, 1.0, 10_000.0)}
    platforms: tuple[Platform, ...] = EVERYWHERE

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "cache_poison"

    async def inject(self, world: World, spec: Spec) -> None:
        with _answering():
            await asyncio.to_thread(self._poison, world, spec)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        with _answering():
            count = await asyncio.to_thread(self._count, world, spec)
        return Evidence(count > 0, f"{count} poisoned entries in {spec.target}")

    async def heal(self, world: World, spec: Spec) -> None:
        with _answering():
            await asyncio.to_thread(self._clean, world, spec)

    def _poison(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, prefix):
            skus = [f"{prefix}product:sku-{n:03d}" for n in range(1, int(number(self, spec, "entries")) + 1)]
            client.mset(dict.fromkeys({*skus, *_keys(client, prefix)}, POISON))

    def _count(self, world: World, spec: Spec) -> int:
        with _client(world, spec) as (client, prefix):
            return sum(client.get(key) == POISON for key in _keys(client, prefix))

    def _clean(self, world: World, spec: Spec) -> None:
        with _client(world, spec) as (client, prefix):
            bad = [key for key in _keys(client, prefix) if client.get(key) == POISON]
            if bad:
                client.unlink(*bad)


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
    def __init__(self, world: World, spec: Spec) -> None:
        device = world.inventory.get(spec.target)
        if device is None or device.cache_prefix is None:
            raise BadTargetError(f"{spec.target} is no cache with a declared prefix")
        self._prefix = device.cache_prefix
        self._client = valkey.Valkey(host=device.host, port=device.port, socket_timeout=2, socket_connect_timeout=2)

    def __enter__(self) -> tuple[valkey.Valkey, str]:
        return self._client, self._prefix

    def __exit__(self, *_exc: object) -> None:
        self._client.close()


def _keys(client: valkey.Valkey, prefix: str) -> list[bytes]:
    return sorted(client.scan_iter(match=f"{prefix}*", count=500))
