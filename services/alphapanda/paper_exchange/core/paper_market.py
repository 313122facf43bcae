"""The paper exchange's fill model: in full, with slippage against the order, on the price grid.

A market order fills at once at the last price, or, on recorded bars under FillRule.NEXT_OPEN, at the open of the instrument's
first bar that begins at or after the moment at which the order came. Until then the exchange holds the order; it ends with the
trading day. Where limits and stops meet the market is in `matching.py`: an order that rested at its limit pays it without
slippage, and slippage never goes beyond a limit.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import instant
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Side
from alphapanda.domain.order_events import Fill
from alphapanda.domain.price_grid import GridRule, grid_rule
from alphapanda.paper_exchange.core.circuit import Band
from alphapanda.paper_exchange.core.fill_models import AS_ALWAYS, FillModels, Slippage
from alphapanda.paper_exchange.core.held_order import HeldOrder
from alphapanda.paper_exchange.core.matching import Meeting, Tradable, limited
from alphapanda.paper_exchange.core.paper_charges import MarketDay, PaperCharges, PaperOrder

_IST = ZoneInfo("Asia/Kolkata")
_DAY = timedelta(days=1)
_STEPS: Final = 1_000_000
_HALF: Final = _STEPS // 2
_PERCENT: Final = Decimal(100 * _STEPS)
ALL: Final = Decimal(1)
_BUY: Final = Side.BUY
_SPREAD: Final = Slippage.SPREAD
_VOLUME_SHARE: Final = Slippage.VOLUME_SHARE


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
    """Computes fill price and charges.

    Args:
        slippage_percent: percent of the price, always against the order. It varies by fill, from half of it to half as much
            again: each millionth between is as likely, drawn by a hash of the seed, the strategy, the instrument, the market
            time and the slice's number. So the same run fills at the same prices, live and replayed.
        charges: what a fill is charged.
        seed: of the hash.
        models: when and how much fills, and what slippage costs.
    """

    def __init__(
        self, slippage_percent: Decimal, charges: PaperCharges, seed: int, models: FillModels = AS_ALWAYS
    ) -> None:
        self.models = models
        self._slippage = slippage_percent / _PERCENT
        self._charges = charges
        self._drawn = blake2b(f"slippage\x1f{seed}".encode(), digest_size=8)
        self._day = MarketDay()
        self._grid_day = MarketDay()
        self._rules: dict[str, GridRule] = {}

    def fill_price(
        self,
        order: PaperOrder,
        price: Decimal,
        traded_at: datetime,
        *,
        passive: bool = False,
        share: Decimal = ALL,
        band: Band | None = None,
    ) -> Decimal:
        """The price at which an order fills, rupees, rounded to the grid against it, within its limit; at least one tick.

        Args:
            order: the order.
            price: the last price, or the one at which it meets the market.
            traded_at: aware market time of the fill.
            passive: whether it rested at this price, which is paid as it is.
            share: what it takes of the volume that was traded, from 0 to 1.
            band: the day's circuit limits, beyond which nothing trades; None: there are none.
        """
        if passive:
            return price
        buys = order.side is _BUY
        rule = self._rule(order.instrument, traded_at)
        slippage = self.models.slippage
        if slippage is _SPREAD:
            against = rule.tick(price) * self.models.spread_ticks / 2
        elif slippage is _VOLUME_SHARE:
            against = price * self._slippage * _STEPS * share
        else:
            against = price * self._slippage * self._factor(order, traded_at) if self._slippage else ZERO
        slipped = price + against if buys else price - against
        paid = rule.against(slipped, buys=buys)
        if band is not None:
            paid = band.inside(paid)
        return paid if order.terms.limit_price is None else limited(order.terms, order.side, paid)

    def model_of(self, found: Tradable) -> str:
        """How a fill's price was found, for people: where the order met the market, and its slippage."""
        return found.model if found.passive else f"{found.model}, slippage by {self.models.slippage}"

    def fill(
        self,
        broker: str,
        order: PaperOrder,
        exchange_trade_id: str,
        price: Decimal,
        traded_at: datetime,
        quantity: int | None = None,
        traded_before: int = 0,
        *,
        passive: bool = False,
        share: Decimal = ALL,
        band: Band | None = None,
    ) -> Fill:
        """A fill of an order at a market price.

        Args:
            broker: the broker's name.
            order: the order.
            exchange_trade_id: number of the trade.
            price: the last price, or the one at which it meets the market.
            traded_at: aware market time.
            quantity: units of this fill; None: all of the order.
            traded_before: turnover of the order's earlier fills, in PRICE_UNITS of `domain.charge_rates`.
            passive: whether the order rested at this price, which is paid as it is.
            share: what it takes of the volume that was traded, from 0 to 1.
            band: the day's circuit limits; None: there are none.
        """
        units = quantity or order.quantity
        paid = self.fill_price(order, price, traded_at, passive=passive, share=share, band=band)
        commission, charges = self._charges.of(order, units, paid, traded_at, traded_before)
        identity = self.fill_id(broker, order.account, traded_at, exchange_trade_id)
        return Fill(identity, exchange_trade_id, units, paid, commission, traded_at, charges)

    def fill_of(
        self, held: HeldOrder, found: Tradable, units: int, traded: int | None, exchange_trade_id: str
    ) -> Fill:
        """A fill of some of an order.

        Args:
            held: the order.
            found: where it meets the market.
            units: units of this fill.
            traded: units that were traded meanwhile; None: unknown.
            exchange_trade_id: number of the trade.
        """
        share = min(Decimal(units) / traded, ALL) if traded else ALL
        return self.fill(
            held.broker,
            held.order,
            exchange_trade_id,
            found.price,
            found.at,
            units,
            held.traded_before,
            passive=found.passive,
            share=share,
            band=held.band,
        )

    def banded(self, held: HeldOrder, market: MarketView) -> HeldOrder:
        """An order that was read anew, with the circuit limits of its day."""
        instrument = held.order.instrument
        last = market.prices.get(instrument.instrument_token)
        return replace(held, band=self.band(instrument, last, held.came_at))

    def band(self, instrument: Instrument, last: LastPrice | None, now: datetime) -> Band | None:
        """The day's circuit limits of an instrument: around its first price of the day, or the last one of an earlier day.

        None where there are none, or no price is known.
        """
        if self.models.circuit is None or last is None:
            return None
        same_day = last.traded_at.astimezone(_IST).date() == now.astimezone(_IST).date()
        middle = last.first if same_day else last.price
        if middle is None:
            return None
        return Band.around(middle, self.models.circuit, self._rule(instrument, now).tick(middle))

    def may_fill(self, held: HeldOrder, market: MarketView) -> int:
        """Units that may fill now of an order that meets the market."""
        return self.models.units(held.left, held.traded(market), held.order.instrument.lot_size)

    def arrival(self, came_at: datetime) -> datetime:
        """When an order is at the exchange that was sent at this market time."""
        return came_at + self.models.latency

    def meets(self, held: HeldOrder, market: MarketView) -> Meeting | None:
        """What the market does with an order that waits; None: nothing, or nothing of it may fill now."""
        met = held.met(market, self.models.queue)
        if met is None or met.found is None or self.may_fill(held, market):
            return met
        return Meeting(None, met.way) if held.trigger_pending else None

    def fill_id(self, broker: str, account: str, traded_at: datetime, exchange_trade_id: str) -> str:
        """The id of a trade. The date (in IST) is part of it, because exchanges restart trade numbers each day."""
        self._day.moves_to(traded_at)
        return ids.fill_id(broker, account, self._day.text, exchange_trade_id)

    def _rule(self, instrument: Instrument, at: datetime) -> GridRule:
        if self._grid_day.moves_to(at):
            self._rules.clear()
        rule = self._rules.get(instrument.instrument_id)
        if rule is None:
            rule = self._rules[instrument.instrument_id] = grid_rule(instrument, self._grid_day.date)
        return rule

    def _factor(self, order: PaperOrder, traded_at: datetime) -> int:
        """Millionths of the slippage, from 500,000 to 1,500,000."""
        drawn = self._drawn.copy()
        drawn.update(
            f"\x1f{order.strategy_id}\x1f{order.instrument.instrument_id}\x1f{traded_at.timestamp():.6f}"
            f"\x1f{order.number}".encode()
        )
        return _HALF + int.from_bytes(drawn.digest(), "big") % (_STEPS + 1)
