"""The stack around the journal: programs, faults, the broker's monitoring, scenarios, recordings; kill, inject, heal.

All of it through the harness' own doors (`harness/site.py`), so the page can do what the command line can, and what
cannot be done on a platform is refused in its words.
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import Inventory
from broker.errors import BrokerError
from broker.gate import Gate
from broker.keyfile import read_passphrase
from dashboard.api import answers
from dashboard.api.commands import nearest
from dashboard.api.core import monitoring
from dashboard.api.core.view import View
from dashboard.api.decode import recorded_entry
from dashboard.api.errors import Problem, not_found
from dashboard.api.feed import stack_identity
from deploy.errors import StackError
from deploy.status import StackStatus
from harness.errors import HarnessError
from harness.recording import Recording
from harness.scenario import load, names
from harness.site import Deployment, Signal, Site, deployment, outside, platform
from injector.errors import InjectorError
from injector.fault import Spec
from injector.journal import OpenFault
from injector.registry import FAULTS, find

STATUS_KEPT_S = 1.5
"""Asking every program for its health costs something: pages that ask together share one answer, seconds."""
MONITORING_S = 2.0
_RECORDING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
SUFFIX = ".recording"


class StackDoor:
    """The stack under `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._status: tuple[float, StackStatus] | None = None
        self._asking = asyncio.Lock()

    @property
    def _deployment(self) -> Deployment:
        return deployment(self.home)

    def site(self) -> Site:
        """Return the doors of the stack that is up.

        Raises:
            StackDownError: none is.
        """
        return self._deployment.site()

    def audit_dsn(self) -> str:
        """Return where the audit database is."""
        return self.site().audit_dsn

    def identity(self) -> str:
        """Tell which stack is up, without asking it; empty if none is."""
        try:
            site = self.site()
            return stack_identity(site.nats_url, read_passphrase(site.keys.passphrase_file))
        except (HarnessError, BrokerError, StackError, OSError):
            return ""

    def inventory(self) -> Inventory:
        """Return what exists."""
        return self.site().inventory

    # programs

    async def status(self) -> StackStatus:
        """Return the state of every program, at most `STATUS_KEPT_S` old."""
        async with self._asking:
            if self._status is None or time.monotonic() - self._status[0] > STATUS_KEPT_S:
                self._status = time.monotonic(), await self._deployment.status()
            return self._status[1]

    async def agents(self, view: View) -> answers.Agents:
        """Return every agent: what the process manager says, what the monitor saw, what it works on."""
        programs = [row for row in (await self.status()).programs if "-agent-" in row.name]
        heard = await self._heard()
        now = time.time()
        rows = []
        for row in programs:
            seen = view.agents.get(row.name)
            at = heard.get(row.name)
            rows.append(
                answers.AgentRow(
                    agent=row.name,
                    kind=row.name.partition("-agent-")[0],
                    state=row.state.lower(),
                    connected=(row.name in heard) if heard else seen.connected if seen else None,
                    heartbeat_ms=None if at is None else max(0.0, round(now * 1_000 - at / 1_000, 1)),
                    up_s=None if row.since is None else round(now - row.since.timestamp(), 1),
                    works_on=[_work(subject) for subject in seen.works_on] if seen else [],
                )
            )
        return answers.Agents(agents=rows)

    async def kill(self, name: str, signal: Signal) -> answers.Done:
        """Signal one program.

        Raises:
            Problem: there is none of that name.
        """
        known = [row.name for row in (await self.status()).programs if row.name != "supervisord"]
        if name not in known:
            raise Problem(404, "not_found", f"No program of the stack is called {name[:60]!r}.", nearest(name, known))
        await self._deployment.kill(name, signal)
        self._status = None
        return answers.Done(seq=None, sentence=f"SIG{signal} was sent to {name}.")

    async def _heard(self) -> dict[str, int]:
        try:
            return monitoring.last_heard_us(await self._ask("connz?limit=1024&auth=1"))
        except Problem:
            return {}

    # the broker

    async def broker(self, view: View) -> answers.BrokerLook:
        """Return streams, consumers and connections as the server itself counts them."""
        url = self.site().monitor_url
        jsz: Any = None
        connz: Any = None
        error = None
        try:
            jsz = await self._ask("jsz?streams=1&consumers=1&config=1")
            connz = await self._ask("connz?limit=1024&auth=1")
        except Problem as problem:
            error = problem.message
        dead = [
            answers.DeadLetterRow(incident=item.incident, dead_letters=item.dead_letters)
            for item in view.incidents.values()
            if item.dead_letters
        ]
        return answers.BrokerLook(
            monitor_url=url,
            streams=[answers.StreamRow(**row) for row in monitoring.streams(jsz)],
            consumers=[answers.ConsumerRow(**row) for row in monitoring.consumers(jsz)],
            connections=[answers.ConnectionRow(**row) for row in monitoring.connections(connz)],
            dead_letters=dead,
            error=error,
        )

    async def _ask(self, path: str) -> Any:
        url = self.site().monitor_url
        if url is None:
            raise Problem(
                501, "not_here", "The broker's monitoring cannot be reached from here.", "See: docs/containers.md"
            )
        try:
            async with httpx.AsyncClient(timeout=MONITORING_S, trust_env=False) as client:
                answer = await client.get(f"{url}/{path}")
                answer.raise_for_status()
                return answer.json()
        except (httpx.HTTPError, ValueError) as failure:
            raise Problem(
                503, "stack_down", f"The broker's monitoring does not answer: {failure}.", "See: triage status"
            ) from failure

    # faults

    def open_faults(self) -> list[answers.OpenFault] | None:
        """Return the faults that were injected and not healed; None where they cannot be seen."""
        if outside():
            return None
        try:
            return [_fault(item) for item in self._deployment.injector().open()]
        except (HarnessError, InjectorError, StackError, BrokerError, OSError):
            return None

    def faults(self) -> answers.Faults:
        """Return what can be injected here, and what is open."""
        catalogue = [
            answers.FaultKind(
                name=fault.name,
                summary=fault.summary,
                targets=list(fault.targets),
                args={
                    name: answers.Bounds(default=default, low=low, high=high)
                    for name, (default, low, high) in fault.arguments.items()
                },
            )
            for fault in FAULTS.values()
            if platform() in fault.platforms
        ]
        found = self.open_faults()
        why = None if found is not None else "Faults are injected where the stack's home is: use triage inject there."
        return answers.Faults(catalogue=catalogue, open=found or [], can_inject=found is not None, why_not=why)

    async def inject(self, asked: answers.Inject) -> answers.Done:
        """Break something for real; it is in the world on return."""
        target = asked.target or find(asked.fault).targets[0]
        opened = await self._deployment.injector().inject(Spec(asked.fault, target, dict(asked.args)))
        return answers.Done(seq=None, sentence=f"{opened.id} is in the world.")

    async def heal(self, fault_id: str) -> answers.Done:
        """Mend one open fault."""
        healed = await self._deployment.injector().heal(fault_id)
        return answers.Done(seq=None, sentence=f"{healed.id} is healed.")

    # files

    def scenarios(self) -> answers.Scenarios:
        """Return the scenarios that come with the project."""
        found = [load(name) for name in names()]
        return answers.Scenarios(scenarios=[answers.ScenarioRow(name=s.name, summary=s.summary) for s in found])

    def recordings(self) -> answers.Recordings:
        """Return the recordings of the home, newest first; a file that is none is left out."""
        rows = []
        folder = self.home / "recordings"
        files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[:200]:
            try:
                header = Recording(path).header
            except HarnessError:
                continue
            rows.append(
                answers.RecordingRow(
                    name=path.name, scenario=header.scenario, incident=header.incident, seed=header.seed
                )
            )
        return answers.Recordings(recordings=rows)

    def recording(self, name: str) -> answers.RecordingEvents:
        """Return every event of a recording, decoded. Its chain is checked; keys are not needed.

        Raises:
            Problem: there is none of that name. BadRecordingError: it was cut or edited.
        """
        path = self.home / "recordings" / name
        if not _RECORDING.fullmatch(name) or not path.is_file():
            raise not_found(f"recording {name[:80]!r}")
        recording = Recording(path)
        gate = Gate(None)
        head = recording.header
        return answers.RecordingEvents(
            header=answers.RecordingHeader(
                scenario=head.scenario, seed=head.seed, noise=head.noise, incident=head.incident
            ),
            entries=[recorded_entry(gate, stored) for stored in recording.events()],
        )


def catalogue() -> dict[str, answers.CatalogueEntry]:
    """Return what agents can do, by type."""
    return {
        name: answers.CatalogueEntry(agent=item.agent, risk=item.risk, summary=item.summary, undo=item.undo)
        for name, item in CATALOGUE.items()
    }


def _fault(item: OpenFault) -> answers.OpenFault:
    return answers.OpenFault(
        id=item.id,
        fault=item.spec.fault,
        target=item.spec.target,
        args=dict(item.spec.args),
        since_us=round(datetime.fromisoformat(item.at).timestamp() * 1e6),
        state=item.state,
    )


def _work(claim: str) -> str:
    """`triage.claim.<kind>.<incident>.<task>.a<n>` as `<incident> <task>`."""
    _, _, _, incident, task, *_ = claim.split(".")
    return f"{incident} {task}"
