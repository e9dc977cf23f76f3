"""Our compose project: where its file is, what it is called, which containers it has, and whose they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.compose.program import Docker
from harness.compose.sentences import engine_failure
from harness.errors import ConflictError, DockerError

PROJECT = "agentic-triage"
"""The name that docker-compose.yml gives the project; COMPOSE_PROJECT_NAME overrides it there and here."""
FILE = "docker-compose.yml"
_FORMAT = "\t".join(
    (
        '{{.Label "com.docker.compose.project.working_dir"}}',
        '{{.Label "com.docker.compose.service"}}',
        '{{.Label "com.docker.compose.oneoff"}}',
        "{{.Names}}",
        "{{.State}}",
        "{{.Status}}",
    )
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One container of the project, as `docker ps` shows it."""

    folder: str
    service: str
    name: str
    state: str
    status: str

    @property
    def sick(self) -> bool:
        """Tell whether it says itself that it is not well, or cannot stay up."""
        return "unhealthy" in self.status or self.state in ("restarting", "dead", "paused")


def project() -> str:
    """Return the compose project's name."""
    return os.environ.get("COMPOSE_PROJECT_NAME") or PROJECT


def root() -> Path:
    """Return the folder with the compose file: the clone that this package is run from, else the current folder.

    Raises:
        DockerError: neither has one.
    """
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / FILE).is_file():
            return folder
    raise DockerError(f"there is no {FILE} beside the package nor in {Path.cwd()}; run it from a clone of the project")


def containers(docker: Docker) -> tuple[Seen, ...]:
    """Return the project's containers, all states, without those of `compose run`.

    Raises:
        DockerError: the engine does not say. ConflictError: a project of our name belongs to another folder.
    """
    ran = docker.ask(
        "ps", "--all", "--filter", f"label=com.docker.compose.project={project()}", "--format", _FORMAT
    )  # fmt: skip
    if ran.code != 0:
        raise engine_failure(ran.err)
    rows = [line.split("\t") for line in ran.out.splitlines() if line.count("\t") == 5]
    found = tuple(Seen(row[0], row[1], *row[3:]) for row in rows if row[2] != "True")
    _refuse_anothers(found)
    return found


def _refuse_anothers(found: tuple[Seen, ...]) -> None:
    here = root()
    for seen in found:
        if seen.folder and Path(seen.folder).resolve() != here:
            raise ConflictError(
                f"the compose project {project()} is that of {seen.folder}, not of {here}; "
                "take that one down, or set COMPOSE_PROJECT_NAME to another name"
            )
