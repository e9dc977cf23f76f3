"""Which port of this machine a server could listen on, and if not on one, who does."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections in TIME_WAIT are no owner
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of the loopback address that nobody has now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def owner_of(port: int) -> str | None:
    """Return the process that listens on a port, as `name (pid n)`; None if that cannot be seen."""
    try:
        import psutil  # not in a container's image, where nobody asks
    except ImportError:
        return None
    try:
        pid = next(
            item.pid
            for item in psutil.net_connections("tcp")
            if item.status == psutil.CONN_LISTEN and item.laddr.port == port and item.pid
        )
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except (StopIteration, psutil.Error, OSError):
        return None
