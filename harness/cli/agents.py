"""The agents as the stack and the journal show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from broker.contracts.task import Claim
from broker.errors import Refusal
from broker.gate import Gate
from broker.port import Stored
from deploy.status import ProgramStatus
from harness.cli.output import age
from harness.control import ControlPlane, connect
from harness.errors import StackDownError
from harness.site import deployment


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent, now."""

    agent: str
    kind: str
    state: str
    """What the process manager says."""
    connected: bool | None
    """What the monitor saw of its connection to the broker, else what the agent itself says; None: broker away."""
    works_on: tuple[str, ...]
    """Its claims without a result in open incidents: `incident task`."""
    pid: int | None
    up_s: float | None
    rss_bytes: int


async def look(home: Path) -> tuple[AgentRow, ...]:
    """Return every agent of the stack under `home`.

    Raises:
        NotUpError: nothing is up. KeyringError: the passphrase does not open the operator's keys.
    """
    programs = [row for row in (await deployment(home).status()).programs if "-agent-" in row.name]
    connected: dict[str, bool | None] = {}
    work: dict[str, list[str]] = {}
    try:
        async with connect(home) as control:
            connected = {row.name: await _connected(control, row) for row in programs}
            work = await _work(control)
    except StackDownError:
        pass  # the broker is away for a moment: what the process manager knows is still worth showing
    return tuple(
        AgentRow(
            row.name,
            row.name.partition("-agent-")[0],
            row.state.lower(),
            connected.get(row.name),
            tuple(work.get(row.name, ())),
            row.pid,
            age(row.since),
            row.rss_bytes,
        )
        for row in programs
    )


async def _connected(control: ControlPlane, row: ProgramStatus) -> bool:
    up = await control.broker.last(f"triage.agent.{row.name}.up")
    lost = await control.broker.last(f"triage.agent.{row.name}.lost")
    if lost is not None:
        return up is not None and up.seq > lost.seq
    # An agent that was there before the monitor was never seen to come; its own health says whether it is connected.
    return up is not None or row.healthy


async def _work(control: ControlPlane) -> dict[str, list[str]]:
    """Return what each instance has claimed and not ended, by the newest claim of every task of an open incident."""
    gate = Gate(control.keyring)
    found: dict[str, list[str]] = {}
    for incident in sorted(await control.open_incidents()):
        claims: dict[str, Claim] = {}
        async for item in control.broker.read(pattern=f"triage.claim.*.{incident}.>", follow=False):
            if isinstance(item, Stored) and (claim := _claim(gate, item)) is not None:
                claims[item.subject] = claim
        for subject, claim in claims.items():
            if await control.broker.last(subject.replace("triage.claim.", "triage.result.", 1)) is None:
                found.setdefault(claim.instance, []).append(f"{incident} {claim.task_id}")
    return found


def _claim(gate: Gate, item: Stored) -> Claim | None:
    try:
        message = gate.admit(item).message
    except Refusal:
        return None  # a forged claim is nobody's work
    return message if isinstance(message, Claim) else None
