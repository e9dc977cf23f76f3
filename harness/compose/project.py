"""Our compose project: where its file is, what it is called, which containers it has, and whose they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.compose.program import Compose, Docker, complaint
from harness.compose.sentences import engine_failure
from harness.errors import ConflictError, DockerError

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


def project(docker: Docker) -> str:
    """Return the compose project's name as compose takes it: from COMPOSE_PROJECT_NAME, `.env` or the file itself.

    Raises:
        DockerError: there is no file, or compose cannot read it.
    """
    ran = Compose(docker, root()).ask("config", "--format", "json")
    try:
        return str(json.loads(ran.out)["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise DockerError(f"compose cannot read its file {root() / FILE}: {complaint(ran)}") from error


def root() -> Path:
    """Return the folder with the compose file: the clone that this package is run from, else the current folder.

    Raises:
        DockerError: neither has one.
    """
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / FILE).is_file():
            return folder
    raise DockerError(f"there is no {FILE} beside the package nor in {Path.cwd()}; run it from a clone of the project")


def containers(docker: Docker, name: str) -> tuple[Seen, ...]:
    """Return the containers of the project of a name, all states, without those of `compose run`.

    Raises:
        DockerError: the engine does not say. ConflictError: the project of that name belongs to another folder.
    """
    ran = docker.ask("ps", "--all", "--filter", f"label=com.docker.compose.project={name}", "--format", _FORMAT)
    if ran.code != 0:
        raise engine_failure(ran.err)
    rows = [line.split("\t") for line in ran.out.splitlines() if line.count("\t") == 5]
    found = tuple(Seen(row[0], row[1], *row[3:]) for row in rows if row[2] != "True")
    _refuse_anothers(found, name)
    return found


def _refuse_anothers(found: tuple[Seen, ...], name: str) -> None:
    here = root()
    for seen in found:
        if seen.folder and Path(seen.folder).resolve() != here:
            raise ConflictError(
                f"the compose project {name} is that of {seen.folder}, not of {here}; "
                "take that one down, or set COMPOSE_PROJECT_NAME to another name"
            )
