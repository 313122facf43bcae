"""Cancels orders that rest while a target waits for their end, as trading does when risk asks it to make way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alphapanda.domain.market import MarketView
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.risk.core.book import RiskBook
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.core.synchronous import SynchronousTrading


def make_way(
    risk: RiskBook,
    trading: SynchronousTrading,
    market: MarketView,
    apply: Callable[[Sequence[OrderUpdate]], None],
) -> None:
    """Cancels the orders that targets wait for, and has the updates of each applied."""
    for one in risk.take_superseded():
        apply(trading.cancel(order_id_of(one.order_signal_id), market))
