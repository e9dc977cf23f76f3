"""The running stack that windows are recorded on. Its control plane observes only: no incident is ever reported to it,
and the monitor is told to leave people a day before it opens one by itself, so that nothing repairs what is recorded.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from broker.contracts.inventory import Inventory
from broker.contracts.telemetry import Telemetry
from broker.gate import Trusted
from deploy.embedded.layout import layout
from harness.control import ControlPlane, connect
from harness.embedded import Embedded
from harness.evaluation.data import Facts, Line, Load
from harness.evaluation.tape import MAX_LINES, SECOND, LogMark
from harness.traffic import set_load
from injector.fault import Spec
from injector.injector import Injector

OBSERVING = {"TRIAGE_REPORT_GRACE_S": "86400", "TRIAGE_PLANNER_MODE": "rulebook"}
MAX_MSG = 600


class _Workload(Protocol):
    """What is asked of a workload as the witness sees it."""

    @property
    def state(self) -> str: ...

    @property
    def drift(self) -> Sequence[object]: ...


class EmbeddedStage:
    """An embedded stack under a home of its own."""

    def __init__(self, stack: Embedded, control: ControlPlane) -> None:
        self._control = control
        self._injector: Injector = stack.injector()
        self._witness = stack.witness()
        self._logs = layout(stack.home).logs

    @property
    def inventory(self) -> Inventory:
        return self._control.inventory

    async def set_load(self, load: Load) -> None:
        await set_load(self.inventory, rate=load.rate, noise=load.noise, seed=load.seed)

    async def telemetry(self) -> AsyncIterator[tuple[int, Telemetry]]:
        start = await self._control.broker.last_sequence() + 1
        async for item in self._control.follow(start):
            if isinstance(item, Trusted) and isinstance(item.message, Telemetry):
                yield item.stored.time_us, item.message

    async def inject(self, spec: Spec) -> None:
        await self._injector.inject(spec)

    async def heal(self) -> None:
        await self._injector.heal_all()

    async def facts(self) -> dict[str, Facts]:
        baseline = await self._witness.baseline()
        return {name: facts_of(workload) for name, workload in sorted(baseline.workloads.items())}

    def mark(self) -> LogMark:
        return {name: path.stat().st_size for name, path in self._files() if path.exists()}

    def lines(self, since: LogMark, start_us: int) -> dict[str, tuple[Line, ...]]:
        found = {}
        for name, path in self._files():
            if path.exists():
                with path.open("rb") as file:
                    file.seek(since.get(name, 0))
                    found[name] = lines_of(file.read(), start_us)
        return {name: lines for name, lines in found.items() if lines}

    def _files(self) -> list[tuple[str, Path]]:
        return [(device.name, self._logs / f"{device.name}.log") for device in self.inventory.devices]


def facts_of(workload: _Workload) -> Facts:
    """Return what `check_config` says of a workload."""
    return Facts(
        running=workload.state == "running",
        paused=workload.state == "paused",
        drifted=bool(workload.drift),
    )


def lines_of(data: bytes, start_us: int) -> tuple[Line, ...]:
    """Return the first and the newest lines worth keeping: WARN and ERROR lines of ours, all of a server's own."""
    found = [line for raw in data.decode(errors="replace").splitlines() if (line := _line(raw, start_us))]
    return tuple(found[:MAX_LINES] + found[MAX_LINES:][-MAX_LINES:])


def _line(raw: str, start_us: int) -> Line | None:
    text = "".join(char if char.isprintable() else " " for char in raw).strip()
    if not text:
        return None
    try:
        value = json.loads(raw)
        level, msg, meta = value["level"], str(value["msg"]), value.get("meta", {})
        at_s = datetime.fromisoformat(value["ts"]).timestamp() - start_us / SECOND
    except (ValueError, TypeError, KeyError):
        return Line(at_s=None, level="INFO", msg=text[:MAX_MSG])
    if level not in ("WARN", "ERROR"):
        return None
    facts = " ".join(f"{key}={item}" for key, item in meta.items() if key != "traceback" and _is_flat(item))
    return Line(at_s=round(max(at_s, 0.0), 3), level=level, msg=f"{msg} {facts}".strip()[:MAX_MSG])


def _is_flat(value: object) -> bool:
    return isinstance(value, str | int | float)


@asynccontextmanager
async def observing_stack(home: Path, port_base: int) -> AsyncIterator[EmbeddedStage]:
    """Bring up an embedded stack that only observes, and take it down again; its data stay under `home`.

    Raises:
        StackError: it cannot be brought up. StackDownError: it does not answer.
    """
    os.environ.update(OBSERVING)
    stack = Embedded(home, port_base)
    await stack.up(progress=lambda _name, _what: None)
    try:
        async with connect(home) as control:
            yield EmbeddedStage(stack, control)
    finally:
        await stack.down()
