"""Who may do what through the proxy. Pure: client, verb and target in, a refusal by name out.

| client | may |
|---|---|
| log | look: list, inspect, logs, stats, health, effects |
| action | look, and the catalogue's verbs on managed workloads: start, resume, restart, reconcile, exec |
| injector | both, stop and pause, every fault, signals to the control plane, the list of all containers, events |
| sensors | events |

Everything else is refused. Nobody can name a container of another project, nor create one: there are no such verbs.
"""

from __future__ import annotations

from typing import Literal, get_args

Client = Literal["log", "action", "injector", "sensors"]
CLIENTS: tuple[Client, ...] = get_args(Client)
Refusal = Literal["unknown_client", "verb_not_allowed", "not_managed"]

FAULT = "fault."
"""Verbs of the fault port start with this."""
LOOK = frozenset({"list", "inspect", "logs", "stats", "health", "effects"})
CHANGE = frozenset({"start", "resume", "restart", "reconcile", "exec"})
BY_HAND = frozenset({"stop", "pause"})
"""No more than what the fault port lets the injector do anyway."""
EVENTS = "events"
CONTAINERS = "containers"
KILL_ROLE = "fault.kill_role"


def allowed(client: Client) -> frozenset[str]:
    """Return the verbs that a client may use, but for the faults."""
    return {
        "log": LOOK,
        "action": LOOK | CHANGE,
        "injector": LOOK | CHANGE | BY_HAND | {EVENTS, CONTAINERS},
        "sensors": frozenset({EVENTS}),
    }[client]


def judge(client: Client | None, verb: str, managed: bool | None = None) -> Refusal | None:
    """Return why a call is refused, or None.

    Args:
        client: None if no token of a client came with it.
        managed: whether the target is managed; None if it has none, or is not known.
    """
    if client is None:
        return "unknown_client"
    if verb.startswith(FAULT):
        return None if client == "injector" else "verb_not_allowed"
    if verb not in allowed(client):
        return "verb_not_allowed"
    if verb in CHANGE | BY_HAND and managed is False:
        return "not_managed"
    return None


def sentence(refusal: Refusal, client: Client | None, verb: str, target: str) -> str:
    """Return a refusal in words."""
    on = f" on {target}" if target else ""
    return {
        "unknown_client": "the platform proxy does not know this token; it was made by `setup`, and changes with it",
        "verb_not_allowed": f"{client} may not {verb}{on}: the platform proxy refuses it",
        "not_managed": f"{target} is not managed: nothing may {verb} it",
    }[refusal]
