"""`make nightly-llm`: the known models, fetched and served, held against bounds every night (docs/evaluation.md).

Each is measured on the half of the situations that is only ever measured; one of them plans the nightly scenarios too.
What is asked of them stands in `nightly.json`, as gates of `triage llm eval` and of `triage suite`.

    python -m harness.evaluation.nightly --out results/nightly-llm
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter

from broker.contracts.base import Frozen
from harness.cli.context import sentence
from harness.cli.output import err
from harness.errors import HarnessError
from harness.llm import known
from harness.llm.fetch import fetch
from harness.llm.server import examine, require_engine, serving

TRIAGE = Path(sys.executable).with_name("triage")
OUT = Path("results/nightly-llm")
ANSWERS = "answers"
"""The folder in which `triage llm eval` keeps what models answered."""


class Night(Frozen):
    """What is asked of one model."""

    model: str
    gates: dict[str, float]
    """Of `triage llm eval` on the measured half."""
    suite: dict[str, float]
    """Of `triage suite --set nightly`, with the model as its planner; none: it plans no scenario."""


def nights() -> tuple[Night, ...]:
    """Return what is asked, model by model."""
    text = (resources.files("harness.evaluation") / "nightly.json").read_bytes()
    return TypeAdapter(tuple[Night, ...]).validate_json(text)


def commands(night: Night, url: str, file: Path, out: Path) -> list[list[str]]:
    """Return the words of the `triage` commands that measure one model at an endpoint."""
    found = [["llm", "eval", "--url", url, "--model-file", str(file), "--set", "measured", "--out", str(out)]]
    found[0] += _gates(night.gates)
    if night.suite:
        words = ["suite", "--set", "nightly", "--seeds", "1", "--planner", url, "--out", str(out / night.model)]
        found.append(words + _gates(night.suite))
    return found


def _gates(bounds: Mapping[str, float]) -> list[str]:
    return [word for name, bound in bounds.items() for word in ("--gate", f"{name}={bound:g}")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every model, also after one that failed; return the first exit code that is not 0.

    Nothing is measured where the engine is missing, or where the last night's answers, which would be taken for this
    night's, cannot be removed.
    """
    parser = argparse.ArgumentParser(prog="python -m harness.evaluation.nightly", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the results, made anew (default {OUT})")
    out = parser.parse_args(arguments).out
    try:
        require_engine()
        _remove(out / ANSWERS)
    except HarnessError as error:
        return _failed(error)
    codes = [code for night in nights() for code in _tried(night, out)]
    return next((code for code in codes if code), 0)


def _tried(night: Night, out: Path) -> list[int]:
    """Measure one model; one that cannot be fetched or served is told of, and the next is measured all the same."""
    try:
        _remove(out / night.model)
        return _measured(night, out)
    except HarnessError as error:
        return [_failed(error)]
    except OSError as error:
        return [_failed(HarnessError(f"{night.model} could not be measured: {sentence(error)}"))]


def _failed(error: HarnessError) -> int:
    err.print(f"triage: {error}", markup=False, style="red")
    return error.exit_code


def _remove(old: Path) -> None:
    """Remove what the last night left: kept answers and runs are not asked for again.

    Raises:
        HarnessError: it is still there, whole or in parts.
    """
    try:
        shutil.rmtree(old)
    except FileNotFoundError:
        return
    except OSError as error:
        why = error.strerror or str(error)
        raise HarnessError(
            f"last night's {old} could not be removed ({why.lower()}), and its results must not pass for this "
            "night's; remove it and run again"
        ) from error


def _measured(night: Night, out: Path) -> list[int]:
    file = fetch(known.named(night.model), progress=lambda what: err.print(f"  {what}", markup=False))
    with serving(examine(file)) as engine:
        err.print(f"{night.model} at {engine.url}", markup=False)
        asked = commands(night, engine.url, file, out)
        return [subprocess.run([TRIAGE, *words], check=False).returncode for words in asked]


if __name__ == "__main__":
    sys.exit(main())
