"""What can be asked of the Docker engine for one compose project; `connection.py` says how.

It knows nothing but the containers of its project: a container of another one cannot even be named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import docker
import requests.exceptions
import structlog
import urllib3.exceptions
from docker.errors import APIError, DockerException, NotFound, create_api_error_from_http_exception
from structlog.typing import FilteringBoundLogger

from services.platform.docker.connection import (
    CALL_TIMEOUT_S,
    SLOW_TIMEOUT_S,
    Connection,
    ContainerGoneError,
    reason,
)
from services.platform.docker.container import (
    PROJECT,
    REPLACED,
    SERVICE,
    TOOL,
    TOOL_PROJECT,
    TOOL_TARGET,
    Blueprint,
    Container,
    Resources,
    container_of,
    host_fields,
    is_of_interest,
    newest,
)
from services.platform.docker.readings import Process, Usage, newest_bytes, processes_of, split_lines, usage_of
from services.platform.docker.sidecar import Namespace, Sidecar, Tool, tool_of
from services.platform.docker.stream import following
from services.platform.port import PlatformError, VerbFailedError

STOP_GRACE_S: Final = 5
MAX_LOG_BYTES: Final = 2 * 2**20
"""Of a container's log, no more than its newest part is held at a time."""
EVENTS: Final = ("create", "start", "die", "oom", "health_status", "pause", "unpause", "destroy", "rename")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    output: str


