"""Whatever fault is built into rules is read back from them, whichever way the kernel does it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.platform.docker.netrules import Way, parse, removal, rules
from services.platform.fault_port import LinkFault
from tests.support.netsave import saved

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
ADDRESSES = st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=3, unique=True)
FAULTS = st.one_of(
    st.just(LinkFault("partition")),
    st.just(LinkFault("refuse")),
    st.builds(
        lambda ratio, seed: LinkFault("drop", drop_ratio=ratio, seed=seed), st.floats(0.001, 1.0), st.integers(0, 2**31)
    ),
    st.builds(lambda ms: LinkFault("latency", latency_ms=ms), st.floats(1.0, 10_000.0)),
    st.builds(lambda rate: LinkFault("throttle", rate_kbit=rate), st.floats(1.0, 1e6)),
)
WAYS: st.SearchStrategy[Way] = st.sampled_from(("kernel", "queue"))


@given(NAMES, ADDRESSES, FAULTS, WAYS, st.integers(1, 200))
def test_build_save_parse_is_identity(name: str, addresses: list[str], fault: LinkFault, way: Way, slot: int) -> None:
    made = rules(name, addresses, fault, slot=slot, way=way, device="eth0")
    found = parse(saved(made))
    assert sorted(item.rule.arguments for item in found) == sorted(rule.arguments for rule in made)
    assert {(item.destination, item.fault) for item in found} == {(name, fault)}
    assert {item.address for item in found} == set(addresses)
    if fault.mode in ("latency", "throttle"):
        assert {(item.slot, item.way) for item in found} == {(slot, way)}


@given(NAMES, ADDRESSES, FAULTS, WAYS)
def test_what_was_made_is_what_is_deleted(name: str, addresses: list[str], fault: LinkFault, way: Way) -> None:
    made = rules(name, addresses, fault, slot=1, way=way, device="eth0")
    found = parse(saved(made))
    deleted = [command for command in removal(found, found) if command[0] == "iptables"]
    added = [[*rule.add()[:4], "-D", *rule.add()[5:]] for rule in made]
    assert sorted(deleted) == sorted(added)


@given(st.text())
def test_any_text_is_read_without_harm(text: str) -> None:
    assert all(item.destination for item in parse(text)) or not parse(text)
