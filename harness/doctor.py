"""Examine the machine and the stack: what is there, what is missing, what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from broker import keyring
from broker.errors import BrokerError
from broker.keyfile import read_passphrase
from broker.runtime.settings import load_settings
from deploy.embedded import postgres, servers
from deploy.embedded.errors import StackError
from deploy.embedded.layout import layout
from deploy.embedded.stack import Stack
from harness.site import is_up
from services.inventory.ports import OFFSETS

MIN_FREE_BYTES = 500 * 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `required`: without it the stack does not run."""

    name: str
    ok: bool
    detail: str
    required: bool = True


async def examine(home: Path, base: int) -> tuple[Finding, ...]:
    """Return all findings; never raises for what it finds."""
    findings = [_python(), *_binaries(), _home(home), _disk(home), _settings()]
    findings += [_keys(home)] if (home / "keys").is_dir() else []
    findings += await _programs(home) if is_up(home) else [_ports(base)]
    return (*findings, await _model())


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _binaries() -> list[Finding]:
    found = []
    wanted: tuple[tuple[str, Callable[[], str]], ...] = (
        ("nats-server", lambda: servers.nats_command(Path("x"))[0]),
        ("postgres", lambda: str(postgres.binary("postgres"))),
        ("valkey-server", lambda: servers.valkey_command(Path("x"))[0]),
    )
    for name, locate in wanted:
        try:
            path = locate()
            found.append(Finding(name, os.access(path, os.X_OK), path))
        except (StackError, OSError, ImportError) as error:
            found.append(Finding(name, False, f"{error}; install the packages of requirements.lock"))
    return found


def _home(home: Path) -> Finding:
    parent = next((path for path in (home, *home.parents) if path.exists()), Path("/"))
    if not os.access(parent, os.W_OK):
        return Finding("home", False, f"{parent} is not writable; choose another with --home")
    try:
        layout(home)
    except StackError as error:
        return Finding("home", False, str(error))
    return Finding("home", True, str(home))


def _disk(home: Path) -> Finding:
    parent = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(parent).free
    return Finding(
        "disk", free >= MIN_FREE_BYTES, f"{free / 2**30:.1f} GiB free, {MIN_FREE_BYTES / 2**30:.1f} are needed"
    )


def _settings() -> Finding:
    try:
        load_settings()
    except BrokerError as error:
        return Finding("settings", False, str(error))
    return Finding("settings", True, "flags, environment and triage.toml are valid")


def _keys(home: Path) -> Finding:
    try:
        ring = keyring.load(home / "keys" / "operator.keys", read_passphrase(home / "passphrase"))
    except (BrokerError, OSError) as error:
        return Finding("keys", False, str(error))
    return Finding("keys", True, f"version {ring.current} is current")


def _ports(base: int) -> Finding:
    taken = [(name, base + offset) for name, offset in OFFSETS.items() if not _free(base + offset)]
    if not taken:
        return Finding("ports", True, f"{base}..{base + max(OFFSETS.values())} are free")
    name, port = taken[0]
    return Finding("ports", False, f"port {port} ({name}) is in use; set TRIAGE_PORT_BASE to another first port")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _programs(home: Path) -> list[Finding]:
    try:
        status = await Stack(home).status()
    except StackError as error:
        return [Finding("stack", False, str(error))]
    sick = [program for program in status.programs if not program.healthy]
    detail = "; ".join(f"{program.name} is {program.state}: {program.detail}" for program in sick)
    return [Finding("stack", not sick, detail or f"{len(status.programs)} programs are healthy")]


async def _model() -> Finding:
    """A model is optional: without one the rulebook plans."""
    try:
        url = load_settings().model_url
    except BrokerError:
        return Finding("model", False, "the settings are wrong", required=False)
    try:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            answer = await client.get(f"{url.rstrip('/')}/models")
            names = [str(model.get("id")) for model in answer.json().get("data", [])]
    except (httpx.HTTPError, ValueError, AttributeError):
        return Finding("model", False, f"no model answers at {url}; the rulebook plans", required=False)
    return Finding("model", bool(names), f"{url}: {', '.join(names[:3]) or 'no model is loaded'}", required=False)
