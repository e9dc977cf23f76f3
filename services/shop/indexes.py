"""What the shop's databases must find quickly: made when those are made, and declared by the inventory.

Plain data, since the shop's image holds nothing of the control plane.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Index(NamedTuple):
    """An index that the shop's statements need."""

    database: str
    table: str
    name: str
    keys: str

    @property
    def statement(self) -> str:
        """Return it as SQL; to say it again changes nothing."""
        return f"CREATE INDEX IF NOT EXISTS {self.name} ON {self.table} ({self.keys})"


INDEXES: Final = (Index("orders", "orders", "orders_customer_key", "customer_key(customer), created_at DESC"),)
