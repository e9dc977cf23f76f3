"""Text of a supervisord configuration. Pure: values in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOG_MAX_BYTES = 8 * 1024 * 1024
"""A program's log is rotated at this size, one older file is kept."""
STOP_WAIT_S = 5


@dataclass(frozen=True, slots=True)
class Section:
    """One program under supervision."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    keep_alive: bool = False
    """True: started again at once whenever it ends (control plane). False: stays down, as a container without a
    restart policy, so that the fault "killed" is real and only an action mends it."""
    stop_signal: str = "TERM"
    settled_s: int = 1
    """A program that is kept alive and ends sooner than this counts as not started: it is tried again ever later."""


def quote(value: str) -> str:
    """Return a value as supervisord's parser reads it back.

    Raises:
        ValueError: the parser has no way to write it.
    """
    if '"' in value:
        raise ValueError(f"supervisord cannot carry this value: {value[:40]!r}")
    return f'"{_plain(value)}"'


def _plain(value: str) -> str:
    """Return text as one line of the file, or raise ValueError."""
    if any(ord(c) < 32 for c in value):
        raise ValueError(f"supervisord cannot carry this value: {value[:40]!r}")
    if " ;" in value or " #" in value:
        raise ValueError(f"supervisord would take the end of this value for a comment: {value[:40]!r}")
    return value.replace("%", "%%")


def _environment(values: Mapping[str, str]) -> str:
    return ",".join(f"{key}={quote(value)}" for key, value in values.items())


def render_program(section: Section, log: Path, directory: Path) -> str:
    """Return the `[program:x]` section.

    Raises:
        ValueError: the parser has no way to write a value.
    """
    retry = (section.settled_s, 1000) if section.keep_alive else (0, 0)
    lines = [
        f"[program:{section.name}]",
        f"command={_plain(shlex.join(section.command))}",
        f"directory={_plain(str(directory))}",
        "autostart=false",  # the stack starts programs in its own order
        f"autorestart={'true' if section.keep_alive else 'false'}",
        f"startsecs={retry[0]}",
        f"startretries={retry[1]}",
        f"stopsignal={section.stop_signal}",
        f"stopwaitsecs={STOP_WAIT_S}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_plain(str(log))}",
        f"stdout_logfile_maxbytes={LOG_MAX_BYTES}",
        "stdout_logfile_backups=1",
    ]
    if section.environment:
        lines.append(f"environment={_environment(section.environment)}")
    return "\n".join(lines) + "\n"


def render_main(socket: Path, run: Path, log: Path, user: str | None) -> str:
    """Return the sections of supervisord itself. `user` is named only when it runs as root."""
    lines = [
        "[unix_http_server]",
        f"file={socket}",
        "chmod=0700",
        "",
        "[supervisord]",
        f"logfile={log}",
        "logfile_maxbytes=4MB",
        "logfile_backups=1",
        "loglevel=info",
        f"pidfile={run / 'supervisord.pid'}",
        "nodaemon=false",
        "silent=true",
        "umask=077",
        f"directory={run}",
        f"childlogdir={run}",
        "nocleanup=true",
        "minfds=1024",
        *([f"user={user}"] if user else []),
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[rpcinterface:triage]",
        "supervisor.rpcinterface_factory=services.platform.embedded.rpc:make_interface",
        "",
    ]
    return "\n".join(lines) + "\n"
