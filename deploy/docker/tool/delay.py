"""Holds packets that a firewall rule hands over, and lets them go later: delay and rate without the kernel's help.

    delay.py --queue N [--delay-ms MS] [--rate-kbit KBIT]

For kernels without netem. A rule `-j NFQUEUE --queue-num N --queue-bypass` hands packets over (netlink, see
linux/netfilter/nfnetlink_queue.h); `--queue-bypass` lets them pass as soon as this process is gone. It ends by itself
when its network namespace has lost every interface but the loopback: the container it was made for is gone.
"""

from __future__ import annotations

import argparse
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator

NETLINK_NETFILTER = 12
QUEUE_SUBSYSTEM = 3
PACKET, VERDICT, CONFIG = 0, 1, 2
A_VERDICT, A_CONFIG_COMMAND, A_CONFIG_PARAMS, A_CONFIG_MAXLEN, A_CONFIG_MASK, A_CONFIG_FLAGS = 2, 1, 2, 3, 4, 5
A_PACKET_HEADER, A_PAYLOAD = 1, 10
BIND = 1
COPY_PACKET = 2
FAIL_OPEN_AND_GSO = 1 | 4
REQUEST, ACKNOWLEDGE = 1, 4
DROP, ACCEPT = 0, 1
ERROR = 2
MAX_QUEUED = 65_536
MAX_BACKLOG_S = 2.0
"""A packet that would have to wait longer for its turn is dropped, as a full router drops it."""
WATCH_S = 1.0


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one netlink attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def message(kind: int, queue: int, attributes: bytes, flags: int, number: int) -> bytes:
    """Return one netlink message to the queue subsystem."""
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, queue) + attributes
    return struct.pack("=IHHII", 16 + len(body), QUEUE_SUBSYSTEM << 8 | kind, flags, number, 0) + body


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and payload of each attribute; ends at the first that is cut off."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x7FFF, data[at + 4 : at + length]
        at += length + (-length % 4)


def packets(datagram: bytes) -> Iterator[tuple[int, int]]:
    """Yield number and size in bytes of each packet that a datagram from the kernel announces."""
    at = 0
    while at + 16 <= len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, at)
        if length < 16:
            return
        if kind == QUEUE_SUBSYSTEM << 8 | PACKET:
            found = dict(attributes(datagram[at + 20 : at + length]))
            header, payload = found.get(A_PACKET_HEADER, b""), found.get(A_PAYLOAD, b"")
            if len(header) >= 4:
                size = struct.unpack_from("!H", payload, 2)[0] if len(payload) >= 4 else 0
                yield struct.unpack_from("!I", header)[0], size
        at += length + (-length % 4)


class Schedule:
    """When each packet may go: in order, `delay_s` late, and no faster than `bytes_per_s` (0: as fast as they come)."""

    def __init__(self, delay_s: float, bytes_per_s: float) -> None:
        self._delay_s = delay_s
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def release_at(self, now: float, size: int) -> float | None:
        """Return when a packet that came now may go, or None if it is dropped."""
        if not self._bytes_per_s:
            return now + self._delay_s
        begins = max(self._free_at, now)
        if begins - now > MAX_BACKLOG_S:
            return None
        self._free_at = begins + size / self._bytes_per_s
        return self._free_at + self._delay_s


class Queue:
    """One netfilter queue."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._sent = 0
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 0))

    def open(self) -> None:
        """Take the queue over.

        Raises:
            OSError: the kernel refuses: no support, no right, or somebody has it.
        """
        self._configure(attribute(A_CONFIG_COMMAND, struct.pack("!BBH", BIND, 0, socket.AF_INET)))
        self._configure(attribute(A_CONFIG_PARAMS, struct.pack("!IB", 40, COPY_PACKET)))
        self._configure(attribute(A_CONFIG_MAXLEN, struct.pack("!I", MAX_QUEUED)))
        flags = struct.pack("!I", FAIL_OPEN_AND_GSO)
        self._configure(attribute(A_CONFIG_FLAGS, flags) + attribute(A_CONFIG_MASK, flags))

    def verdict(self, packet: int, what: int) -> None:
        """Let a packet go, or drop it."""
        self._send(VERDICT, attribute(A_VERDICT, struct.pack("!II", what, packet)), REQUEST)

    def _configure(self, wanted: bytes) -> None:
        self._send(CONFIG, wanted, REQUEST | ACKNOWLEDGE)
        kind, error = struct.unpack_from("=4xH10xi", self.socket.recv(65_536))
        if kind == ERROR and error:
            raise OSError(-error, "the kernel refused the packet queue")

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sent += 1
        self.socket.send(message(kind, self._number, body, flags, self._sent))


def is_alone() -> bool:
    """Tell whether the namespace has no interface left but the loopback."""
    return all(name == "lo" for _, name in socket.if_nameindex())


def serve(queue: Queue, schedule: Schedule) -> None:
    """Hold and release packets until the namespace is deserted."""
    waiting: deque[tuple[float, int]] = deque()
    watch_at = 0.0
    while True:
        now = time.monotonic()
        if now >= watch_at:
            if is_alone():
                return
            watch_at = now + WATCH_S
        until = min(watch_at, waiting[0][0]) if waiting else watch_at
        if select.select([queue.socket], [], [], max(0.0, until - now))[0]:
            _take(queue, schedule, waiting)
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            queue.verdict(waiting.popleft()[1], ACCEPT)


def _take(queue: Queue, schedule: Schedule, waiting: deque[tuple[float, int]]) -> None:
    try:
        datagram = queue.socket.recv(1 << 17)
    except OSError:  # ENOBUFS: more came than fitted; with FAIL_OPEN the kernel has let the rest pass
        return
    now = time.monotonic()
    for packet, size in packets(datagram):
        release_at = schedule.release_at(now, size)
        if release_at is None:
            queue.verdict(packet, DROP)
        else:
            waiting.append((release_at, packet))


def main() -> int:
    """Run until the namespace is deserted; 1 if the kernel refuses."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queue", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--rate-kbit", type=float, default=0.0)
    wanted = parser.parse_args()
    queue = Queue(wanted.queue)
    try:
        queue.open()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serve(queue, Schedule(wanted.delay_ms / 1_000, wanted.rate_kbit * 1_000 / 8))
    return 0


if __name__ == "__main__":
    sys.exit(main())
