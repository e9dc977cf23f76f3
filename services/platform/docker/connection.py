"""The connection to the Docker engine for one compose project: calls in threads, with time-outs, errors in our words.

docker-py blocks; every call is made in a thread. What the engine says becomes an error of `services.platform.port`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import docker
import requests.exceptions
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from services.platform.docker.container import Container
from services.platform.port import PlatformDownError, VerbFailedError

MIN_ENGINE: Final = 25
"""Major version: older engines know no `start_interval` of health checks and one network only at creation."""
API_VERSION: Final = "1.44"
CALL_TIMEOUT_S: Final = 10
SLOW_TIMEOUT_S: Final = 60
"""For what waits on the inside of a container: exec, logs, wait."""
GUARD: Final = 1.5
THREADS: Final = 16
SOCKET: Final = "/var/run/docker.sock"

T = TypeVar("T")


class EngineSilentError(PlatformDownError):
    """The engine did not answer a call in time."""


class ContainerGoneError(VerbFailedError):
    """The container was removed meanwhile, by somebody else."""


class Connection:
    """One project's way to the engine. `close` it at the end."""

    def __init__(self, project: str, *, base_url: str | None = None) -> None:
        """
        Args:
            base_url: the engine's address; None takes DOCKER_HOST, else the local socket.
        """
        self.project = project
        self._url = base_url or os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")
        self._lock = threading.Lock()
        self._clients: dict[int, docker.APIClient] = {}

    def close(self) -> None:
        """Close all connections; calls that still wait for the engine end with an error."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def check(self) -> None:
        """Make sure that there is an engine that will do.

        Raises:
            PlatformDownError: none answers, its socket may not be used, or it is older than MIN_ENGINE. One sentence.
        """
        version = str((await self.ask("tell its version", lambda api: api.version(False)))["Version"])
        major = version.partition(".")[0]
        if not major.isdigit() or int(major) < MIN_ENGINE:
            raise PlatformDownError(
                f"the Docker engine at {self._url} is too old: version {version}, and {MIN_ENGINE} or newer is needed"
            )

    async def on(
        self, container: Container, done: str, do: Callable[[docker.APIClient], T], *, slow: bool = False
    ) -> T:
        """Do something with a container of this project; `done` is its participle.

        Raises:
            VerbFailedError: it is of another project, or the engine said no. ContainerGoneError: it is not there any
                more. PlatformDownError: the engine does not answer.
        """
        if container.project != self.project:
            raise VerbFailedError(f"{container.what} is none of the project {self.project}")
        try:
            return await self.call(done, do, slow=slow)
        except ImageNotFound as error:
            raise VerbFailedError(f"{container.name} could not be {done}: {reason(error)}") from error
        except NotFound as error:
            if "network" in reason(error) and "No such container" not in reason(error):
                raise VerbFailedError(f"{container.name} could not be {done}: {reason(error)}") from error
            raise ContainerGoneError(
                f"{container.name} was removed by somebody else while it was to be {done}; "
                f"`start` or `reconcile` of {container.service} makes it again as declared"
            ) from error
        except APIError as error:
            raise VerbFailedError(f"{container.name} could not be {done}: {reason(error)}") from error
        except EngineSilentError as error:
            if not slow:
                raise
            raise VerbFailedError(f"{container.name} was not {done} within {SLOW_TIMEOUT_S} s") from error

    async def ask(self, what: str, look: Callable[[docker.APIClient], T]) -> T:
        """Look at something.

        Raises:
            NotFound: it is not there. PlatformDownError: the engine cannot say.
        """
        try:
            return await self.call(what, look)
        except NotFound:
            raise
        except APIError as error:
            raise PlatformDownError(f"the Docker engine at {self._url} could not {what}: {reason(error)}") from error

    async def named(self, sentence: str, do: Callable[[docker.APIClient], T]) -> T:
        """Do something that has no container yet; `sentence` says what could not be done.

        Raises:
            VerbFailedError: the engine said no. PlatformDownError: it does not answer.
        """
        try:
            return await self.call("act", do)
        except APIError as error:
            raise VerbFailedError(f"{sentence}: {reason(error)}") from error

    async def call(self, what: str, do: Callable[[docker.APIClient], T], *, slow: bool = False) -> T:
        """Call the engine in a thread.

        Raises:
            APIError: the engine said no. PlatformDownError: it does not answer.
        """
        timeout_s = SLOW_TIMEOUT_S if slow else CALL_TIMEOUT_S
        silent = f"the Docker engine did not answer within {timeout_s} s (what was asked: {what})"

        def run() -> T:
            try:
                return do(self._client(timeout_s))
            except APIError:
                raise
            except requests.exceptions.Timeout as error:
                raise EngineSilentError(silent) from error
            except (DockerException, requests.exceptions.RequestException) as error:
                if "Read timed out" in str(error):
                    raise EngineSilentError(silent) from error
                raise PlatformDownError(self._down(error)) from error

        try:
            # docker-py's own time-out is one of silence on the socket, and exec has none: this one holds for all
            async with asyncio.timeout(timeout_s * GUARD):
                return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except TimeoutError as error:
            raise EngineSilentError(silent) from error

    def _client(self, timeout_s: int) -> docker.APIClient:
        with self._lock:
            if timeout_s not in self._clients:
                self._clients[timeout_s] = docker.APIClient(
                    base_url=self._url, version=API_VERSION, timeout=timeout_s, max_pool_size=THREADS
                )
            return self._clients[timeout_s]

    def _down(self, error: Exception) -> str:
        text = str(error)
        if "Permission denied" in text:
            return (
                f"the Docker engine's socket {self._url} may not be used by uid {os.getuid()}; "
                "give the process the socket's group (compose: group_add)"
            )
        if "No such file" in text or "Connection refused" in text:
            return f"no Docker engine answers at {self._url}; is Docker installed and running?"
        return f"the Docker engine at {self._url} cannot be used: {text[:200]}"


def reason(error: APIError) -> str:
    """Return what the engine said, on one line."""
    return str(error.explanation or error)[:300].replace("\n", " ")
