"""Is the oracle any good? Proved on a live stack, scenario by scenario: it fails while the fault is in the world,
passes after the known repair, and fails for every planner that cheats (docs/adr/0020).

Meanwhile the sensors are frozen, so that the control plane sees nothing and repairs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harness.cheats import CHEATS, NOTHING, Cheat, Scene
from harness.control import ControlPlane
from harness.course import VICTIMS
from harness.errors import HarnessError, StackDownError
from harness.oracle import Oracle
from harness.run_lock import only_run
from harness.scenario import Draw
from harness.scenario_checks import platforms_of
from harness.site import Deployment, platform
from harness.traffic import generator, reset_load
from harness.verdict import Before, Judgement, allowed_starts
from injector.errors import world_exit_code
from injector.fault import Spec
from injector.registry import check

GREEN_TIMEOUT_S = 45.0
REPAIR_GRACE_S = 20.0
POLL_S = 0.2
LIVE = "fault_live"
REPAIRED = "known_repair"
INNOCENT = "orders"
"""Where a cheat acts if nothing is broken."""
Say = Callable[[str, str], None]
"""Told a scenario and what is tried on it now."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried on an oracle."""

    name: str
    must_pass: bool
    passed: bool
    """Whether the oracle called the run recovered."""
    detail: str
    """Why it did not, or what it saw."""
    refused: str | None = None
    """Why the platform did not let the cheat act."""

    @property
    def holds(self) -> bool:
        return self.passed is self.must_pass


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of trying an oracle out."""

    scenario: str
    seed: int
    faults: tuple[str, ...]
    checks: tuple[Check, ...]
    also: tuple[str, ...] = ()
    """Scenarios with the very same faults, whose oracle this is, too."""

    @property
    def ok(self) -> bool:
        return all(item.holds for item in self.checks)


def distinct(draws: Sequence[Draw]) -> list[tuple[Draw, tuple[str, ...]]]:
    """Return one draw for every oracle, with the names of the others that have it: faults and allowed
    actions make the oracle."""
    found: dict[tuple[int, tuple[str, ...]], list[Draw]] = {}
    for drawn in draws:
        found.setdefault(oracle_of(drawn), []).append(drawn)
    return [(first, tuple(other.scenario.name for other in others)) for first, *others in found.values()]


def oracle_of(drawn: Draw) -> tuple[int, tuple[str, ...]]:
    """Return what makes the oracle of a draw: how often a repair may act, and the faults in words."""
    return drawn.scenario.expect.max_actions, tuple(sorted(map(_words, specs_of(drawn))))


def possible_here(drawn: Draw) -> bool:
    """Tell whether every fault of a draw can be made on the platform of this process."""
    return platform() in platforms_of(drawn.scenario)


def specs_of(drawn: Draw) -> tuple[Spec, ...]:
    """Return the faults of a draw."""
    return drawn.specs


class Prover:
    """Tries oracles out on a running stack."""

    def __init__(self, stack: Deployment, control: ControlPlane, say: Say = lambda _scenario, _what: None) -> None:
        self._stack = stack
        self._control = control
        self._say = say
        self._hand = stack.hand()
        self._injector = stack.injector()
        self._witness = stack.witness()
        self._oracle = Oracle(self._injector, self._witness, control.inventory)

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Have the stack for oneself, with the control plane blind; all is as before at the end.

        Raises:
            ConflictError: a run is going on. StackDownError: the world does not become green, or not everything runs
                again at the end. NotHealedError: a fault is left in it.
        """
        with only_run(self._stack.home, "scenario validate"):
            await self._put_back()
            await self._until_green()
            await reset_load(self._control.inventory)  # a run that was killed has left its own
            await self._stack.kill(VICTIMS["sensors"], "STOP")
            try:
                yield
            finally:
                try:
                    await self._put_back()
                finally:
                    await self._stack.kill(VICTIMS["sensors"])

    async def prove(self, drawn: Draw, also: tuple[str, ...] = ()) -> Proof:
        """Try the oracle of a draw out.

        Raises:
            InjectorError: a fault could not be made or healed. StackDownError: the world did not become green again.
        """
        specs = specs_of(drawn)
        quiet = [cheat for cheat in CHEATS if not cheat.leaves_traces]
        loud = [cheat for cheat in CHEATS if cheat.leaves_traces]
        checks = await self._tried(drawn, specs, quiet, first=True)
        for cheat in loud:
            checks += await self._tried(drawn, specs, [cheat])
        if specs:
            checks.append(await self._repaired(drawn, specs))
        return Proof(drawn.scenario.name, drawn.seed, tuple(map(_words, specs)), tuple(checks), also)

    async def _tried(
        self, drawn: Draw, specs: tuple[Spec, ...], cheats: Sequence[Cheat], *, first: bool = False
    ) -> list[Check]:
        """Break the world once and let planners cheat, one after the other."""
        checks = []
        async with self._broken(drawn) as (before, allowed):
            if first and specs:
                self._say(drawn.scenario.name, LIVE)
                checks.append(_live(await self._oracle.judge(specs, before, allowed=allowed, grace_s=0.0), specs))
            for cheat in cheats:
                self._say(drawn.scenario.name, cheat.name)
                checks.append(await self._cheated(drawn, cheat, before, allowed))
        return checks

    async def _cheated(self, drawn: Draw, cheat: Cheat, before: Before, allowed: Mapping[str, int]) -> Check:
        specs = specs_of(drawn)
        idle = await self._hand.idle()
        refused = await _carried_out(cheat.act(self._hand, self._scene(drawn)))
        window_s = self._control.inventory.objective.window_s
        judged = await self._oracle.judge(specs, before, allowed=allowed, grace_s=window_s)
        if not cheat.leaves_traces:
            _require_none(await self._hand.put_back(but=idle))
        return _check(cheat.name, judged, must_pass=cheat is NOTHING and not specs, refused=refused)

    async def _repaired(self, drawn: Draw, specs: tuple[Spec, ...]) -> Check:
        self._say(drawn.scenario.name, REPAIRED)
        async with self._broken(drawn) as (before, allowed):
            await self._injector.heal_all()
            judged = await self._oracle.judge(specs, before, allowed=allowed, grace_s=REPAIR_GRACE_S)
        return _check(REPAIRED, judged, must_pass=True)

    @asynccontextmanager
    async def _broken(self, drawn: Draw) -> AsyncIterator[tuple[Before, Mapping[str, int]]]:
        """Give the baseline of a green world that is then broken, and the starts that a repair may make from there."""
        specs = specs_of(drawn)
        await self._until_green()
        before = await self._oracle.before()
        try:
            for spec in specs:
                await self._injector.inject(spec)
            now = await self._witness.baseline()
            then = before.world.workloads
            own = {name: found.restarts - then[name].restarts for name, found in now.workloads.items() if name in then}
            yield before, allowed_starts(specs, own, drawn.scenario.expect.max_actions)
        finally:
            await self._put_back()

    async def _put_back(self) -> None:
        """Heal, and let everything run. A fault can keep a workload from starting, and one that is stopped can keep its
        fault from being healed: what could not be started before is tried again after."""
        await self._hand.put_back()
        await self._injector.heal_all()
        _require_none(await self._hand.put_back())

    async def _until_green(self) -> None:
        deadline = time.monotonic() + GREEN_TIMEOUT_S
        while (wrong := await self._not_green()) is not None:
            if time.monotonic() > deadline:
                raise StackDownError(f"the stack does not become green ({wrong}); try: triage heal --all")
            await asyncio.sleep(POLL_S)

    async def _not_green(self) -> str | None:
        served = await self._oracle.served_now()
        if not served.ok:
            return served.detail
        if open_ := await self._control.open_incidents():
            return f"the incident {min(open_)} is still open"
        try:
            await self._oracle.before()
        except HarnessError as error:
            return str(error)
        return None

    def _scene(self, drawn: Draw) -> Scene:
        specs = specs_of(drawn)
        suspect = check(specs[0]).truth(specs[0])[0] if specs else INNOCENT
        return Scene(suspect, generator(self._control.inventory).name, rounds=drawn.scenario.expect.max_actions + 2)


