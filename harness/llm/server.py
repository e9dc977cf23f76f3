"""Serve a model file on loopback for as long as a block lasts: start the engine, wait until it answers, end it.

The engine is another process (`harness/llm/engine.py`). Everything that can be found out without it is found out before
it is started, so that what is wrong with a file, a port or the installation is said in one sentence.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from deploy.sockets import free_port, is_free, owner_of
from harness.children import end_child
from harness.errors import BadModelError, ConflictError, ModelDownError
from harness.llm import known
from harness.llm.cache import digest
from harness.llm.gguf import ModelFacts, inspect
from harness.llm.options import EngineOptions

ENGINE = "xllamacpp"
START_TIMEOUT_S = 300.0
"""A large model on a slow disk takes its time; an engine that fails ends at once."""
STOP_TIMEOUT_S = 5.0
POLL_S = 0.05
SPINS = "1000"
"""Rounds for which a thread of the engine spins before it sleeps.

OpenMP's own 300,000 are for a machine of one's own: as soon as anything else wants the cores, who spins keeps the one
waited for from running. Measured (ADR 0015): alone 3.1 s with either; two engines on the same two cores 140 to 170 s
with OpenMP's, 6.0 s with this one.
"""
WAITING = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
DEFAULT_PORT = 1_234
"""LM Studio's, so that the planner finds it without any setting."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model file, examined."""

    path: Path
    alias: str
    bytes: int
    sha256: str
    known: str | None
    """Name of the known model with these very bytes."""
    facts: ModelFacts


@dataclass(slots=True)
class Running:
    """An engine that answers."""

    url: str
    served: Served
    options: EngineOptions
    seconds_to_start: float
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Return never while the engine lives.

        Raises:
            ModelDownError: it ended by itself.
        """
        code = self.process.wait()
        raise ModelDownError(f"the engine that served {self.served.alias} ended by itself: {why_ended(code, self.log)}")


def examine(path: Path, alias: str | None = None, progress: Callable[[int], None] = lambda _bytes: None) -> Served:
    """Return what a model file is. Reads all of it.

    Raises:
        BadModelError, DamagedModelError: it cannot be served. OSError: it cannot be read.
    """
    facts = inspect(path)
    sha256 = digest(path, progress)
    model = known.by_digest(sha256)
    name = alias or (model.name if model else path.stem.lower())
    if not name.isprintable() or not 0 < len(name) <= 100:
        raise BadModelError("the name of a model has 1 to 100 printable characters; give another one with --alias")
    return Served(path, name, path.stat().st_size, sha256, model.name if model else None, facts)


def require_engine() -> None:
    """Refuse to go on without the extra.

    Raises:
        ModelDownError.
    """
    if importlib.util.find_spec(ENGINE) is None:
        raise ModelDownError(
            "the extra local-llm, which serves models, is not installed; in a checkout: make setup-llm, "
            "else: pip install 'agentic-triage[local-llm]'"
        )


@contextmanager
def serving(
    served: Served, *, port: int = 0, context: int = 4_096, threads: int | None = None, embeddings: bool = False
) -> Iterator[Running]:
    """Serve a model for a block, which begins when it answers; it is ended with the block.

    Args:
        port: of 127.0.0.1; 0 takes a free one.
        context: longest prompt and answer together, in tokens.
        threads: of the processor; all its cores, at most 8, unless given.

    Raises:
        ModelDownError: the engine is not installed, or did not start. ConflictError: the port is taken.
    """
    require_engine()
    if port and not is_free(port):
        owner = owner_of(port)
        raise ConflictError(f"port {port} is taken{f' by {owner}' if owner else ''}; choose another with --port")
    options = EngineOptions(
        path=str(served.path),
        alias=served.alias,
        port=port or free_port(),
        context=context,
        threads=threads or min(os.cpu_count() or 1, 8),
        embeddings=embeddings,
        pooled=embeddings and not served.facts.embeds,
    )
    with tempfile.TemporaryDirectory(prefix="triage-llm-") as folder:
        log = Path(folder) / "engine.log"
        with log.open("wb") as out:
            process = _start(options, out)
        try:
            began = time.monotonic()
            url = _await_healthy(process, options, log)
            yield Running(url, served, options, time.monotonic() - began, process, log)
        finally:
            _end(process)


def _start(options: EngineOptions, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the engine in a session of its own: what a person's Ctrl-C ends is us, and we end it."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.llm.engine", options.encode().decode()],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=engine_environment(os.environ),
    )


def engine_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the engine's environment: its threads wait without spinning for long, unless ours says how they wait."""
    return dict(ours) if WAITING & ours.keys() else {**ours, "GOMP_SPINCOUNT": SPINS}


def _await_healthy(process: subprocess.Popen[bytes], options: EngineOptions, log: Path) -> str:
    base = f"http://127.0.0.1:{options.port}"
    deadline = time.monotonic() + START_TIMEOUT_S
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if (code := process.poll()) is not None:
                raise ModelDownError(f"the engine cannot serve {options.path}: {why_ended(code, log)}")
            try:
                if client.get(f"{base}/health").status_code == 200 and process.poll() is None:
                    return f"{base}/v1"
            except httpx.HTTPError:
                pass  # it does not listen yet
            time.sleep(POLL_S)
    raise ModelDownError(f"the engine did not answer within {START_TIMEOUT_S:g} s: {_last_line(log)}")


def why_ended(code: int, log: Path) -> str:
    """Return how an engine ended, in words."""
    if code == -signal.SIGILL:
        return "this processor lacks instructions it was built with (AVX2, FMA, BMI2 and F16C are needed)"
    if code == -signal.SIGKILL:
        return "it was killed; if nobody did, memory ran out: try a smaller model or a smaller --ctx"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{_last_line(log)} ({how})"


def _last_line(log: Path) -> str:
    """Return the last complaint of the engine's log."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if " E " in line]
    return (errors or lines or ["it said nothing"])[-1][-300:]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        end_child(process, STOP_TIMEOUT_S)
    if process.stdin is not None:
        process.stdin.close()
