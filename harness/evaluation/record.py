"""`python -m harness.evaluation.record`: records the windows of `runs.json` on a stack of its own.

What is there already is left alone unless `--again` is given, so an interrupted recording goes on where it stopped.
Takes about 40 s a window; the machine should have nothing else to do, since what keeps it busy is in the telemetry.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from broker.errors import BrokerError
from deploy.embedded.errors import StackError
from harness.errors import HarnessError
from harness.evaluation.data import Origin, RunPlan
from harness.evaluation.library import FOLDER, plans, window_path, write_window
from harness.evaluation.stage import observing_stack
from harness.evaluation.tape import Stage, record
from injector.errors import InjectorError

DEFAULT_PORTS = 21_400
"""Away from the default stack's ports, so that one may be up meanwhile."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what is missing; return the exit code: 0 if every window is there, 1 if one could not be recorded."""
    parser = argparse.ArgumentParser(prog="python -m harness.evaluation.record", description="Record windows.")
    parser.add_argument("names", nargs="*", help="names of runs.json; all unless given")
    parser.add_argument("--again", action="store_true", help="record anew what is there already")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder whose windows/ is written")
    parser.add_argument("--port-base", type=int, default=DEFAULT_PORTS, help="first port of the stack")
    parser.add_argument("--commit", default=commit(), help="of the sources that are run, to be noted")
    options = parser.parse_args(arguments)
    known = {plan.name: plan for plan in plans()}
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"runs.json has no {', '.join(unknown)}")
    wanted = [known[name] for name in options.names] or list(known.values())
    missing = [plan for plan in wanted if options.again or not window_path(plan.name, options.out).exists()]
    if not missing:
        _say("every window is there; --again records anew")
        return 0
    return asyncio.run(_record_all(missing, options.out, options.port_base, options.commit))


async def _record_all(missing: list[RunPlan], folder: Path, port_base: int, sources: str) -> int:
    home = Path(tempfile.mkdtemp(prefix="triage-evaluation-"))
    try:
        async with observing_stack(home, port_base) as stage:
            failed = await record_each(stage, missing, folder, sources)
    except (StackError, BrokerError, HarnessError) as error:
        _say(f"not recorded: {error}")
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if failed:
        _say(f"{len(failed)} of {len(missing)} windows could not be recorded: {', '.join(failed)}")
    return 1 if failed else 0


async def record_each(stage: Stage, missing: list[RunPlan], folder: Path, sources: str) -> list[str]:
    """Record windows one after another; a failed one is named and left out, the others go on. Return the failed."""
    failed = []
    for number, plan in enumerate(missing, 1):
        try:
            window = await record(stage, plan, _origin(sources))
        except (HarnessError, InjectorError) as error:
            _say(f"{number} of {len(missing)} {plan.name}: failed: {error}")
            failed.append(plan.name)
            continue
        path = write_window(window, folder)
        _say(f"{number} of {len(missing)} {plan.name}: {len(window.samples)} samples, {path.stat().st_size} bytes")
    return failed


def _origin(sources: str) -> Origin:
    now = datetime.now(UTC).replace(microsecond=0)
    return Origin(recorded_at=now, commit=sources, machine=machine(), platform="embedded")


def commit() -> str:
    """Return the short hash of the sources, `unknown` outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    asked = [git, "-C", str(FOLDER), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """Return what kind of machine this is: never its name."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{os.cpu_count()} cores {model}, {platform.system()}, Python {platform.python_version()}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
