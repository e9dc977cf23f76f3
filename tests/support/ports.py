"""Free ports for stacks that tests start."""

from __future__ import annotations

import os
import random

from deploy.sockets import is_free
from services.inventory.ports import OFFSETS, SPAN


def free_base() -> int:
    """Return a first port such that every port of a stack is free right now."""
    generator = random.Random(os.getpid())
    for _ in range(200):
        base = generator.randrange(20_000, 31_000, SPAN)
        if all(is_free(base + offset) for offset in OFFSETS.values()):
            return base
    raise RuntimeError("no run of free ports was found in 20000..31000")
