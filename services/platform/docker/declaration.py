"""What each container was declared to be: a snapshot of the first one that compose made, kept on disk.

Compose itself does not see a container that was made again through the engine's API: it carries the same labels. That
is why the first container seen for a key (service, number, configuration hash, image) is the declaration, and whatever
differs later under the same key is drift. When compose makes a container from another configuration or image, the key
is another one, and so is the declaration.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.platform.docker.container import IMAGE, Container, container_of, microseconds

KEPT = ("Id", "Name", "Created", "Image", "Config", "HostConfig", "Mounts", "State", "RestartCount")


@dataclass(frozen=True, slots=True)
class Starts:
    """How often a workload's container was seen to have been started."""

    id: str
    started_at_us: int
    restart_count: int
    starts: int

    @property
    def restarts(self) -> int:
        """Starts but the first."""
        return self.starts - 1


def key_of(container: Container) -> str:
    """Return what makes two containers of one service and number two declarations."""
    return f"{container.config_hash}/{container.labels.get(IMAGE, '')}"


def counted(before: Starts | None, container: Container) -> Starts | None:
    """Return the count with a look at the container added. One that does not run adds nothing."""
    if container.started_at_us is None:
        return before
    if before is None:
        return Starts(container.id, container.started_at_us, container.restart_count, 1)
    if (container.id, container.started_at_us) == (before.id, before.started_at_us):
        return before
    # restarts by the engine's own policy may come faster than looks
    policy = container.restart_count - before.restart_count if container.id == before.id else container.restart_count
    return Starts(container.id, container.started_at_us, container.restart_count, before.starts + max(1, policy))


class Declarations:
    """The snapshots in one folder; only the owner may read them, for environments hold secrets. Safe to use from
    several processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts = folder / "starts.json"
        self._read: dict[Path, tuple[tuple[int, int], str, Container]] = {}

    def adopt(self, containers: Iterable[Container]) -> None:
        """Take over the declaration of every workload that is seen for the first time under its key, and count its
        starts. A container that has never run is looked at again: compose may still be connecting its networks."""
        found = [item for item in containers if item.kind]
        with self._locked():
            for item in found:
                known = self._load(self._path(item.service, item.number))
                if known is None or known[0] != key_of(item) or (known[1].id == item.id and _is_unborn(known[1])):
                    self._save(item)
            self._count(found)

    def all(self) -> dict[tuple[str, int], Container]:
        """Return every declaration by service and number."""
        loaded = (self._load(path) for path in sorted((self._folder / "declared").glob("*.json")))
        return {(known[1].service, known[1].number): known[1] for known in loaded if known is not None}

    def of(self, service: str) -> dict[tuple[str, int], Container]:
        """Return the declarations of one service."""
        return {key: item for key, item in self.all().items() if key[0] == service}

    def starts(self) -> Mapping[tuple[str, int], Starts]:
        """Return how often each container was seen to have been started."""
        return {_pair(name): Starts(**row) for name, row in self._rows().items()}

    def forget(self, present: Iterable[Container]) -> tuple[str, ...]:
        """Drop the declarations of services that went with an older making of the project; returns their services.

        Compose makes all containers before it starts any. So a service that was last seen to start before the oldest of
        the project's containers was made was not among them; one that started later was removed by hand, and is missed.

        Args:
            present: all the project's containers, workloads or not.
        """
        present = tuple(present)
        services = {item.service for item in present}
        oldest_us = min((microseconds(item.created_at) for item in present), default=None)
        with self._locked():
            starts = self.starts()

            def is_missed(key: tuple[str, int], item: Container) -> bool:
                seen_us = starts[key].started_at_us if key in starts else microseconds(item.created_at)
                return oldest_us is not None and seen_us >= oldest_us

            dropped = [
                item for key, item in self.all().items() if item.service not in services and not is_missed(key, item)
            ]
            for item in dropped:
                self._path(item.service, item.number).unlink(missing_ok=True)
        return tuple(sorted({item.service for item in dropped}))

    # -- files

    def _count(self, containers: Iterable[Container]) -> None:
        rows = self._rows()
        for item in containers:
            name = f"{item.service}.{item.number}"
            before = Starts(**rows[name]) if name in rows else None
            after = counted(before, item)
            if after is not None and after != before:
                rows[name] = {slot: getattr(after, slot) for slot in after.__slots__}
                self._write(self._starts, rows)

    def _rows(self) -> dict[str, Any]:
        try:
            rows: dict[str, Any] = json.loads(self._starts.read_bytes())
        except (OSError, ValueError):
            return {}
        return rows

    def _path(self, service: str, number: int) -> Path:
        return self._folder / "declared" / f"{service}.{number}.json"

    def _load(self, path: Path) -> tuple[str, Container] | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            cached = self._read.get(path)
            if cached is None or cached[0] != stamp:
                row = json.loads(path.read_bytes())
                cached = self._read[path] = (stamp, row["key"], container_of(row["container"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a damaged file is as none: the next look writes it again
        return cached[1], cached[2]

    def _save(self, container: Container) -> None:
        raw = {name: container.raw[name] for name in KEPT if name in container.raw}
        raw["NetworkSettings"] = {"Networks": (container.raw.get("NetworkSettings") or {}).get("Networks") or {}}
        self._write(self._path(container.service, container.number), {"key": key_of(container), "container": raw})

    def _write(self, path: Path, content: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "declared.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _is_unborn(container: Container) -> bool:
    return container.status == "created"


def _pair(name: str) -> tuple[str, int]:
    service, _, number = name.rpartition(".")
    return service, int(number)
