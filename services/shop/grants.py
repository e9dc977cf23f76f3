"""What the shop's services may do in its databases: given when those are made, and declared by the inventory.

Plain data, since the shop's image holds nothing of the control plane.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Granted(NamedTuple):
    """What a role may do with a table."""

    database: str
    table: str
    role: str
    privileges: tuple[str, ...]

    @property
    def statement(self) -> str:
        """Return it as SQL; to say it again changes nothing."""
        return f"GRANT {', '.join(self.privileges)} ON {self.table} TO {self.role}"


GRANTS: Final = (
    Granted("catalog", "products", "catalog", ("SELECT",)),
    Granted("orders", "orders", "orders", ("SELECT", "INSERT", "UPDATE")),
)
