"""Free ports for stacks that tests start."""

from __future__ import annotations

import os
import random
import socket

from services.inventory.ports import OFFSETS, SPAN


def free_base() -> int:
    """Return a first port such that every port of a stack is free right now."""
    generator = random.Random(os.getpid())
    for _ in range(200):
        base = generator.randrange(20_000, 31_000, SPAN)
        if all(_is_free(base + offset) for offset in OFFSETS.values()):
            return base
    raise RuntimeError("no run of free ports was found in 20000..31000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
