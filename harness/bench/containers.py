"""The figures of the compose stack: `python -m harness.bench.containers`, on a machine with Docker and the images.

It brings the project up for itself, so none may be up; it ends with `down --volumes`.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx

from harness.bench.figures import Figure, table
from harness.bench.recovery import SCENARIOS
from harness.cli.output import err, out
from harness.compose.host import ComposeHost
from harness.compose.program import Compose, find
from harness.compose.project import containers, root
from harness.compose.tail import Tail, opened
from harness.errors import ConflictError, DockerError, HarnessError, TimedOutError
from harness.figures import percentile

KILLS = 20
KILL_BOUND_S = 0.250
UP_BOUND_S = 45.0
MEMORY_BOUND = 2.5 * 2**30
IDLE_S = 20.0
STEP_TIMEOUT_S = 30.0
SEEDS = (1, 2, 3)
SERVICE = "log-agent"
Say = Callable[[str], None]


async def kills(project: str, compose: Compose, count: int, say: Say) -> list[float]:
    """`docker kill` a log agent in mid-task `count` times; return seconds until another one has its task.

    At least two log agents must run.

    Raises:
        TimedOutError: a task found nobody else in time.
    """
    spans = []
    async with opened(compose) as tail:
        for number in range(count):
            try:
                spans.append(await _one_kill(project, compose, tail))
            except TimeoutError as error:
                raise TimedOutError(f"a killed agent's task found no other within {STEP_TIMEOUT_S:g} s") from error
            if number % 5 == 4:
                say(f"{number + 1} kills, slowest so far {max(spans) * 1_000:.0f} ms")
    return spans


async def _one_kill(project: str, compose: Compose, tail: Tail) -> float:
    incident = f"bench-{secrets.token_hex(4)}"
    ordering = asyncio.create_task(give(compose, incident, count=1, exploding=True))
    first = await tail.first(lambda row: row.type == "claim" and row.of(incident), STEP_TIMEOUT_S)
    victim = str(first.payload["instance"])
    at = time.time()
    await kill_container(project, victim)
    second = await tail.first(
        lambda row: row.type == "claim" and row.of(incident) and row.payload["instance"] != victim, STEP_TIMEOUT_S
    )
    await ordering
    await tail.first(lambda row: row.type == "result" and row.of(incident), STEP_TIMEOUT_S)
    await _back(compose, tail, victim)
    return second.time_us / 1e6 - at


async def _back(compose: Compose, tail: Tail, victim: str) -> None:
    """Start a killed agent's container again, and wait until the monitor has seen it come."""
    before = len(tail.rows)
    ran = await compose.run("start", SERVICE, timeout_s=60.0)  # `up` would take the second one away again
    if ran.code != 0:
        raise DockerError(f"{victim} did not start again: {ran.err}")
    await tail.first(
        lambda row: row.type == "agent.up" and row.payload["instance"] == victim, STEP_TIMEOUT_S, since=before
    )


async def give(compose: Compose, incident: str, *, count: int, rate: float = 20.0, exploding: bool = False) -> None:
    """Give orders to the log agents, with a scheduler's own keys, where those are.

    Raises:
        DockerError: they could not be given.
    """
    ran = await compose.run(
        *("exec", "-T", "scheduler", "python", "-m", "harness.bench.orders", "--incident", incident),
        *("--count", str(count), "--rate", str(rate), *(("--exploding",) if exploding else ())),
        timeout_s=STEP_TIMEOUT_S + count / rate,
    )
    if ran.code != 0:
        raise DockerError(f"no orders could be given: {ran.err[-500:]}")


async def kill_container(project: str, instance: str) -> None:
    """`docker kill` an instance's container: by the engine's own interface, since the program takes its time to start.

    Raises:
        DockerError: the engine is not on this machine's socket, or refuses.
    """
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        raise DockerError(f"DOCKER_HOST is {address}; this measures an engine on this machine only")
    transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix://"))
    async with httpx.AsyncClient(transport=transport, timeout=10.0) as client:
        answer = await client.post(f"http://docker/containers/{project}-{instance}/kill")
    if answer.status_code != 204:
        raise DockerError(f"{instance} could not be killed: {answer.text}")


