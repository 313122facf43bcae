"""The attempts of this process to send orders, and which of them certainly never began their broker call (rule 18)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import KeysView, Sequence
from typing import Final

from alphapanda.domain.order import OrderStatus
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.decision import Call

_ATTEMPTS_OF_AN_EPOCH: Final = 2**32
"""Attempt numbers of one epoch; an attempt's number is epoch * this + 1, 2, 3 …, unique over all processes."""


class Attempts:
    """Numbers attempts, and keeps those whose call this process has not begun; an attempt is never added again."""

    def __init__(self) -> None:
        self._epoch = 0
        self._made = 0
        self._uncalled: defaultdict[str, set[int]] = defaultdict(set)

    def begin(self, epoch: int) -> None:
        """Begins an epoch, which no other process has."""
        self._epoch = epoch

    def numbered(self, orders: Sequence[Order]) -> list[tuple[Order, int]]:
        """The orders, each with the number of its next attempt."""
        return [(order, self.next_number()) for order in orders]

    def next_number(self) -> int:
        """The number of the next attempt."""
        self._made += 1
        return self._epoch * _ATTEMPTS_OF_AN_EPOCH + self._made

    def decided(self, call: Call) -> None:
        """Notes an attempt as uncalled, before it is committed."""
        self._uncalled[call.order.order_id].add(call.intent.epoch)

    def not_stored(self, call: Call) -> None:
        """Forgets an attempt that was not committed."""
        self._uncalled[call.order.order_id].discard(call.intent.epoch)

    def forget(self, order_id: str) -> None:
        """Forgets an order's attempts: its call may be made from here on, or it has ended."""
        self._uncalled.pop(order_id, None)

    def orders(self) -> KeysView[str]:
        """The orders with noted attempts."""
        return self._uncalled.keys()

    def was_never_called(self, order: Order, intent: Intent) -> bool:
        """Whether this process took the intent to SUBMITTING and knows that it never began the call."""
        return intent.status is OrderStatus.SUBMITTING and intent.epoch in self._uncalled.get(
            order.order_id, ()
        )
