"""`make bench`: measure the README's figures on this machine, on a stack of its own, and print them as a table."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from broker.errors import BrokerError
from deploy.embedded.errors import StackError
from deploy.embedded.stack import Stack
from harness.bench import reassign, recovery, startup
from harness.bench.figures import Figure, table
from harness.cli.context import port_base
from harness.cli.output import err, out
from harness.errors import HarnessError


async def main() -> int:
    """Measure everything; exit code 0 only if every bound is reached."""
    os.environ["TRIAGE_PLANNER_MODE"] = "rulebook"
    home = Path(tempfile.mkdtemp(prefix="triage-bench-"))
    stack = Stack(home, port_base())
    figures: list[Figure] = []
    try:
        for section in (
            lambda: startup.measure(stack, home, _say),
            lambda: recovery.measure(home, home / "recordings", _say),
            lambda: reassign.measure(home, _say),
        ):
            figures += await _measured(section)
    finally:
        if await stack.alive():
            await stack.down()
        shutil.rmtree(home, ignore_errors=True)
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    out.print(
        f"{at}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    out.print(table(figures), markup=False)
    return 0 if all(figure.reached for figure in figures) else 1


async def _measured(section: Callable[[], Awaitable[list[Figure]]]) -> list[Figure]:
    """A section that fails is a figure that is not reached; the others are still measured."""
    try:
        return await section()
    except (HarnessError, StackError, BrokerError) as error:
        return [Figure("(could not be measured)", "-", str(error), False)]


def _say(line: str) -> None:
    err.print(f"  {line}", style="dim", markup=False)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