async def measure_reassignment(project: str, compose: Compose, say: Say) -> list[Figure]:
    """Kill agents' containers in mid-task."""
    ran = await compose.run(
        *("up", "--detach", "--no-build", "--no-recreate", "--no-deps", "--wait", "--scale", f"{SERVICE}=2", SERVICE),
        timeout_s=60.0,
    )
    if ran.code != 0:
        raise DockerError(f"a second {SERVICE} did not come up: {ran.err}")
    spans = await kills(project, compose, KILLS, say)
    worst, middle = percentile(spans, 0.99), percentile(spans, 0.5)
    return [
        Figure(
            f"agent container `docker kill`ed in mid-task -> another has it, p99 of {KILLS}",
            "250 ms",
            f"p99 {worst * 1_000:.0f} ms, median {middle * 1_000:.0f} ms",
            worst <= KILL_BOUND_S,
        )
    ]


async def measure_start(host: ComposeHost, say: Say) -> list[Figure]:
    """Bring the stack up, volumes empty, and read its memory when it idles."""
    say("docker compose up --wait")
    started = time.perf_counter()
    await host.up(progress=lambda _name, _what: None)
    took = time.perf_counter() - started
    say("idle memory")
    await asyncio.sleep(IDLE_S)
    status = await host.status()
    return [
        Figure("`up --wait`, images built: all healthy", "45 s", f"{took:.1f} s", took <= UP_BOUND_S),
        Figure(
            f"whole stack ({len(status.programs)} containers), idle, resident",
            "2.5 GiB",
            f"{status.rss_bytes / 2**30:.2f} GiB",
            status.rss_bytes <= MEMORY_BOUND,
        ),
    ]


async def measure_recovery(host: ComposeHost, compose: Compose, say: Say) -> list[Figure]:
    """Every scenario with every seed."""
    good, named, broken = 0, 0, 0
    failures: list[str] = []
    spans: list[float] = []
    for name in SCENARIOS:
        for seed in SEEDS:
            ran = await compose.run(
                *("exec", "-T", "injector", "triage", "run", name, "--seed", str(seed), "--json"), timeout_s=300.0
            )
            good += ran.code == 0
            located, span = _read(ran.out)
            named, broken = named + (located is True), broken + (located is not None)
            spans += [] if span is None else [span]
            say(f"{name} seed {seed}: {'recovered' if ran.code == 0 else 'NOT recovered'} after {span} s, {located}")
            failures += [] if ran.code == 0 else [f"{name} seed {seed}: {ran.err.strip()[-200:]}"]
    total = len(SCENARIOS) * len(SEEDS)
    detail = f"{good} of {total}" + "".join(f"; {failure}" for failure in failures)
    middle = f"{median(spans):.1f} s" if spans else "-"
    return [
        Figure("the scenarios on containers, 3 seeds each: verified", "100 %", detail, good == total),
        Figure("fault injected -> verified, median", "-", middle, True),
        Figure("cause found (device and class of fault)", "-", f"{named} of {broken}", True),
    ]


def _read(text: str) -> tuple[bool | None, float | None]:
    """Return (cause named, seconds from the injection to the proof) of an outcome."""
    try:
        outcome = json.loads(text)
        return outcome["located"], outcome["score"]["time_to_recover_s"]
    except (ValueError, KeyError, TypeError):
        return None, None


async def main() -> int:
    """Measure everything; exit code 0 only if every bound is reached."""
    os.environ.setdefault("TRIAGE_PLANNER_MODE", "rulebook")
    host, compose = ComposeHost(Path.cwd()), Compose(find(), root())
    if containers(host.docker, host.project):
        raise ConflictError(f"the project {host.project} is up; take it down first, or set COMPOSE_PROJECT_NAME")
    figures: list[Figure] = []
    try:
        for section in (
            lambda: measure_start(host, _say),
            lambda: measure_recovery(host, compose, _say),
            lambda: measure_reassignment(host.project, compose, _say),
        ):
            figures += await _measured(section)
    finally:
        await host.down(wipe=True)
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    out.print(f"{at}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, engine {host.docker.engine}")
    out.print(table(figures), markup=False)
    return 0 if all(figure.reached for figure in figures) else 1


async def _measured(section: Callable[[], Awaitable[list[Figure]]]) -> list[Figure]:
    try:
        return await section()
    except (HarnessError, httpx.HTTPError) as error:
        return [Figure("(could not be measured)", "-", str(error), False)]


def _say(line: str) -> None:
    err.print(f"  {line}", style="dim", markup=False)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except HarnessError as error:
        err.print(f"bench: {error}", markup=False)
        sys.exit(error.exit_code)
