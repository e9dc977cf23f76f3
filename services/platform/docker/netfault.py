"""Carrying link faults out: sidecars of the tool image in the network namespace of a link's source.

What is broken is read back from the namespace itself. Only so that looking at a healthy container costs nothing, the
namespaces that ever had rules are noted in a file before the first rule goes in: who is not noted has none.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.platform.docker import netrules
from services.platform.docker.container import Container
from services.platform.docker.engine import Engine
from services.platform.docker.netrules import NAME_SERVER, NAMES, QUEUE_BASE, Found, Rule
from services.platform.fault_port import LinkFault
from services.platform.port import VerbFailedError

OK = LinkFault("ok")
CAPS = ("NET_ADMIN",)
STEPS, DELAY = "/opt/triage/steps.py", "/opt/triage/delay.py"
MAX_NOTES = 500
START_DEADLINE_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class NetRule:
    """What is done to the traffic from one service to another (or to `dns`, the name server)."""

    source: str
    destination: str
    fault: LinkFault
    addresses: tuple[str, ...] = ()
    """The destination's addresses that the rules name."""

    @property
    def link(self) -> str:
        """Its name: `source--destination`."""
        return f"{self.source}--{self.destination}"


@dataclass(frozen=True, slots=True)
class _Change:
    """What stands in a namespace before a change, and what of it must go."""

    found: tuple[Found, ...]
    unwanted: tuple[Found, ...]
    device: str

    @property
    def left(self) -> list[Found]:
        return [item for item in self.found if item not in self.unwanted]

    @property
    def removal(self) -> list[list[str]]:
        return netrules.removal(self.found, self.unwanted)


