"""What `triage llm eval` does: choose the situations, ask, show how far it is, write the results."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.runtime.settings import Settings
from broker.runtime.worker_host import Work
from harness.errors import HarnessError, NotFoundError, StackDownError
from harness.evaluation.answers import Answers
from harness.evaluation.data import Half
from harness.evaluation.evaluate import Mode, Outcome, Progress, evaluate
from harness.evaluation.library import Case, cases
from harness.evaluation.record import commit, machine
from harness.evaluation.table import About, Table, as_json, markdown, table
from planner_svc.config import ModelSettings, model_settings, planner_config
from planner_svc.core.config import PlannerConfig
from planner_svc.errors import ModelError
from planner_svc.llm_client import open_client
from planner_svc.worker import ModelWorker

Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be measured."""

    halves: tuple[Half, ...]
    mode: Mode | None
    """None: the rulebook alone."""
    limit: int | None
    """So many situations of each half, spread over it; None: all."""
    folder: Path
    """Where results, and the models' answers, are written."""
    date: str
    """Day of the measurement, ISO 8601: data, so that the same run writes the same file."""
    command: str
    model_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What came out."""

    table: Table
    outcomes: tuple[Outcome, ...]
    markdown: Path
    json: Path


def chosen(halves: tuple[Half, ...], limit: int | None) -> list[Case]:
    """Return the situations, of each half as many as wanted, evenly spread, so that few still are all kinds.

    Raises:
        NotFoundError, BadScenarioError: the set is incomplete or damaged.
    """
    found: list[Case] = []
    for half in halves:
        all_ = cases(half)
        wanted = len(all_) if limit is None else min(limit, len(all_))
        found += [all_[place * len(all_) // wanted] for place in range(wanted)]
    return found


async def run(wish: Wish, settings: Settings, tell: Tell) -> Written:
    """Measure and write.

    Raises:
        StackDownError: no model answers at the endpoint. HarnessError: the set or an answer file is damaged.
        SettingsError: rulebook or key file are.
    """
    picked = chosen(wish.halves, wish.limit)
    if not picked:
        raise NotFoundError("no situation was chosen; give a --limit of at least 1")
    config = planner_config(settings, picked[0].window.inventory)
    if wish.mode is None:
        outcomes = await evaluate(picked, config, tell=tell)
        return _write(wish, outcomes, _about(wish, config, None, None))
    return await _with_model(wish, wish.mode, settings, picked, config, tell)


async def _with_model(
    wish: Wish, mode: Mode, settings: Settings, picked: list[Case], config: PlannerConfig, tell: Tell
) -> Written:
    endpoint = model_settings(settings)
    async with open_client(endpoint) as client:
        try:
            model = endpoint.name or (await client.discover(endpoint.timeout_s)).name
        except ModelError as error:
            raise StackDownError(f"no model to evaluate: {error}; start one, or measure with --rulebook") from error
        worker = ModelWorker(endpoint, picked[0].window.inventory, client)

        async def ask(prompt: PlanPrompted) -> PlanAnswered:
            answered = await worker.handle(Work(prompt, 1, 0, 1, "DETERMINISTIC", prompt.subject()))
            if not isinstance(answered, PlanAnswered):
                raise HarnessError(f"the planner's worker gave a {type(answered).__name__} for an answer")
            if answered.outcome == "unreachable":
                raise StackDownError(f"the endpoint went away: {answered.error}; what was answered is kept, run again")
            return answered

        about = _about(wish, config, model, endpoint)
        path = wish.folder / "answers" / f"{_slug(model)}-{mode}.jsonl"
        kept = Answers(path, model, {**about.settings, "sha256": about.model_sha256})
        outcomes = await evaluate(picked, config, mode=mode, ask=ask, answers=kept, tell=tell)
    return _write(wish, outcomes, about)


def _about(wish: Wish, config: PlannerConfig, model: str | None, endpoint: ModelSettings | None) -> About:
    settings = {} if endpoint is None else {"temperature": endpoint.temperature, "seed": endpoint.seed}
    return About(
        date=wish.date,
        commit=commit(),
        machine=machine(),
        command=wish.command,
        halves=wish.halves,
        mode=wish.mode or "rulebook",
        model=model,
        model_sha256=None if wish.model_file is None else _sha256(wish.model_file),
        endpoint=None if endpoint is None else endpoint.shown_url,
        settings=settings,
        rulebook_sha256=hashlib.sha256(config.rulebook.encode()).hexdigest(),
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotFoundError(f"the model file {path} cannot be read: {error.strerror}") from error


def _write(wish: Wish, outcomes: list[Outcome], about: About) -> Written:
    found = table(outcomes, about)
    sets = "all" if len(wish.halves) > 1 else wish.halves[0]
    name = f"{_slug(about.model or 'rulebook')}-{about.mode}-{sets}" if about.model else f"rulebook-{sets}"
    wish.folder.mkdir(parents=True, exist_ok=True)
    page, data = wish.folder / f"{name}.md", wish.folder / f"{name}.json"
    page.write_text(markdown(found), encoding="utf-8")
    data.write_text(json.dumps(as_json(found, outcomes), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Written(found, tuple(outcomes), page, data)


def _slug(name: str) -> str:
    """Return a model's name as part of a file's name."""
    tail = name.replace("\\", "/").rpartition("/")[2].removesuffix(".gguf")
    return re.sub(r"[^a-z0-9.]+", "-", tail.lower()).strip("-.")[:60] or "model"
