"""Where a resting order meets the market: on a tick, or on the price path of a recorded bar (`domain.price_path`).

| Order | Meets |
|---|---|
| MARKET | the first price |
| LIMIT | the first price that is at its limit or better; one that rests trades at its own limit, a bar's open at the open |
| SL-M | the first price at its trigger or beyond; inside a bar the price passes the trigger itself |
| SL | is a LIMIT order from its trigger on; where the price has jumped over its limit, it rests there |

From one price of a bar's path to the next the price passes everything between; from tick to tick it jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from alphapanda.domain.market import LastPrice
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderType, Side, Validity
from alphapanda.domain.price_path import price_path
from alphapanda.domain.terms import HAS_TRIGGER, Terms
from alphapanda.paper_exchange.core.circuit import Band, trades_up_to
from alphapanda.paper_exchange.core.fill_models import Queue

IOC_UNFILLED: Final = "nothing was left to trade at once at the limit price: an IOC order doesn't wait"
"""The paper exchange's message when it cancels an IOC order."""
STOPS_WAIT: Final = "a stop waits for its trigger, so its validity is DAY, not IOC"
"""The paper exchange's message when it rejects a stop that may not wait."""


class Tradable(Struct, frozen=True, gc=False):
    """A price at which an order may fill.

    Attributes:
        price: rupees.
        at: aware market time of the fill; inside a bar its start.
        passive: whether the order rested at this price, which is then paid as it is, without slippage.
        model: how the price was found, one of the names below.
        tick: price of the tick that made it, rupees; None if it is `price`.
    """

    price: Decimal
    at: datetime
    passive: bool = False
    model: str = ""
    tick: Decimal | None = None

    @property
    def seen(self) -> Decimal:
        """The market's price that made it, rupees: the tick's, or the one on the bar's path."""
        return self.price if self.tick is None else self.tick


AT_LAST_PRICE: Final = "last price"
AT_OPEN: Final = "bar's open"
AT_LIMIT: Final = "limit"
AT_TRIGGER: Final = "trigger"
AT_CIRCUIT: Final = "circuit limit left"
"""How a fill's price was found: the last price when the order came, a bar's open, the order's own limit, its trigger, or where the
price has come back from the day's circuit limit."""


class Way(NamedTuple):
    """How far along a price path something happens: the number of the path's price, and the rupees since the one before."""

    step: int
    rupees: Decimal


class Meeting(NamedTuple):
    """What the market does with an order.

    Attributes:
        found: the price at which it fills; None: it only triggers, and rests at its limit.
        way: how far along the price path; of two orders the one that is met first fills first.
    """

    found: Tradable | None
    way: Way


AT_ONCE: Final = Way(0, ZERO)
NEVER: Final = Way(9, ZERO)
"""Behind the end of every path."""


def meeting(
    terms: Terms,
    side: Side,
    last: LastPrice,
    now: datetime,
    *,
    triggered: bool = False,
    queue: Queue = Queue.FRONT,
    band: Band | None = None,
) -> Meeting | None:
    """What an instrument's last price does with an order that came before it; None: nothing.

    Args:
        terms: the order's terms.
        side: its direction.
        last: the last price, or the last bar.
        now: the market's time, aware; the time of a fill on ticks.
        triggered: whether its trigger was reached before.
        queue: where an order that rests stands among those at its price.
        band: the day's circuit limits; None: there are none.
    """
    bar = last.bar
    if bar is None:
        return _walk(terms, side, (last.price,), now, queue, band, triggered=triggered, of_bar=False)
    if terms.order_type is OrderType.MARKET and band is None:
        return Meeting(Tradable(bar.price, bar.start, model=AT_OPEN), AT_ONCE)
    if bar.high is None or bar.low is None:
        path: Sequence[Decimal] = (bar.price, last.price)
    else:
        path = price_path(bar.price, bar.high, bar.low, last.price)
    return _walk(terms, side, path, bar.start, queue, band, triggered=triggered, of_bar=True)


def at_once(
    terms: Terms, side: Side, price: Decimal, *, triggered: bool = False, band: Band | None = None
) -> bool:
    """Whether an order that comes, or is modified, when this is the last price fills at it."""
    waits = terms.trigger_price is not None and not triggered
    return not waits and _within(trades_up_to(terms, side, band), side, price)


def refusal(terms: Terms, side: Side, price: Decimal) -> str:
    """Why the exchange rejects an order that comes when this is the last price, in a sentence; empty if it takes it."""
    trigger = terms.trigger_price
    if terms.order_type not in HAS_TRIGGER or trigger is None:
        return ""
    if terms.validity is Validity.IOC:
        return STOPS_WAIT
    if not _reached(trigger, side, price):
        return ""
    where = "above" if side is Side.BUY else "below"
    return f"the trigger price {trigger:f} of a stop that {side.name.lower()}s has to be {where} the last price, {price:f}"


def limited(terms: Terms, side: Side, price: Decimal) -> Decimal:
    """A price with slippage, but none that is worse than the order's limit."""
    limit = terms.limit_price
    if limit is None:
        return price
    return min(price, limit) if side is Side.BUY else max(price, limit)


def _walk(
    terms: Terms,
    side: Side,
    path: Sequence[Decimal],
    at: datetime,
    queue: Queue,
    band: Band | None,
    *,
    triggered: bool,
    of_bar: bool,
) -> Meeting | None:
    trigger, limit = terms.trigger_price, trades_up_to(terms, side, band)
    own = terms.limit_price
    waits = trigger is not None and not triggered
    met: Meeting | None = None
    before: Decimal | None = None
    for step, price in enumerate(path):
        if waits and trigger is not None:
            if _reached(trigger, side, price):
                waits = False
                hit = price if before is None else trigger
                way = Way(step, ZERO if before is None else abs(trigger - before))
                if _within(limit, side, hit):
                    return Meeting(Tradable(hit, at, model=AT_TRIGGER), way)
                met = Meeting(None, way)
        elif _within(limit, side, price):
            if own is None and limit is not None and before is not None:  # the path comes back into the band
                way = Way(step, abs(limit - before))
                return Meeting(Tradable(limit, at, model=AT_CIRCUIT), way)
            if own is None or limit is None or (before is None and of_bar):
                model = AT_OPEN if of_bar else AT_LAST_PRICE
                return Meeting(Tradable(price, at, model=model), AT_ONCE)
            if queue is Queue.FRONT or price != own:
                tick = None if of_bar else price
                found = Tradable(own, at, passive=True, model=AT_LIMIT, tick=tick)
                return Meeting(found, Way(step, ZERO if before is None else abs(limit - before)))
        before = price
    return met


def _reached(trigger: Decimal, side: Side, price: Decimal) -> bool:
    """Whether a price triggers a stop."""
    return price >= trigger if side is Side.BUY else price <= trigger


def _within(limit: Decimal | None, side: Side, price: Decimal) -> bool:
    """Whether a price is at the limit or better."""
    if limit is None:
        return True
    return price <= limit if side is Side.BUY else price >= limit
