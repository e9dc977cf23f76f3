"""Starting and ending supervisord, and finding what a dead one left behind."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from deploy.embedded.errors import StartFailedError
from deploy.embedded.layout import Layout
from services.platform.embedded import processes
from services.platform.embedded.home import STACK_MARKER
from services.platform.embedded.sections import Section, render_main, render_program

START_TIMEOUT_S = 20.0
LEFTOVER_GRACE_S = 4.0
DATABASES = ("audit-db", "shop-db")


def render_config(layout: Layout, sections: Iterable[Section]) -> str:
    """Return the text of the supervisord configuration."""
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
    parts = [render_main(layout.supervisor_socket, layout.run, layout.supervisor_log, user)]
    parts += [render_program(section, layout.log(section.name), layout.root) for section in sections]
    return "\n".join(parts)


def start_supervisord(layout: Layout, environment: Mapping[str, str]) -> None:
    """Start supervisord as a daemon; it answers on its socket when this returns.

    Raises:
        StartFailedError: it refused its configuration or could not listen.
    """
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(layout.supervisor_config)],
        env=dict(environment),
        cwd=layout.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        reason = f"it ended with {done.returncode}"
        raise StartFailedError("supervisord", reason, tuple((done.stdout + done.stderr).splitlines()[-10:]))


def leftovers(layout: Layout) -> list[psutil.Process]:
    """Return every living process of this stack, supervisord included, by the marker in its environment; those of a
    database, which hide theirs and keep its memory in use when its first process is killed, by where they work."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    databases = {str(layout.data(name)) for name in DATABASES}
    found = {item.pid: item for item in processes.carrying({STACK_MARKER: str(layout.root)})}
    found |= {item.pid: item for item in processes.working_in(databases, "postgres")}
    return [item for pid, item in found.items() if pid not in own]


def end_leftovers(layout: Layout) -> int:
    """End whatever still runs of this stack; returns how many processes there were."""
    found = leftovers(layout)
    if found:
        processes.end(found, LEFTOVER_GRACE_S)
        processes.end(leftovers(layout), 0.0)
    return len(found)


def tail(path: Path, lines: int = 8) -> tuple[str, ...]:
    """Return the last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return tuple(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ()
