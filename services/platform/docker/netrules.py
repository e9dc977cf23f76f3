"""What a link fault is in a kernel: firewall rules and traffic classes. Pure: faults in, commands out, and back.

Every rule stands in the network namespace of the link's source and carries the comment `triage:<destination>:<mode>:
<arguments>`, from which the fault is read back; so a rule is its own record, and what nobody remembers can be healed.
Rules name the destination's addresses of the moment: they are gone with the source's namespace, and without effect on
a destination that has got another address (docs/faults.md).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args, get_type_hints

from services.platform.fault_port import LinkFault

MARK = "triage"
NAMES = "dns"
"""The destination that stands for the name server of a container."""
NAME_SERVER = "127.0.0.11"
DROPPED = "0x7421"
"""Connection mark of those whose handshake was chosen to be reset."""
QUEUE_BASE = 7420
"""Packet queues from here on are ours."""
TBF_BURST = "4kb"
"""More than one packet, or nothing passes."""
TBF_LATENCY = "2000ms"
ROOT = "1:"
UNSUPPORTED = ("qdisc kind is unknown", "not supported", "No such file or directory")
"""What tc says if the kernel lacks something."""

Way = Literal["kernel", "queue"]
"""kernel: traffic control (netem, tbf). queue: packets are handed to our own process (deploy/docker/tool/delay.py)."""
MODES: tuple[str, ...] = get_args(get_type_hints(LinkFault)["mode"])


@dataclass(frozen=True, slots=True)
class Rule:
    """One firewall rule: everything after `-A`."""

    table: str
    arguments: tuple[str, ...]

    def add(self) -> list[str]:
        """Return the command that makes it."""
        return ["iptables", "-w", "-t", self.table, "-A", *self.arguments]

    def delete(self) -> list[str]:
        """Return the command that takes this one rule back. Tables are never flushed: Docker's DNS lives in them."""
        return ["iptables", "-w", "-t", self.table, "-D", *self.arguments]


@dataclass(frozen=True, slots=True)
class Found:
    """One of our rules as it stands in a namespace."""

    rule: Rule
    destination: str
    fault: LinkFault
    address: str
    slot: int | None
    """Number of its traffic class or packet queue; None if it needs neither."""
    way: Way | None
    device: str | None
    """Interface of its traffic class."""


def comment(destination: str, fault: LinkFault) -> str:
    """Return the comment that records a fault."""
    values = {
        "drop": f"{fault.drop_ratio!r}:{fault.seed}",
        "latency": repr(fault.latency_ms),
        "throttle": repr(fault.rate_kbit),
    }
    return f"{MARK}:{destination}:{fault.mode}:{values.get(fault.mode, '')}"


def read_comment(text: str) -> tuple[str, LinkFault] | None:
    """Return destination and fault of a comment, or None if it is not one of ours."""
    parts = text.split(":")
    if len(parts) < 4 or parts[0] != MARK or parts[2] not in MODES:
        return None
    mode = cast(Literal["partition", "refuse", "latency", "drop", "throttle"], parts[2])
    try:
        if mode == "drop":
            return parts[1], LinkFault(mode, drop_ratio=float(parts[3]), seed=int(parts[4]))
        if mode == "latency":
            return parts[1], LinkFault(mode, latency_ms=float(parts[3]))
        if mode == "throttle":
            return parts[1], LinkFault(mode, rate_kbit=float(parts[3]))
    except (ValueError, IndexError):
        return None
    return parts[1], LinkFault(mode)


def rules(
    destination: str,
    addresses: Iterable[str],
    fault: LinkFault,
    *,
    slot: int = 0,
    way: Way = "kernel",
    device: str = "",
) -> tuple[Rule, ...]:
    """Return the rules that make a fault towards every address; none for a link that is ok.

    Args:
        slot, way, device: for latency and throttle: the traffic class or packet queue that does the work.
    """
    note = ("-m", "comment", "--comment", comment(destination, fault))
    return tuple(rule for address in addresses for rule in _rules(address, fault, note, slot, way, device))


def _rules(address: str, fault: LinkFault, note: tuple[str, ...], slot: int, way: Way, device: str) -> tuple[Rule, ...]:
    to, back = ("OUTPUT", "-d", f"{address}/32"), ("INPUT", "-s", f"{address}/32")
    reset = ("-j", "REJECT", "--reject-with", "tcp-reset")
    match fault.mode:
        case "partition":
            return tuple(Rule("filter", (*end, *note, "-j", "DROP")) for end in (to, back))
        case "refuse":
            return (Rule("filter", (*to, "-p", "tcp", *note, *reset)),)
        case "drop":
            return _drop(to, fault, note, reset)
        case "latency" | "throttle":
            return _queued(to, back, fault, note, slot) if way == "queue" else _classed(to, fault, note, slot, device)
    return ()


