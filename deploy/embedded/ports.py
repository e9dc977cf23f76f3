"""Are the stack's ports free, and if not, who has them."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import psutil

from deploy.embedded.errors import PortInUseError, StackError
from deploy.embedded.programs import HOST, Unit
from services.inventory.ports import SPAN


def require_base(port_base: int) -> None:
    """Refuse a first port from which the stack's ports would not fit.

    Raises:
        StackError.
    """
    if not 1_024 <= port_base <= 65_535 - SPAN:
        raise StackError(f"the first port must lie in 1024..{65_535 - SPAN}, not {port_base}; set TRIAGE_PORT_BASE")


def require_free(units: Iterable[Unit]) -> None:
    """Refuse to go on if any port of any program is taken.

    Raises:
        PortInUseError: the first one that is.
    """
    for unit in units:
        for port in unit.ports:
            if not is_free(port):
                raise PortInUseError(port, unit.name, owner_of(port))


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections in TIME_WAIT are no owner
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def owner_of(port: int) -> str | None:
    """Return the process that listens on a port, as `name (pid n)`; None if that cannot be seen."""
    try:
        pid = next(
            item.pid
            for item in psutil.net_connections("tcp")
            if item.status == psutil.CONN_LISTEN and item.laddr.port == port and item.pid
        )
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except (StopIteration, psutil.Error, OSError):
        return None
