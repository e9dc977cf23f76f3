"""Are the stack's ports free, and if not, who has them."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.embedded.errors import PortInUseError, StackError
from deploy.embedded.programs import Unit
from deploy.sockets import is_free, owner_of
from services.inventory.ports import SPAN


def require_base(port_base: int) -> None:
    """Refuse a first port from which the stack's ports would not fit.

    Raises:
        StackError.
    """
    if not 1_024 <= port_base <= 65_535 - SPAN:
        raise StackError(f"the first port must lie in 1024..{65_535 - SPAN}, not {port_base}; set TRIAGE_PORT_BASE")


def require_free(units: Iterable[Unit]) -> None:
    """Refuse to go on if any port of any program is taken. The page's does not count: nothing waits for it.

    Raises:
        PortInUseError: the first one that is.
    """
    for unit in (unit for unit in units if unit.tier != "page"):
        for port in unit.ports:
            if not is_free(port):
                raise PortInUseError(port, unit.name, owner_of(port))
