"""What lies in the shop's queue: declared by the inventory, used by the queue's clients.

Plain data, since the shop's image holds nothing of the control plane.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple
from uuid import UUID


class Announced(NamedTuple):
    """Messages that a durable consumer of a stream works on."""

    stream: str
    subject: str
    consumer: str
    aside: str
    """Subject in the same stream to which a message is moved that nobody can read; no consumer takes it from there."""


ORDERS_CREATED: Final = Announced("SHOP", "shop.orders.created", "fulfilment", "shop.orders.unreadable")


class Delivery(NamedTuple):
    """How the queue's server gives messages to a durable consumer."""

    ack_wait_s: float
    """Given again after so long without an acknowledgement, seconds."""
    max_ack_pending: int
    """Given at once and not acknowledged, at most."""
    max_deliver: int
    """How often a message is given; -1: until it is acknowledged."""


ORDERS_DELIVERY: Final = Delivery(ack_wait_s=5.0, max_ack_pending=1_000, max_deliver=-1)


MALFORMED: Final = (ValueError, KeyError, TypeError)
"""What is raised for a message that is no order; its consumer drops it."""


def order_in(message: bytes) -> UUID:
    """Return the order that a message announces.

    Raises:
        MALFORMED: it is no order. Anything else: reading it breaks, and its consumer will get it again and again.
    """
    return UUID(json.loads(message)["id"])


def breaks(message: bytes) -> str | None:
    """Return how reading a message breaks; None if it is read, or dropped as malformed."""
    try:
        order_in(message)
    except MALFORMED:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
