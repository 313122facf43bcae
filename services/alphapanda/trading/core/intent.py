"""Intents: the broker calls of an order, one for the whole order or one for each slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus

PRODUCER = "trading"
_FAILED: Final = OrderStatus.FAILED
_PENDING_SUBMIT: Final = OrderStatus.PENDING_SUBMIT
UNANSWERED = (OrderStatus.SUBMITTING, OrderStatus.UNKNOWN)
"""Statuses in which the broker may or may not have the order; only a look-up can tell."""


class ImpossibleReport(ValueError):
    """A broker's report that can't be true of our order: more filled than was sent, or a fill of what was never sent."""


@dataclass(slots=True)
class Intent:
    """One broker call, for the whole order or a slice of it.

    Attributes:
        order_id: the order's id.
        number: 0, 1, 2 …, in the order of sending.
        quantity: units, > 0.
        status: of this call.
        epoch: number of the attempt that took it to SUBMITTING, unique over all processes; 0 before.
        broker_order_id: the broker's id; empty while unknown.
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
        """Its id, derived from the order's id and the intent's number."""
        return ids.output_id(PRODUCER, self.order_id, "intent", self.number)

    @property
    def tag(self) -> str:
        """The tag sent with the call, by which the broker can be asked for it."""
        return ids.intent_tag(self.intent_id)

    @property
    def unanswered(self) -> bool:
        """Whether the broker may or may not have it (SUBMITTING or UNKNOWN)."""
        return self.status in UNANSWERED

    @property
    def is_absent(self) -> bool:
        """Whether it may have been sent and ended as absent; a broker order of it is adopted as an order of its own."""
        return self.status is _FAILED and self.epoch > 0

    @property
    def ended_short(self) -> bool:
        """Whether the broker ended it, cancelled or rejected, with units left: a trade of it may yet be told."""
        ended = self.status is OrderStatus.CANCELLED or (
            self.status is OrderStatus.REJECTED and self.filled > 0
        )
        return ended and self.filled < self.quantity


def intents_of(order_id: str, parts: Sequence[int], first: int) -> list[Intent]:
    """New intents of an order, of `parts` units each, numbered from `first`."""
    return [Intent(order_id, number, quantity) for number, quantity in enumerate(parts, first)]
