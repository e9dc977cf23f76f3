"""`python -m harness.bench.recordings FILE...`: how fast recordings are decided again, how alike, how well gaps stand.

Needs no stack; `--live` says the first of them again at speed 1, which takes as long as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from harness.bench.figures import Figure, table
from harness.cli.output import err, out
from harness.errors import HarnessError
from harness.own_broker import own_broker
from harness.rebroadcast import Voices, gaps, opened, say, stamps
from harness.replay import replay

REPETITIONS = 100
RATE_BOUND = 20_000.0
GAP_BOUND_MS = 10.0


def decided_again(paths: Sequence[Path], repetitions: int = REPETITIONS) -> list[Figure]:
    """Replay every recording so many times, all of them in each round.

    Raises:
        HarnessError: one cannot be read.
    """
    digests: dict[Path, set[str]] = {path: set() for path in paths}
    different: set[Path] = set()
    rates = []
    for _ in range(repetitions):
        reports = {path: replay(path) for path in paths}
        for path, report in reports.items():
            digests[path].add(report.digest)
            different |= {path} if report.difference is not None else set()
        seconds = sum(report.seconds for report in reports.values())
        rates.append(sum(report.events for report in reports.values()) / seconds)
    alike = [path for path in paths if len(digests[path]) == 1 and path not in different]
    rate = median(rates)
    return [
        Figure(
            f"{len(paths)} recordings, each decided {repetitions} times",
            "the same bytes every time",
            f"{len(alike)} of {len(paths)}",
            len(alike) == len(paths),
        ),
        Figure(
            "events decided again by all three machines, median of the rounds",
            f"{RATE_BOUND:,.0f}/s",
            f"{rate:,.0f}/s (best {max(rates):,.0f}, slowest {min(rates):,.0f})",
            rate >= RATE_BOUND,
        ),
    ]


async def said_again(path: Path) -> Figure:
    """Say a recording again at speed 1 through a broker of its own."""
    piece = opened(path)
    async with own_broker(piece.inventory) as own:
        stand = await say(piece.lines, own.broker, Voices(own.keyring))
        kept = gaps(piece.lines, await stamps(own.broker, stand), 1.0)
    return Figure(
        f"live replay of {piece.scenario}, {kept.messages} messages: gaps against the recorded ones",
        f"within {GAP_BOUND_MS:g} ms",
        f"worst {kept.worst_ms:.1f} ms, 99 % within {kept.p99_ms:.1f} ms, median {kept.median_ms:.2f} ms",
        kept.worst_ms <= GAP_BOUND_MS,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table; exit code 0 only if every bound is reached."""
    parser = argparse.ArgumentParser(prog="python -m harness.bench.recordings")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--live", action="store_true", help="also say the first one again, at speed 1")
    given = parser.parse_args(arguments)
    try:
        figures = decided_again(given.files)
        if given.live:
            figures.append(asyncio.run(said_again(given.files[0])))
    except HarnessError as error:
        err.print(str(error), markup=False)
        return error.exit_code
    out.print(table(figures), markup=False)
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
