"""Examine the machine and the stack: what is there, what is missing, what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import httpx

from broker.errors import BrokerError
from broker.runtime.settings import load_settings
from deploy.embedded.errors import StackError
from harness.site import Deployment, Finding, deployment, outside

MIN_FREE_BYTES = 500 * 2**20


async def examine(home: Path, base: int) -> tuple[Finding, ...]:
    """Return all findings; never raises for what it finds."""
    stack = deployment(home, base)
    findings = [_python(), *stack.installed(), _home(stack), _disk(home), _settings()]
    findings += [_keys(stack)] if (home / "keys").is_dir() else []
    model = [] if outside() else [await _model()]  # the planner's network, not this one, must reach it
    return (*findings, *await stack.running(), *model)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _home(stack: Deployment) -> Finding:
    parent = next((path for path in (stack.home, *stack.home.parents) if path.exists()), Path("/"))
    if not os.access(parent, os.W_OK):
        return Finding("home", False, f"{parent} is not writable; choose another with --home")
    try:
        stack.keys()
    except StackError as error:
        return Finding("home", False, str(error))
    return Finding("home", True, str(stack.home))


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


def _keys(stack: Deployment) -> Finding:
    try:
        ring = stack.keys().load("operator")
    except (BrokerError, StackError) as error:
        return Finding("keys", False, str(error))
    return Finding("keys", True, f"version {ring.current} is current")


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
