"""The paper exchange's fill model: in full, with slippage against the order.

At once at the last price, or, on recorded bars under FillRule.NEXT_OPEN, at the open of the instrument's first bar that begins at
or after the moment at which the order came. Until then the exchange holds the order; it ends with the trading day.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import instant
from alphapanda.domain.market import LastPrice
from alphapanda.domain.money import PAISA, down_to_paisa, to_paisa, up_to_paisa
from alphapanda.domain.order import Side
from alphapanda.domain.order_events import Fill

_IST = ZoneInfo("Asia/Kolkata")
_DAY = timedelta(days=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = Decimal(100)

NO_MARKET = "the paper exchange has no price of the instrument or no market time"
"""The paper exchange's message when it rejects an order."""


NO_NEXT_OPEN = "the trading day ended without another price of the instrument"
"""The paper exchange's message when it cancels an order that it held."""


class Tradable(NamedTuple):
    """A price in rupees at which an order may fill, and the aware market time of the fill."""

    price: Decimal
    at: datetime


def tradable(last: LastPrice, came_at: datetime, market_time: datetime) -> Tradable | None:
    """The price at which an order fills now; None if it is held until the next bar.

    Args:
        last: the instrument's last price.
        came_at: market time at which the order came.
        market_time: the market's time now.
    """
    if last.bar is None:
        return Tradable(last.price, market_time)
    if last.bar.start < came_at:
        return None
    return Tradable(last.bar.price, last.bar.start)


def held_until(came_at: datetime, segment: str, calendar: TradingCalendar) -> datetime:
    """The end of the trading day of an order that is held, aware; of a day that isn't in the calendar its last moment."""
    day = came_at.astimezone(_IST).date()
    try:
        sessions = calendar.sessions(day, segment)
    except CalendarNotCovered:
        sessions = ()
    if not sessions:
        return datetime.combine(day, time.min, _IST) + _DAY
    return instant(sessions[-1].close_ns)


class PaperMarket:
    """Computes fill price and commission.

    Args:
        slippage_percent: percent of the last price, against the order; the result is rounded to the paisa, against it.
        commission_percent: percent of the turnover, rounded to the paisa, halves up.
    """

    def __init__(self, slippage_percent: Decimal, commission_percent: Decimal) -> None:
        self._buy_factor = 1 + slippage_percent / _WHOLE
        self._sell_factor = 1 - slippage_percent / _WHOLE
        self._commission_rate = commission_percent / _WHOLE
        self._day = (_LONG_AGO, _LONG_AGO, "")

    def fill_price(self, side: Side, last_price: Decimal) -> Decimal:
        """The price at which an order fills, rupees; at least one paisa."""
        if side is Side.BUY:
            return up_to_paisa(last_price * self._buy_factor)
        return max(down_to_paisa(last_price * self._sell_factor), PAISA)

    def commission(self, price: Decimal, quantity: int) -> Decimal:
        """The commission on a fill, rupees."""
        return to_paisa(price * quantity * self._commission_rate)

    def fill(
        self,
        broker: str,
        account: str,
        exchange_trade_id: str,
        side: Side,
        quantity: int,
        last_price: Decimal,
        traded_at: datetime,
    ) -> Fill:
        """The one fill of an order; `traded_at` is aware market time."""
        price = self.fill_price(side, last_price)
        identity = self.fill_id(broker, account, traded_at, exchange_trade_id)
        return Fill(identity, exchange_trade_id, quantity, price, self.commission(price, quantity), traded_at)

    def fill_id(self, broker: str, account: str, traded_at: datetime, exchange_trade_id: str) -> str:
        """The id of a trade. The date (in IST) is part of it, because exchanges restart trade numbers each day."""
        begins, ends, day = self._day
        if not begins <= traded_at < ends:
            begins, ends, day = self._day = _day_of(traded_at)
        return ids.fill_id(broker, account, day, exchange_trade_id)


def _day_of(moment: datetime) -> tuple[datetime, datetime, str]:
    """The day in India of a moment: its begin and end in UTC, as market time is, and its date as text."""
    day = moment.astimezone(_IST).date()
    begins = datetime.combine(day, time.min, _IST).astimezone(UTC)
    return begins, begins + _DAY, day.isoformat()
