"""How far an exit at the market that rests goes to find a buyer: step by step up to the circuit, where nobody can (REAL_MONEY rule 12).

A market order at a live broker is a limit order at the price of its protection, so it may rest. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct

from alphapanda.domain.order import OrderStatus, OrderType, Side
from alphapanda.trading.core.order import Order

_WHOLE = Decimal(1)
_PERCENT = Decimal(100)


class DayRange(Struct, frozen=True, gc=False):
    """An instrument's last price, and the lowest and the highest that the exchange takes today (its circuit), rupees."""

    last: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Repriced:
    """What an escalation came to.

    Attributes:
        price: the limit that the order has now, rupees.
        locked: whether that is the circuit and was so before: no price is left to try.
    """

    price: Decimal
    locked: bool = False


def escalates(order: Order) -> bool:
    """Whether it is an exit that may trade at the market, works at the exchange, and isn't a stop that still waits."""
    intent = order.current
    return (
        not order.effect.is_entry
        and order.terms.order_type in (OrderType.MARKET, OrderType.SL_M)
        and not order.trigger_pending
        and intent is not None
        and intent.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
    )


def escalated_price(
    side: Side, day: DayRange, tick: Decimal, percents: Sequence[Decimal], step: int
) -> Decimal:
    """The limit of a step, on the price grid and within the circuit; after the last percentage it is the circuit.

    Args:
        side: of the exit.
        day: last price and circuit.
        tick: step of the price grid, rupees.
        percents: how far from the last price each step goes.
        step: 0, 1, 2 …
    """
    sells = side is Side.SELL
    if step >= len(percents):
        return day.low if sells else day.high
    wanted = day.last * (1 + side.sign * percents[step] / _PERCENT)
    steps = (wanted / tick).quantize(_WHOLE, ROUND_FLOOR if sells else ROUND_CEILING)
    return min(max(steps * tick, day.low), day.high)


def goes_as_far(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Whether an order with this limit trades at the price already."""
    return limit <= price if side is Side.SELL else limit >= price
