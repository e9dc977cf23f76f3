"""Where a stack keeps what its platform adapter needs. `deploy/embedded/layout.py` adds the rest of the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STACK_MARKER = "TRIAGE_STACK"
"""Every process of a stack carries this variable with the stack's home as value. It is not `TRIAGE_HOME`: people export
that one in their shells, and a clean-up by it would end those too."""

SCOPE = "SHOP_SCOPE"
"""Every process of a workload, and whatever was started inside its scope, carries this variable with its name."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one stack; `root` is absolute."""

    root: Path

    @property
    def run(self) -> Path:
        """Sockets, locks and what lives no longer than a run."""
        return self.root / "run"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def world(self) -> Path:
        """The declaration of the workloads (`world.py`)."""
        return self.root / "world.json"

    @property
    def link_state(self) -> Path:
        """What each link does now; kept so that a restarted proxy keeps a live fault."""
        return self.run / "links.json"

    @property
    def effects(self) -> Path:
        """The ledger of effects."""
        return self.root / "effects.jsonl"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, program: str) -> Path:
        """Return the file of a program's standard output."""
        return self.logs / f"{program}.log"

    def verb_lock(self, name: str) -> Path:
        """Return the lock that lets one caller at a time change a workload."""
        return self.run / f"verb-{name}.lock"

    def intruder_lock(self, name: str) -> Path:
        """Return the lock that lets one caller at a time start intruders of a workload. A repair does not wait for it:
        it may be what ends them."""
        return self.run / f"intruder-{name}.lock"


def scope_of(home: Home, workload: str) -> dict[str, str]:
    """Return the variables that every process in a workload's scope carries. The stack is one of them: two stacks side
    by side have workloads of the same names."""
    return {SCOPE: workload, STACK_MARKER: str(home.root)}
