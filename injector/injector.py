"""The injector: breaks one thing for real, makes sure the world shows it, and can always mend it again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from injector.errors import DamagedNoteError, NoEvidenceError, NotHealedError, NotHereError, NotOpenError, WorldError
from injector.fault import Evidence, Spec, World
from injector.journal import FaultJournal, OpenFault
from injector.registry import check
from services.platform.port import PlatformError, VerbFailedError

EVIDENCE_TIMEOUT_S = 30.0
"""Generous: on a busy machine a foreign program needs long to start and to take a hundred connections. Nobody waits
longer than until the world shows what is waited for."""
STARTING_S = 8.0
"""How long a server that was started just now may take to answer, before a fault in it counts as one that cannot be
healed."""
POLL_S = 0.1


def _now() -> str:
    return datetime.now(UTC).isoformat()


@contextmanager
def _named(spec: Spec) -> Iterator[None]:
    """Say on which fault the platform failed.

    Raises:
        WorldError: it did.
    """
    try:
        yield
    except PlatformError as error:
        raise WorldError(f"{spec.fault} on {spec.target}: {error}") from error


def _not_healed(tried: int, left: Mapping[str, Exception]) -> NotHealedError:
    whys = "; ".join(f"{name} ({str(error) or repr(error)})" for name, error in left.items())
    return NotHealedError(
        f"{len(left)} of {tried} open faults could not be healed: {whys}; mend what is said, then: triage heal --all"
    )


class Injector:
    """Injects and heals. Holds nothing in memory: what is open stands in the journal of faults."""

    def __init__(self, world: World, journal: FaultJournal, now: Callable[[], str] = _now) -> None:
        self._world = world
        self._journal = journal
        self._now = now

    async def inject(self, spec: Spec) -> OpenFault:
        """Break it. On return the world shows the fault.

        Raises:
            UnknownFaultError, BadTargetError, BadArgumentError, NotHereError: nothing was touched.
            NoEvidenceError: carried out, but the world does not show it; it stays in the journal, so that it is healed.
            WorldError: the platform could not carry it out; likewise.
        """
        fault = check(spec)
        if self._world.platform not in fault.platforms:
            raise NotHereError(
                f"{spec.fault} cannot be made on the {self._world.platform} platform; "
                f"it can on {', '.join(fault.platforms)}"
            )
        record = self._journal.begin(spec, self._now())
        with _named(spec):
            await fault.inject(self._world, spec)
        await self._await_evidence(spec, present=True)
        return self._journal.opened(record)

    async def heal(self, fault_id: str) -> OpenFault:
        """Mend one open fault. On return the world does not show it any more.

        Raises:
            NotOpenError: no such fault. NoEvidenceError, WorldError: it could not be mended; it stays open.
        """
        record = self._journal.get(fault_id)
        await self._mend(record.spec)
        await self._await_evidence(record.spec, present=False)
        self._journal.close(record)
        return record

    async def heal_all(self) -> tuple[OpenFault, ...]:
        """Mend every open fault, newest first, whether or not the one before could be mended; return what was.

        Raises:
            NotHealedError: names those that could not be, and why; they stay open.
            DamagedNoteError: all that could be read were healed.
        """
        records, damaged = self._listed()
        healed: list[OpenFault] = []
        left: dict[str, Exception] = {}
        for record in records:
            try:
                healed.append(await self.heal(record.id))
            except NotOpenError:
                continue  # somebody else healed it meanwhile
            except Exception as error:  # whatever stops one must not leave the others in the world
                left[record.id] = error
        if left:
            raise _not_healed(len(records), left) from next(iter(left.values()))
        if damaged is not None:
            raise damaged
        return tuple(healed)

    def _listed(self) -> tuple[list[OpenFault], DamagedNoteError | None]:
        """Return what can be read, newest first, and what was said of the rest."""
        records: list[OpenFault] = []
        damaged = None
        try:
            for record in self._journal:
                records.append(record)
        except DamagedNoteError as error:
            damaged = error
        return sorted(records, key=lambda record: record.at, reverse=True), damaged

    async def evidence(self, spec: Spec) -> Evidence:
        """Look whether the world shows a fault right now.

        Raises:
            WorldError: the platform does not say.
        """
        with _named(spec):
            return await check(spec).evidence(self._world, spec)

    def open(self) -> tuple[OpenFault, ...]:
        """Return what the journal of faults holds."""
        return tuple(self._journal)

    async def _mend(self, spec: Spec) -> None:
        """Mend, again and again while the platform cannot: a server that was started just now does not answer yet."""
        deadline = time.monotonic() + STARTING_S
        while True:
            try:
                with _named(spec):
                    return await check(spec).heal(self._world, spec)
            except WorldError as error:
                if not isinstance(error.__cause__, VerbFailedError) or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(POLL_S)

    async def _await_evidence(self, spec: Spec, *, present: bool) -> None:
        deadline = time.monotonic() + EVIDENCE_TIMEOUT_S
        while (found := await self.evidence(spec)).present is not present:
            if time.monotonic() > deadline:
                wanted = "does not show" if present else "still shows"
                raise NoEvidenceError(f"the world {wanted} {spec.fault} on {spec.target}: {found.detail}")
            await asyncio.sleep(POLL_S)