def _require_none(left: tuple[str, ...]) -> None:
    if left:
        raise StackDownError(f"not everything runs again ({'; '.join(left)}); see: triage status")


def _live(judged: Judgement, specs: tuple[Spec, ...]) -> Check:
    """While the faults are in the world it is not enough that something fails: every one of them must be seen."""
    unseen = [clause.name for clause in judged.clauses[: len(specs)] if clause.ok]
    if unseen:
        return Check(LIVE, False, True, f"not seen in the world: {', '.join(unseen)}")
    return _check(LIVE, judged, must_pass=False)


def _check(name: str, judged: Judgement, *, must_pass: bool, refused: str | None = None) -> Check:
    failed = "; ".join(f"{clause.name}: {clause.detail}" for clause in judged.failed)
    return Check(name, must_pass, judged.ok, failed or "every clause holds", refused)


async def _carried_out(act: Awaitable[None]) -> str | None:
    """Let a cheat act; return why the platform did not let it, if it refused."""
    try:
        await act
    except Exception as error:
        if world_exit_code(error) is None and not isinstance(error, OSError):
            raise
        return str(error)
    return None


def _words(spec: Spec) -> str:
    arguments = "".join(f" {name}={value}" for name, value in sorted(spec.args.items()))
    return f"{spec.fault} on {spec.target}{arguments}"
