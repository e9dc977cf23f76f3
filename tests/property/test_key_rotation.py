"""However a rotation goes on or breaks off, and whoever looks at his file when: everybody understands everybody."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.keyring import Keyring, derive_role_file, load
from broker.subjects import ROLES, Role
from deploy import keyfiles
from deploy.embedded import keys
from deploy.embedded.layout import Layout
from tests.support.keyfiles import PASSPHRASE, Running, cheap_scrypt, key_home

WRITES = 2 * len(ROLES)
"""Of role files in one rotation."""


@pytest.fixture(autouse=True, scope="module")
def cheap() -> Iterator[None]:
    with cheap_scrypt():
        yield


class Death(BaseException):
    """The rotating process is killed."""


class Writer:
    """Writes role files until it dies; after each, some roles look at their files and all talk."""

    def __init__(self, running: Running, polls: list[frozenset[Role]], dies_before: int) -> None:
        self._running = running
        self._polls = cycle(polls)
        self._left = dies_before

    def __call__(self, master: Keyring, role: Role, path: Path, passphrase: str) -> Keyring:
        if self._left <= 0:
            raise Death
        self._left -= 1
        written = derive_role_file(master, role, path, passphrase)
        self._running.poll(next(self._polls))
        self._running.talk()
        return written


async def rotate(place: Layout) -> None:
    # One thread: files are written in the drawn order, and roles talk between two writes.
    with ThreadPoolExecutor(1) as one:
        asyncio.get_running_loop().set_default_executor(one)
        await keys.begin(place, PASSPHRASE, force=True)
        await keys.finish(place, PASSPHRASE)


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations(ROLES),
    polls=st.lists(st.frozensets(st.sampled_from(ROLES), max_size=4), min_size=1, max_size=8),
    dies_before=st.integers(0, WRITES),
    up_again=st.booleans(),
)
def test_nobody_is_refused_in_any_order_of_writes_looks_and_deaths(
    order: list[Role], polls: list[frozenset[Role]], dies_before: int, up_again: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(keys, "ROLES", tuple(order)):
        place = key_home(Path(folder))
        running = Running(place)
        with patch.object(keyfiles, "derive_role_file", Writer(running, polls, dies_before)):
            try:
                asyncio.run(rotate(place))
            except Death:
                running.talk()
        if up_again:
            asyncio.run(keys.ensure_role_files(place, load(place.master_keys, PASSPHRASE), PASSPHRASE))
            running.talk()
        with patch.object(keyfiles, "derive_role_file", Writer(running, polls, WRITES)):
            asyncio.run(rotate(place))
        running.poll(ROLES)
        newest = load(place.master_keys, PASSPHRASE).current
        assert running.talk() == {newest}
        assert newest in (2, 3)
        for role in ROLES:
            assert load(place.role_keys(role), PASSPHRASE) == load(place.master_keys, PASSPHRASE).restricted_to(role)
