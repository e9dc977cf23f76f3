"""A handful of containers of their own project, for tests that break them: a server, a client, a small cache."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.docker_world import docker

TOOL_IMAGE = "agentic-triage/tool:dev"
CACHE_IMAGE = "valkey/valkey:8"
PORT = 8000
_GET = (
    "import urllib.request as u,time,sys\n"
    "t=time.monotonic()\n"
    "try: u.urlopen(sys.argv[1],timeout=float(sys.argv[2])).read(); said='ok'\n"
    "except OSError as e: said=repr(getattr(e,'reason',e))\n"
    "print(said); print(time.monotonic()-t)\n"
)


def has_image(name: str) -> bool:
    """Tell whether the engine has an image."""
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client said of one request."""

    said: str
    seconds: float


@dataclass
class FaultWorld:
    """One project's containers, by service."""

    project: str
    network: str
    services: list[str] = field(default_factory=list)

    def name(self, service: str) -> str:
        """Return the name of a service's container."""
        return f"{self.project}-{service}-1"

    def run(self, service: str, image: str, command: tuple[str, ...], *options: str) -> None:
        """Start a container as compose would have made it."""
        labels = {
            "com.docker.compose.project": self.project,
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": "1",
            "com.docker.compose.config-hash": "made-for-a-test",
            "com.docker.compose.oneoff": "False",
            "triage.kind": "service",
            "triage.managed": "true",
        }
        given = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
        place = ["--network", self.network, "--network-alias", service, "--name", self.name(service)]
        docker("run", "-d", "--init", *place, *given, *options, image, *command)
        self.services.append(service)

    def get(self, url: str, *, source: str = "client", timeout_s: float = 2.0) -> Answer:
        """Let a container ask for a URL, with a new connection."""
        output = docker("exec", self.name(source), "python3", "-c", _GET, url, str(timeout_s))
        said, seconds = output.splitlines()[-2:]
        return Answer(said, float(seconds))

    def until_served(self, url: str, deadline_s: float = 15.0) -> None:
        """Wait until the client is served.

        Raises:
            AssertionError: it was not in time.
        """
        end = time.monotonic() + deadline_s
        while (answer := self.get(url)).said != "ok":
            assert time.monotonic() < end, answer
            time.sleep(0.1)


@contextmanager
def fault_world() -> Iterator[FaultWorld]:
    """Give a server and a client, and leave nothing behind."""
    project = f"faults-{uuid.uuid4().hex[:8]}"
    world = FaultWorld(project, f"{project}_shop")
    docker("network", "create", "--internal", "--label", f"com.docker.compose.project={project}", world.network)
    try:
        world.run("server", TOOL_IMAGE, ("-u", "-m", "http.server", str(PORT), "-d", "/opt"), "--entrypoint", "python3")
        depends = ("--label", "triage.depends_on=server")
        world.run("client", TOOL_IMAGE, ("infinity",), "--entrypoint", "sleep", *depends)
        yield world
    finally:
        found = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={project}").split()
        found += docker("ps", "-aq", "--filter", f"label=triage.tool.project={project}").split()
        if found:
            docker("rm", "-f", "-v", *found)
        docker("network", "rm", world.network)