class NetFaults:
    """Reads, makes and heals the rules of one project's containers. Callers hold the workload's lock."""

    def __init__(self, engine: Engine, tool_image: str, store: Path) -> None:
        """
        Args:
            store: folder for the note of namespaces that ever had rules.
        """
        self._engine = engine
        self._image = tool_image
        self._notes = store / "namespaces.json"
        self._lacking: set[str] = set()
        """What this kernel has been seen not to do by itself."""
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By container: a link is healed from either end, and each end has a lock of its own above here."""

    async def rules(self, source: Container) -> tuple[NetRule, ...]:
        """Return what is done to a container's traffic; empty if it does not run: its namespace is gone, rules and
        all. What waits for a process of ours that is gone has no effect and does not count."""
        if not self._is_noted(source):
            return ()
        grouped: dict[str, list[Found]] = {}
        for item in await self._effective(source):
            grouped.setdefault(item.destination, []).append(item)
        return tuple(
            NetRule(source.service, name, items[0].fault, tuple(dict.fromkeys(item.address for item in items)))
            for name, items in grouped.items()
        )

    async def set(self, source: Container, destination: Sequence[Container], fault: LinkFault) -> None:
        """Replace what is done to the traffic from one container to all those of another service.

        Raises:
            VerbFailedError: the destination has no address, or the kernel cannot do it.
        """
        name = destination[0].service if destination else "?"
        addresses = addresses_of(source, destination)
        if fault != OK and not addresses:
            raise VerbFailedError(f"{name} has no address on a network of {source.service}; start it first")
        async with self._changing[source.id]:
            await self._replace(source, name, addresses, fault)

    async def set_names(self, source: Container, fault: LinkFault) -> None:
        """Replace what is done to the traffic from a container to its name server."""
        async with self._changing[source.id]:
            await self._replace(source, NAMES, (NAME_SERVER,), fault)

    async def heal(self, source: Container, destination: str | None = None) -> tuple[str, ...]:
        """Take back every rule (towards one destination); returns the links that were broken, `source--destination`."""
        if not self._is_noted(source):
            return ()
        async with self._changing[source.id]:
            return await self._heal(source, destination)

    # -- inside

    async def _heal(self, source: Container, destination: str | None) -> tuple[str, ...]:
        found = await self._read(source)
        unwanted = [item for item in found if destination is None or item.destination == destination]
        if unwanted:
            await self._steps(source, netrules.removal(found, unwanted))
            await self._end_delays(source, unwanted)
        if len(unwanted) == len(found):
            self._forget(source)
        return tuple(dict.fromkeys(f"{source.service}--{item.destination}" for item in unwanted))

    async def _replace(self, source: Container, name: str, addresses: Sequence[str], fault: LinkFault) -> None:
        if fault == OK and not self._is_noted(source):
            return
        self._note(source)
        found, device = await self._look(source, addresses)
        change = _Change(found, tuple(item for item in found if item.destination == name), device)
        used: int | None = None
        if fault.mode in ("latency", "throttle"):
            used = await self._slow(source, change, name, addresses, fault)
        else:
            await self._steps(source, [*change.removal, *_added(netrules.rules(name, addresses, fault))])
        await self._end_delays(source, (item for item in change.unwanted if item.slot != used))
        if fault == OK and not change.left:
            self._forget(source)

    async def _slow(
        self, source: Container, change: _Change, name: str, addresses: Sequence[str], fault: LinkFault
    ) -> int | None:
        """Let the kernel delay or throttle; if it cannot, a process of ours does, whose slot is returned."""
        slot, device, removal = netrules.free_slot(change.left), change.device, change.removal
        if fault.mode not in self._lacking:
            made = netrules.rules(name, addresses, fault, slot=slot, way="kernel", device=device)
            answers = await self._run(source, [*removal, *netrules.class_commands(fault, slot, device), *_added(made)])
            code, output = answers[-1]
            if code == 0:
                return None
            alone = all(item.way != "kernel" for item in change.left)
            await self._run(source, netrules.unclass_commands(device, slot, last=alone))
            if not any(netrules.lacks_support(said) for _, said in answers):
                raise VerbFailedError(f"the network of {source.service} could not be changed: {output.strip()[:200]}")
            self._lacking.add(fault.mode)
            removal = []
        made = netrules.rules(name, addresses, fault, slot=slot, way="queue")
        await self._start_delay(source, fault, slot)
        await self._steps(source, [*removal, *_added(made)])
        return slot

    async def _start_delay(self, source: Container, fault: LinkFault, slot: int) -> None:
        wanted = ["--queue", str(QUEUE_BASE + slot)]
        wanted += ["--delay-ms", f"{fault.latency_ms:g}"] if fault.mode == "latency" else []
        wanted += ["--rate-kbit", f"{fault.rate_kbit:g}"] if fault.mode == "throttle" else []
        for tool in await self._engine.sidecars(source, _purpose(slot)):
            await self._engine.end_sidecar(tool)
        await self._engine.start_sidecar(
            source, ["python3", DELAY, *wanted], image=self._image, caps=CAPS, purpose=_purpose(slot)
        )
        deadline = asyncio.get_running_loop().time() + START_DEADLINE_S
        while not any(tool.running for tool in await self._engine.sidecars(source, _purpose(slot))):
            if asyncio.get_running_loop().time() > deadline:
                raise VerbFailedError(f"the kernel hands over no packets of {source.service} (NFQUEUE is not there)")
            await asyncio.sleep(POLL_S)

    async def _effective(self, source: Container) -> list[Found]:
        found = await self._read(source)
        if all(item.way != "queue" for item in found):
            return list(found)
        alive = {tool.purpose for tool in await self._engine.sidecars(source) if tool.running}
        return [item for item in found if item.way != "queue" or _purpose(item.slot or 0) in alive]

    async def _end_delays(self, source: Container, gone: Iterable[Found]) -> None:
        purposes = {_purpose(item.slot or 0) for item in gone if item.way == "queue"}
        for tool in await self._engine.sidecars(source) if purposes else ():
            if tool.purpose in purposes:
                await self._engine.end_sidecar(tool)

    async def _look(self, source: Container, addresses: Sequence[str]) -> tuple[tuple[Found, ...], str]:
        """Return our rules, and the interface that leads to the first address."""
        route = [["-", "ip", "-j", "-4", "route", "get", address] for address in addresses[:1]]
        (_, saved), *routes = await self._steps(source, [["iptables-save"], *route])
        device = json.loads(routes[0][1])[0]["dev"] if routes and routes[0][0] == 0 else ""
        return netrules.parse(saved), str(device)

    async def _read(self, source: Container) -> tuple[Found, ...]:
        if not source.running:
            return ()
        [(_, saved)] = await self._steps(source, [["iptables-save"]])
        return netrules.parse(saved)

    async def _steps(self, source: Container, commands: list[list[str]]) -> list[tuple[int, str]]:
        """Run commands that must all succeed.

        Raises:
            VerbFailedError: one did not.
        """
        if not commands:
            return []
        answers = await self._run(source, commands)
        code, output = answers[-1]
        if code != 0 and commands[len(answers) - 1][0] != "-":
            raise VerbFailedError(f"the network of {source.service} could not be changed: {output.strip()[:200]}")
        return answers

    async def _run(self, source: Container, commands: list[list[str]]) -> list[tuple[int, str]]:
        ran = await self._engine.run_sidecar(
            source, ["python3", STEPS, json.dumps(commands)], image=self._image, caps=CAPS
        )
        try:
            rows: list[Any] = json.loads(ran.output)
        except ValueError as error:
            said = ran.output.strip()[:200]
            raise VerbFailedError(f"the tool image {self._image} did not do its work: {said}") from error
        return [(int(code), str(output)) for code, output in rows]

    def _is_noted(self, source: Container) -> bool:
        return source.running and _key(source) in self._read_notes()

    def _note(self, source: Container) -> None:
        if _key(source) not in (notes := self._read_notes()):
            self._write_notes([*notes, _key(source)])

    def _forget(self, source: Container) -> None:
        """Take the note back: the last rule of the namespace is gone for certain."""
        if _key(source) in (notes := self._read_notes()):
            self._write_notes([note for note in notes if note != _key(source)])

    def _write_notes(self, notes: list[str]) -> None:
        self._notes.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._notes.with_suffix(f".tmp{os.getpid()}")
        with temporary.open("w") as file:
            json.dump(notes[-MAX_NOTES:], file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._notes)

    def _read_notes(self) -> list[str]:
        try:
            found = json.loads(self._notes.read_text())
        except (FileNotFoundError, ValueError):
            return []
        return [str(item) for item in found] if isinstance(found, list) else []


def addresses_of(source: Container, destination: Iterable[Container]) -> tuple[str, ...]:
    """Return the addresses under which a container reaches those of another service, on networks that both are on."""
    shared = {endpoint.network for endpoint in source.networks}
    found = [
        endpoint.address
        for container in destination
        for endpoint in container.networks
        if endpoint.network in shared and endpoint.address
    ]
    return tuple(dict.fromkeys(found))


def _added(rules: Iterable[Rule]) -> list[list[str]]:
    return [rule.add() for rule in rules]


def _purpose(slot: int) -> str:
    return f"delay-{slot}"


def _key(source: Container) -> str:
    return f"{source.id}@{source.started_at_us}"