def _drop(to: tuple[str, ...], fault: LinkFault, note: tuple[str, ...], reset: tuple[str, ...]) -> tuple[Rule, ...]:
    """Draw a connection by its first packet, and reset it when it says its next: the client is reset, not refused.

    RST passes, so that the server hears of it and keeps nothing half open.
    """
    first = ("-p", "tcp", "-m", "tcp", "--tcp-flags", "FIN,SYN,RST,ACK", "SYN")
    later = ("-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN,RST", "NONE", "-m", "connmark", "--mark", DROPPED)
    # In 2^-31 steps, as the kernel keeps it: only then does the rule that is saved delete the rule that was made.
    odds = ("-m", "statistic", "--mode", "random", "--probability", f"{round(fault.drop_ratio * 2**31) / 2**31:.11f}")
    return (
        Rule("mangle", (*to, *first, *odds, *note, "-j", "CONNMARK", "--set-xmark", f"{DROPPED}/0xffffffff")),
        Rule("filter", (*to, *later, *note, *reset)),
    )


def _classed(to: tuple[str, ...], fault: LinkFault, note: tuple[str, ...], slot: int, device: str) -> tuple[Rule, ...]:
    target = ("-j", "CLASSIFY", "--set-class", f"0001:{slot:04x}")
    return (Rule("mangle", ("POSTROUTING", *to[1:], "-o", device, *_but_handshakes(fault), *note, *target)),)


def _queued(
    to: tuple[str, ...], back: tuple[str, ...], fault: LinkFault, note: tuple[str, ...], slot: int
) -> tuple[Rule, ...]:
    """Delay both ways, throttle one. `--queue-bypass`: without the process that delays, packets pass."""
    ends = (to, back) if fault.mode == "latency" else (to,)
    target = ("-j", "NFQUEUE", "--queue-num", str(QUEUE_BASE + slot), "--queue-bypass")
    return tuple(Rule("filter", (*end, *_but_handshakes(fault), *note, *target)) for end in ends)


def _but_handshakes(fault: LinkFault) -> tuple[str, ...]:
    return ("-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN", "NONE") if fault.mode == "latency" else ()


def parse(saved: str) -> tuple[Found, ...]:
    """Return our rules in the output of iptables-save, in its order; everything else is left alone."""
    found, table = [], ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and MARK in line:
            item = _found(Rule(table, tuple(shlex.split(line)[1:])))
            found += [item] if item else []
    return tuple(found)


def _found(rule: Rule) -> Found | None:
    note = read_comment(_after(rule, "--comment") or "")
    if note is None:
        return None
    classed, queued = _after(rule, "--set-class"), _after(rule, "--queue-num")
    address = (_after(rule, "-d") or _after(rule, "-s") or "").removesuffix("/32")
    slot = int(classed.partition(":")[2], 16) if classed else int(queued) - QUEUE_BASE if queued else None
    way: Way | None = "kernel" if classed else "queue" if queued else None
    return Found(rule, *note, address, slot, way, _after(rule, "-o"))


def _after(rule: Rule, option: str) -> str | None:
    arguments = rule.arguments
    place = arguments.index(option) + 1 if option in arguments else len(arguments)
    return arguments[place] if place < len(arguments) else None


def free_slot(found: Iterable[Found]) -> int:
    """Return the least number, from 1, that none of the rules uses."""
    used = {item.slot for item in found}
    return next(number for number in range(1, len(used) + 2) if number not in used)


def class_commands(fault: LinkFault, slot: int, device: str) -> list[list[str]]:
    """Return the commands that make the traffic class of a latency or throttle. They fail with a text of `UNSUPPORTED`
    if the kernel lacks what they need. What is delayed is delayed on its way out only, by twice as much."""
    leaf = (
        ["netem", "delay", f"{2 * fault.latency_ms:g}ms"]
        if fault.mode == "latency"
        else ["tbf", "rate", f"{fault.rate_kbit:g}kbit", "burst", TBF_BURST, "latency", TBF_LATENCY]
    )
    return [
        ["-", "tc", "qdisc", "add", "dev", device, "root", "handle", ROOT, "htb"],
        ["tc", "class", "add", "dev", device, "parent", ROOT, "classid", _class(slot), "htb", "rate", "1gbit"],
        ["tc", "qdisc", "add", "dev", device, "parent", _class(slot), *leaf],
    ]


def unclass_commands(device: str, slot: int, *, last: bool) -> list[list[str]]:
    """Return the commands that take a traffic class back; with the last one all traffic control on the device goes."""
    if last:
        return [["-", "tc", "qdisc", "del", "dev", device, "root"]]
    return [
        ["-", "tc", "qdisc", "del", "dev", device, "parent", _class(slot)],
        ["-", "tc", "class", "del", "dev", device, "classid", _class(slot)],
    ]


def removal(found: Sequence[Found], unwanted: Sequence[Found]) -> list[list[str]]:
    """Return the commands that take `unwanted` out of what was found in a namespace."""
    commands = [item.rule.delete() for item in unwanted]
    left = {(item.device, item.slot) for item in found if item not in unwanted and item.way == "kernel"}
    gone = {(item.device, item.slot) for item in unwanted if item.way == "kernel"}
    for device, slot in sorted((device, slot) for device, slot in gone - left if device and slot):
        commands += unclass_commands(device, slot, last=all(other != device for other, _ in left))
    return commands


def lacks_support(output: str) -> bool:
    """Tell whether tc says that the kernel cannot do it."""
    return any(text in output for text in UNSUPPORTED)


def _class(slot: int) -> str:
    return f"1:{slot:x}"