class Engine:
    """One project's containers. `close` it at the end."""

    def __init__(self, project: str, *, base_url: str | None = None) -> None:
        """
        Args:
            base_url: the engine's address; None takes DOCKER_HOST, else the local socket.
        """
        self._link = Connection(project, base_url=base_url)
        self._log: FilteringBoundLogger = structlog.get_logger().bind(part="engine")

    @property
    def project(self) -> str:
        """Return the compose project's name."""
        return self._link.project

    def close(self) -> None:
        """Close all connections; calls that still wait for the engine end with an error."""
        self._link.close()

    async def check(self) -> None:
        """Make sure that there is an engine that will do.

        Raises:
            PlatformDownError: none answers, its socket may not be used, or it is too old. One sentence.
        """
        await self._link.check()

    # -- looking

    async def containers(self) -> tuple[Container, ...]:
        """Return every container of the project, also those that do not run, in the order of service and number. What
        `docker compose run` made, and what is being replaced, is left out."""
        return await self._all({"label": [f"{PROJECT}={self.project}"]})

    async def find(self, service: str) -> tuple[Container, ...]:
        """Return the containers of one service in the order of their numbers; empty if there is none."""
        return await self._all({"label": [f"{PROJECT}={self.project}", f"{SERVICE}={service}"]})

    async def inspect(self, container: Container) -> Container:
        """Look at a container again.

        Raises:
            ContainerGoneError: it was removed.
        """
        return container_of(
            await self._link.on(container, "looked at", lambda api: api.inspect_container(container.id))
        )

    async def own(self, hostname: str) -> Container | None:
        """Return the container that this process lives in, by its host name; None if it lives in none."""
        try:
            return container_of(
                await self._link.ask("inspect a container", lambda api: api.inspect_container(hostname))
            )
        except NotFound:
            return None

    async def image_id(self, reference: str) -> str | None:
        """Return the identity of a local image, or None if there is none of this name."""
        try:
            return str((await self._link.ask("inspect an image", lambda api: _image(api, reference)))["Id"])
        except NotFound:
            return None

    async def top(self, container: Container) -> tuple[Process, ...]:
        """Return the processes inside, with the host's process ids; none if it does not run."""
        try:
            found = await self._link.on(
                container, "looked into", lambda api: api.top(container.id, "-eo pid,ppid,args")
            )
        except ContainerGoneError:
            raise
        except VerbFailedError:
            return ()
        return processes_of(found)

    async def stats(self, container: Container) -> Usage:
        """Measure what the container uses; takes about a second, for processor time is a difference."""

        def read(api: docker.APIClient) -> Any:
            return api.stats(container.id, stream=False)

        return usage_of(await self._link.on(container, "measured", read))

    async def memory_bytes(self, container: Container) -> int:
        """Measure the memory it uses now, at once."""

        def read(api: docker.APIClient) -> Any:
            return api.stats(container.id, stream=False, one_shot=True)

        return usage_of(await self._link.on(container, "measured", read)).memory_bytes if container.running else 0

    async def logs(
        self, container: Container, *, since_us: int, until_us: int | None = None, tail: int | None = None
    ) -> list[tuple[int, str]]:
        """Return what the container wrote in a span of time: (microseconds since the epoch, line), oldest first; of
        more than `MAX_LOG_BYTES` the newest."""
        # whole seconds outwards: the engine reads no exponents, and callers cut exactly
        span = {"since": max(since_us // 1_000_000, 1)}
        span |= {} if until_us is None else {"until": max(until_us // 1_000_000 + 1, 1)}
        asked = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": "all" if tail is None else tail, **span}
        terminal = bool(container.raw["Config"].get("Tty"))

        def read(api: docker.APIClient) -> bytes:
            # docker-py's own logs() holds all of it, or reads on without a time-out
            url = f"{api.base_url}/v{api.api_version}/containers/{container.id}/logs"
            with api.get(url, params=asked, stream=True, timeout=SLOW_TIMEOUT_S) as answer:
                _require_ok(answer)
                try:
                    return newest_bytes(answer.raw, MAX_LOG_BYTES, framed=not terminal)
                except urllib3.exceptions.HTTPError as error:  # as requests words what breaks off
                    raise requests.exceptions.ConnectionError(error) from error

        return split_lines(await self._link.on(container, "read the log of", read, slow=True))

    # -- changing

    async def start(self, container: Container) -> None:
        """Start it; nothing happens if it runs."""
        await self._link.on(container, "started", lambda api: api.start(container.id))

    async def stop(self, container: Container, grace_s: int = STOP_GRACE_S) -> None:
        """SIGTERM, and SIGKILL after `grace_s`; nothing happens if it does not run."""
        await self._link.on(container, "stopped", lambda api: api.stop(container.id, timeout=grace_s))

    async def kill(self, container: Container, signal: str = "SIGKILL") -> None:
        """Signal its main process. The engine's restart policy does not bring it back."""
        await self._link.on(container, "killed", lambda api: api.kill(container.id, signal))

    async def pause(self, container: Container) -> None:
        """Freeze every process inside."""
        await self._link.on(container, "paused", lambda api: api.pause(container.id))

    async def unpause(self, container: Container) -> None:
        """Let a frozen container go on."""
        await self._link.on(container, "resumed", lambda api: api.unpause(container.id))

    async def update(self, container: Container, resources: Resources) -> None:
        """Change limits of a living container; the engine takes 0 for "leave as it is"."""
        fields = {name: value for name, value in host_fields(resources).items() if value}

        def do(api: docker.APIClient) -> None:
            # docker-py's own update() knows no NanoCpus, and is refused where they were set
            url = f"{api.base_url}/v{api.api_version}/containers/{container.id}/update"
            _require_ok(api.post(url, json=fields, timeout=CALL_TIMEOUT_S))

        await self._link.on(container, "given other limits", do)

    async def connect(self, container: Container, network: str, aliases: Sequence[str] = ()) -> None:
        """Put it on a network under its aliases."""

        def do(api: docker.APIClient) -> None:
            api.connect_container_to_network(container.id, network, aliases=list(aliases))

        await self._link.on(container, f"connected to {network}", do)

    async def disconnect(self, container: Container, network: str) -> None:
        """Take it off a network while it runs."""

        def do(api: docker.APIClient) -> None:
            api.disconnect_container_from_network(container.id, network)

        await self._link.on(container, f"disconnected from {network}", do)

    async def exec(
        self,
        container: Container,
        command: Sequence[str],
        *,
        detach: bool = False,
    ) -> Ran:
        """Run a command inside. Detached, it goes on by itself and the answer is empty.

        Raises:
            VerbFailedError: it could not be run (it does not run, no such program), or took longer than SLOW_TIMEOUT_S.
        """

        def do(api: docker.APIClient) -> Ran:
            made = api.exec_create(container.id, list(command))
            output = api.exec_start(made["Id"], detach=detach)
            if detach:
                return Ran(0, "")
            return Ran(int(api.exec_inspect(made["Id"])["ExitCode"] or 0), _text(output))

        return await self._link.on(container, f"made to run {command[0]}", do, slow=True)

    async def create(self, blueprint: Blueprint, *, start: bool = True) -> Container:
        """Make a container of this project.

        Raises:
            VerbFailedError: its image, a volume or a network is not there, or the name is taken.
        """
        if (blueprint.config.get("Labels") or {}).get(PROJECT) != self.project:
            raise VerbFailedError(f"{blueprint.name} is no container of the project {self.project}")
        made = await self._link.named(
            f"{blueprint.name} could not be created",
            lambda api: _create(api, blueprint.body, blueprint.name),
        )
        try:
            found = container_of(
                await self._link.named(f"{blueprint.name} vanished", lambda api: api.inspect_container(made))
            )
            if not start:
                return found
            await self.start(found)
            return await self.inspect(found)
        except BaseException:
            await asyncio.shield(self._discard(made))
            raise

    async def recreate(self, container: Container, blueprint: Blueprint, *, start: bool = True) -> Container:
        """Replace a container by another one of the same name. If that fails, the old one is back, and runs if it ran;
        unless somebody else has taken its name, whose container is left alone.

        Raises:
            VerbFailedError: see `create`. ContainerGoneError: it was removed meanwhile.
        """
        aside = f"{container.name}{REPLACED}"
        for ident in [ident for name, ident in (await self._names()).items() if name == aside]:
            await self._remove(ident)  # left over by an earlier replacement
        if container.status == "paused":  # a frozen process would not hear SIGTERM
            await self.unpause(container)
        try:
            await self.stop(container)
            await self._link.on(container, "renamed", lambda api: api.rename(container.id, aside))
            made = await self.create(replace(blueprint, name=container.name), start=start)
        except BaseException:  # also of a silent engine, which may have done what it was asked to
            await asyncio.shield(self._put_back(container))
            raise
        await self._discard(container.id)
        return made

    async def mend(self) -> tuple[str, ...]:
        """Finish what a crash left half-done: a container that was being replaced is removed if its successor is there,
        else it has its name back. Returns what was done, one sentence each."""
        names = await self._names()
        done = []
        for aside in [name for name in names if name.endswith(REPLACED)]:
            name = aside.removesuffix(REPLACED)
            try:
                if name in names:
                    await self._remove(names[aside])
                    done.append(f"{aside} removed: {name} has taken its place")
                else:
                    await self._link.named(f"{aside} could not be renamed", partial(_rename, names[aside], name))
                    done.append(f"{aside} is {name} again")
            except VerbFailedError as error:  # no reason not to look after all the others
                done.append(f"{aside} is left: {error}")
        return tuple(done)

    # -- sidecars

    async def run_sidecar(
        self,
        container: Container,
        command: Sequence[str],
        *,
        image: str,
        caps: Sequence[str] = (),
        namespace: Namespace = "network",
        volumes: bool = False,
        user: str = "0",
        timeout_s: int = 15,
    ) -> Ran:
        """Run a command of our own tool image in a container's network or process namespace (with its volumes if
        `volumes`), and remove every trace.

        Raises:
            VerbFailedError: the container does not run, the image is not there, or it took longer than `timeout_s`.
        """
        wanted = Sidecar(image, command, caps=caps, namespace=namespace, volumes=volumes, user=user)
        body = wanted.body(container, stays=False)

        def do(api: docker.APIClient) -> Ran:
            made = _create(api, body)
            try:
                api.start(made)
                code = int(api.wait(made, timeout=timeout_s)["StatusCode"])
                return Ran(code, _text(api.logs(made)))
            finally:
                with suppress(DockerException, requests.exceptions.RequestException):
                    api.remove_container(made, force=True)

        return await self._link.on(container, "given a sidecar", do, slow=True)

    async def start_sidecar(
        self,
        container: Container,
        command: Sequence[str],
        *,
        image: str,
        purpose: str,
        caps: Sequence[str] = (),
        namespace: Namespace = "network",
        user: str = "0",
    ) -> Tool:
        """Start a sidecar that stays until `end_sidecar`, and is removed when it ends."""
        body = Sidecar(image, command, purpose, caps, namespace, user=user).body(container, stays=True)

        def do(api: docker.APIClient) -> str:
            made = _create(api, body)
            api.start(made)
            return made

        return Tool(await self._link.on(container, "given a sidecar", do), purpose, container.id, True)

    async def sidecars(self, container: Container | None = None, purpose: str | None = None) -> tuple[Tool, ...]:
        """Return the sidecars of this project (of one container, of one purpose)."""
        labels = [f"{TOOL_PROJECT}={self.project}"]
        labels += [f"{TOOL_TARGET}={container.id}"] if container else []
        labels += [f"{TOOL}={purpose}"] if purpose else []
        rows = await self._link.ask("list sidecars", lambda api: api.containers(all=True, filters={"label": labels}))
        return tuple(tool_of(row) for row in rows)

    async def end_sidecar(self, tool: Tool) -> None:
        """End and remove a sidecar; nothing happens if it is gone."""
        await self._remove(tool.id)

    # -- events

    async def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """Follow what happens to the project's containers, from now on, as the engine words it. Ends when the
        engine goes away.

        Raises:
            PlatformDownError: no engine.
        """
        filters = {"type": ["container"], "event": list(EVENTS), "label": [f"{PROJECT}={self.project}"]}
        stream = await self._link.ask("tell its events", lambda api: api.events(decode=True, filters=filters))
        broken = (DockerException, requests.exceptions.RequestException, OSError, ValueError, AttributeError)
        async with aclosing(following(stream, stream.close, broken)) as events:
            async for event in events:
                yield event

    # -- inside

    def _own_filter(self) -> dict[str, list[str]]:
        return {"label": [f"{PROJECT}={self.project}"]}

    async def _all(self, filters: Mapping[str, Any]) -> tuple[Container, ...]:
        rows = await self._link.ask("list containers", lambda api: api.containers(all=True, filters=dict(filters)))
        found = await asyncio.gather(*(self._inspected(row["Id"]) for row in rows if is_of_interest(row)))
        return newest(item for item in found if item is not None)

    async def _inspected(self, ident: str) -> Container | None:
        try:
            raw = await self._link.ask("inspect a container", lambda api: api.inspect_container(ident))
        except NotFound:
            return None  # removed since it was listed
        return container_of(raw)

    async def _names(self) -> dict[str, str]:
        """Return the ids of all containers of the project by name, those that do not count included."""
        rows = await self._link.ask("list containers", lambda api: api.containers(all=True, filters=self._own_filter()))
        return {row["Names"][0].lstrip("/"): row["Id"] for row in rows if row["Names"]}

    async def _put_back(self, container: Container) -> None:
        """Give a container its name back and let it run if it ran, as far as that can be done; never raises."""
        try:
            if (await self.inspect(container)).name != container.name:
                await self._link.on(container, "renamed", lambda api: api.rename(container.id, container.name))
            if container.running:
                await self.start(container)
        except PlatformError as error:
            self._log.warning("container_not_put_back", container=container.name, error=str(error))

    async def _discard(self, ident: str) -> None:
        """Remove a container of ours that has no place any more; never raises: what is left is mended later."""
        try:
            await self._remove(ident)
        except PlatformError as error:
            self._log.warning("container_left", container=ident[:12], error=str(error))

    async def _remove(self, ident: str) -> None:
        """Remove a container whatever it does; nothing happens if it is gone or going."""
        try:
            await self._link.call("remove a container", lambda api: api.remove_container(ident, force=True))
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:  # it is being removed already
                raise VerbFailedError(f"container {ident[:12]} could not be removed: {reason(error)}") from error


def _require_ok(answer: requests.Response) -> None:
    try:
        answer.raise_for_status()
    except requests.exceptions.HTTPError as error:
        create_api_error_from_http_exception(error)


def _text(output: Any) -> str:
    return output.decode("utf-8", errors="replace") if isinstance(output, bytes) else str(output or "")


def _create(api: docker.APIClient, body: Mapping[str, Any], name: str | None = None) -> str:
    return str(api.create_container_from_config(dict(body), name)["Id"])  # type: ignore[no-untyped-call]


def _image(api: docker.APIClient, reference: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = api.inspect_image(reference)  # type: ignore[no-untyped-call]
    return found


def _rename(ident: str, name: str, api: docker.APIClient) -> None:
    api.rename(ident, name)
