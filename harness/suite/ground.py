"""The stack a suite stands on: brought up with the right planner, put back after every run, and seen to be so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator

from broker.runtime.settings import load_settings
from broker.runtime.snapshot import head_of
from harness.cli.context import exit_code, sentence
from harness.control import ControlPlane, connect
from harness.errors import ConflictError, ModelDownError, StackDownError
from harness.machines import VERSIONS
from harness.oracle import Oracle
from harness.run_lock import only_run
from harness.site import Deployment, Progress
from harness.suite.plan import Planner
from harness.suite.result import CleanUp
from harness.suite.world import differences
from injector.collateral import Baseline, faults_of
from planner_svc.config import model_settings
from planner_svc.errors import ModelError
from planner_svc.llm_client import open_client

PATIENCE_S = 60.0
"""How long a world may take to be as before by itself: agents come back, incidents are closed."""
POLL_S = 0.5
FORGETTING_S = 12.0
"""How long services may take to forget the last error they had: they tell of it for 10 s, and the next fault's
planner would hear of the last one's errors."""


class Ground:
    """One stack during a suite. `prepare` before the first run, `tidy` after each."""

    def __init__(self, stack: Deployment, progress: Progress, *, patience_s: float | None = None) -> None:
        self._stack = stack
        self._progress = progress
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._before: Baseline | None = None
        self.prepared: CleanUp | None = None

    async def prepare(self) -> CleanUp:
        """Put back what an earlier run may have left, and remember the world as it is then.

        Raises:
            StackDownError: the world is not as declared, also after the stack was brought up anew.
        """
        found = await self.tidy()
        if not found.proved:
            raise StackDownError(
                f"the world is not as declared before the suite ({'; '.join(found.left)}); see: triage status"
            )
        self._before = await self._stack.witness().baseline()
        self.prepared = found
        return found

    async def tidy(self, *, anew: bool = True) -> CleanUp:
        """Heal what is open, and wait until everything is as before; else bring the stack up anew. Data are kept.

        Args:
            anew: False leaves the stack up whatever is found.
        """
        begun = time.monotonic()
        healed, left = await self._put_back()
        if not left or not anew:
            return CleanUp(healed=healed, left=left, proved=not left, seconds=time.monotonic() - begun)
        more, still = await self._again()
        taken = time.monotonic() - begun
        return CleanUp(healed=(*healed, *more), left=(*left, *still), restarted=True, proved=not still, seconds=taken)

    async def _again(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            if self._stack.is_up():
                await self._stack.down()
            await self._stack.up(progress=self._progress)
        except Exception as error:
            return (), (f"the stack could not be brought up anew: {_said(error)}",)
        return await self._put_back()

    async def _put_back(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Heal, and wait until nothing is left; return what was healed, and what is left when patience ends, and why.
        What could not be healed is tried again meanwhile: it may have needed something that comes back by itself."""
        deadline = time.monotonic() + self._patience_s
        healed, failed = await self._heal()
        while left := await self._left():
            if time.monotonic() > deadline:
                return healed, (*failed, *left)
            await asyncio.sleep(POLL_S)
            if failed:
                more, failed = await self._heal()
                healed = (*healed, *more)
        await self._forgotten()
        return healed, ()

    async def _heal(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Heal open faults and wake programs that hang, each whether or not the others could be; return what was, and
        why something was not, one sentence each."""
        healed: list[str] = []
        failed: list[str] = []
        try:
            healed += [fault.id for fault in await self._stack.injector().heal_all()]
        except Exception as error:
            failed.append(f"not everything could be healed: {_said(error)}")
        try:
            programs = (await self._stack.status()).programs
        except Exception as error:
            return tuple(healed), (*failed, f"it cannot be seen what hangs: {_said(error)}")
        for name in [program.name for program in programs if program.state == "PAUSED" and program.tier == "role"]:
            try:
                await self._stack.kill(name)  # it comes back by itself
            except Exception as error:
                failed.append(f"{name} could not be woken: {_said(error)}")
            else:
                healed.append(f"{name} hung")
        return tuple(healed), tuple(failed)

    async def _forgotten(self) -> None:
        """Wait until nobody tells of an error any more, or for as long as it takes to forget one: a busy machine always
        has a new one to tell of."""
        deadline = time.monotonic() + min(FORGETTING_S, self._patience_s)
        try:
            async with connect(self._stack.home) as control:
                while await _remembers(control):
                    if time.monotonic() > deadline:
                        return
                    await asyncio.sleep(POLL_S)
        except Exception as error:
            _said(error)

    async def _left(self) -> tuple[str, ...]:
        """Return what is not as before, one sentence each. What cannot be looked at is not as before."""
        try:
            return await self._looked_at()
        except Exception as error:
            return (f"the world cannot be looked at: {_said(error)}",)

    async def _looked_at(self) -> tuple[str, ...]:
        found = [f"the fault {fault.id} is open" for fault in self._stack.injector().open()]
        now = await self._stack.witness().baseline()
        found += faults_of(now) if self._before is None else differences(self._before, now)
        status = await self._stack.status()
        found += [
            f"{program.name} is not healthy: {program.detail}" for program in status.needed if not program.healthy
        ]
        async with connect(self._stack.home) as control:
            found += [f"the incident {name} is open" for name in sorted(await control.open_incidents())]
            served = await Oracle(self._stack.injector(), self._stack.witness(), control.inventory).served_now()
        if not served.ok:
            found.append(f"users are not served: {served.detail}")
        return tuple(found)


async def _remembers(control: ControlPlane) -> bool:
    newest = [await control.telemetry(device.name) for device in control.inventory.devices]
    return any(one is not None and one.error_code is not None for one in newest)


def _said(error: Exception) -> str:
    """Return the sentence of a foreseen error; an unforeseen one is a fault of ours and is raised again."""
    if exit_code(error) is None:
        raise error
    return sentence(error)


@contextlib.asynccontextmanager
async def standing(stack: Deployment, planner: Planner, progress: Progress) -> AsyncIterator[Ground]:
    """Be the only one on a stack that plans with this planner: the one that is up, else one brought up for it, which is
    taken down again at the end.

    Raises:
        ConflictError: another run or suite is on it, or it plans otherwise. ModelDownError: no model answers.
        StackDownError, StackError: it cannot be brought up, or is not as declared.
    """
    await _require_model(stack, planner)
    with _environment(planner):
        started = not stack.is_up()
        if started:
            await stack.up(progress=progress)
        # Taken down only by who has it to himself: another suite may have found it while it came up.
        with only_run(stack.home, "a suite"):
            try:
                ground = Ground(stack, progress)
                await _make_ready(stack, planner, ground)
                yield ground
            finally:
                if started and stack.is_up():
                    await asyncio.shield(stack.down())


@contextlib.contextmanager
def _environment(planner: Planner) -> Iterator[None]:
    """Set what the roles of a stack inherit when it is brought up, also anew."""
    own: dict[str, str] = {"TRIAGE_PLANNER_MODE": planner.mode}
    if planner.url is not None:
        own["TRIAGE_MODEL_URL"] = planner.url
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


async def _require_model(stack: Deployment, planner: Planner) -> None:
    """Ask the endpoint once, before anything is started: without it the rulebook would be measured in its name."""
    if planner.url is None:
        return
    endpoint = model_settings(load_settings(role="planner", home=stack.home, model_url=planner.url))
    async with open_client(endpoint) as client:
        try:
            await client.discover(endpoint.timeout_s)
        except ModelError as error:
            raise ModelDownError(
                f"no model answers at {endpoint.shown_url}: {error}; start one, or leave this planner out"
            ) from error


async def _make_ready(stack: Deployment, planner: Planner, ground: Ground) -> None:
    try:
        await _require_planner(stack, planner)
    except StackDownError:  # half up, such as after a suite that was killed while it brought it up
        await ground.prepare()
        await _require_planner(stack, planner)
    else:
        await ground.prepare()


async def _require_planner(stack: Deployment, planner: Planner) -> None:
    async with connect(stack.home) as control:
        snapshot = await control.broker.load_snapshot(f"planner.v{VERSIONS['planner']}")
    if snapshot is None:
        raise StackDownError("the planner has never run here; see: triage status")
    mode = json.loads(head_of(snapshot)[1]).get("mode")
    kinds = {"rulebook": {"rulebook"}, "full": {"full"}}.get(planner.mode, {"auto", "hypothesis"})
    if mode not in kinds:
        raise ConflictError(
            f"the stack under {stack.home} plans with TRIAGE_PLANNER_MODE={mode}, not as {planner.name} is to be "
            "measured; take it down (triage down), and the suite brings up one of its own"
        )
