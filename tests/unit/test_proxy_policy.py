"""Who may do what through the platform proxy: every verb, every client."""

from __future__ import annotations

import pytest

from services.platform.proxy import policy
from services.platform.proxy.policy import CLIENTS, Client
from services.platform.proxy.wire import FAULT_VERBS, PLATFORM_VERBS, VERBS

LOOK = {"list", "inspect", "logs", "stats", "health", "effects"}
CHANGE = {"start", "resume", "restart", "reconcile", "exec"}
MAY: dict[Client, set[str]] = {
    "log": LOOK,
    "action": LOOK | CHANGE,
    "injector": LOOK | CHANGE | {"stop", "pause", "containers"} | set(FAULT_VERBS),
    "sensors": set(),
}
TABLE = [(client, verb, verb in MAY[client]) for client in CLIENTS for verb in VERBS]


@pytest.mark.parametrize(("client", "verb", "may"), TABLE, ids=lambda value: str(value))
def test_each_client_may_do_its_own_verbs_and_no_other(client: Client, verb: str, may: bool) -> None:
    assert policy.judge(client, verb, managed=True) == (None if may else "verb_not_allowed")


@pytest.mark.parametrize("verb", [*VERBS, "events"])
def test_nobody_without_a_token_may_do_anything(verb: str) -> None:
    assert policy.judge(None, verb, managed=True) == "unknown_client"


@pytest.mark.parametrize("client", ["action", "injector"])
@pytest.mark.parametrize("verb", sorted(CHANGE | {"stop", "pause"}))
def test_what_is_not_managed_is_changed_by_nobody(client: Client, verb: str) -> None:
    expected = "not_managed" if verb in MAY[client] else "verb_not_allowed"
    assert policy.judge(client, verb, managed=False) == expected


@pytest.mark.parametrize("verb", sorted(LOOK))
def test_what_is_not_managed_may_be_looked_at(verb: str) -> None:
    assert policy.judge("log", verb, managed=False) is None


@pytest.mark.parametrize(("client", "may"), [("sensors", True), ("injector", True), ("log", False), ("action", False)])
def test_events_are_for_the_sensors_and_the_injector(client: Client, may: bool) -> None:
    assert (policy.judge(client, "events") is None) is may


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("verb", ["create", "run", "images", "delete", "group", "locked", "__init__", ""])
def test_there_is_no_such_verb(client: Client, verb: str) -> None:
    assert verb not in VERBS
    assert policy.judge(client, verb) == "verb_not_allowed"


def test_the_verbs_are_those_of_the_ports() -> None:
    assert set(PLATFORM_VERBS) == LOOK | CHANGE | {"stop", "pause", "containers"}
    assert {"fault.kill", "fault.set_link", "fault.set_environment", "fault.kill_role"} <= set(FAULT_VERBS)
    assert all(verb.startswith("fault.") for verb in FAULT_VERBS)


def test_refusals_name_who_what_and_on_what() -> None:
    assert "log may not restart on orders" in policy.sentence("verb_not_allowed", "log", "restart", "orders")
    assert policy.sentence("not_managed", "action", "restart", "loadgen").startswith("loadgen is not managed")
