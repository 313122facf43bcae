"""One broker call: what an order is sent as, whole or in slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus

PRODUCER = "trading"
UNANSWERED = (OrderStatus.SUBMITTING, OrderStatus.UNKNOWN)
"""The broker may have it without our knowing."""


class ImpossibleReport(ValueError):
    """A broker's report that can't be true of our order: more filled than was sent, or a fill after the end."""


@dataclass(slots=True)
class Intent:
    """One broker call: the whole order or a slice.

    Attributes:
        order_id: the order's.
        number: 0, 1, 2 …, in the order of sending.
        quantity: units, > 0.
        status: of this call.
        epoch: number of the attempt that took it to SUBMITTING, of all processes' one; 0 before.
        broker_order_id: the broker's; empty while unknown.
        filled: units filled.
    """

    order_id: str
    number: int
    quantity: int
    status: OrderStatus = OrderStatus.PENDING_SUBMIT
    epoch: int = 0
    broker_order_id: str = ""
    filled: int = 0

    @property
    def intent_id(self) -> str:
        """Its identity, which follows from the order's and its number."""
        return ids.output_id(PRODUCER, self.order_id, "intent", self.number)

    @property
    def tag(self) -> str:
        """The name under which the broker knows it."""
        return ids.intent_tag(self.intent_id)

    @property
    def unanswered(self) -> bool:
        """Whether the broker may have it without our knowing."""
        return self.status in UNANSWERED


def intents_of(order_id: str, parts: Sequence[int], first: int) -> list[Intent]:
    """New intents of an order, of `parts` units each, numbered from `first`."""
    return [Intent(order_id, number, quantity) for number, quantity in enumerate(parts, first)]
