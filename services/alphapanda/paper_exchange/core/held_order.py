"""An order that waits at the paper exchange: for the next bar's open, or for the price that its terms ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.charge_rates import PRICE_UNITS
from alphapanda.domain.funds import Payable
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.circuit import LOCKED, Band
from alphapanda.paper_exchange.core.fill_models import Queue, traded_between
from alphapanda.paper_exchange.core.matching import AT_ONCE, IOC_UNFILLED, Meeting, at_once, meeting, refusal
from alphapanda.paper_exchange.core.paper_charges import PaperOrder

NO_MARKET: Final = "the paper exchange has no price of the instrument or no market time"
"""The paper exchange's message when it rejects an order."""
NO_NEXT_OPEN: Final = "the trading day ended without another price of the instrument"
"""Its message when it cancels a market order that it held."""
DAY_ENDED: Final = "the trading day ended before the order was filled"
"""Its message when it cancels a limit or stop order at the end of its day."""
RECORDING_ENDED: Final = "the recording ended without another price of the instrument"
"""Its message when it cancels the market orders that it still held at the end of the data."""
ENDED_UNFILLED: Final = "the recording ended before the order was filled"
"""Its message when it cancels the limit and stop orders that it still held at the end of the data."""
CANCELLED_AS_ASKED: Final = "cancelled as asked"
"""Its message of an order that was cancelled by a call."""
NOT_WORKING: Final = "the paper exchange holds no such order: it has ended"
"""Its message when it refuses to modify or cancel an order."""


class NotChanged(Exception):
    """The exchange refuses to modify or cancel an order, in a sentence; nothing was changed."""


PayableAtFill = Callable[["HeldOrder", Fill], Payable]
"""Returns what an account's funds pay of a held order, whose fill it is given."""


class HeldOrder(Struct, frozen=True, gc=False):
    """An order that waits for a price; or one that has just come, and may have it.

    Attributes:
        number: its number at the exchange; empty while it has none.
        broker: the broker's name.
        order: what is ordered.
        came_at: aware market time since which prices count: when it came, was modified, or last changed by a price.
        expires_at: aware market time after which it is cancelled.
        tag: the tag that it was sent with; empty if there is none.
        triggered: whether its trigger was reached.
        filled: units filled.
        turnover: price times quantity of its fills, rupees.
        revision: of its row, where it is one.
        volume: units traded in the day when it last looked at the market; None if that isn't known.
        band: the day's circuit limits of its instrument; None: there are none, or they aren't known.
    """

    number: str
    broker: str
    order: PaperOrder
    came_at: datetime
    expires_at: datetime
    tag: str = ""
    triggered: bool = False
    filled: int = 0
    turnover: Decimal = ZERO
    revision: int = 0
    volume: int | None = None
    band: Band | None = None

    def met(self, market: MarketView, queue: Queue = Queue.FRONT) -> Meeting | None:
        """What the market does with it now; None: nothing, or nothing before it expires."""
        last = market.prices.get(self.order.instrument.instrument_token)
        if last is None or market.market_time is None or not self._counts(last, market.market_time):
            return None
        met = meeting(
            self.terms,
            self.order.side,
            last,
            market.market_time,
            triggered=self.triggered,
            queue=queue,
            band=self.band,
        )
        at_once = met is not None and met.way == AT_ONCE
        return met if at_once or self.terms.validity is not Validity.IOC else None

    def _counts(self, last: LastPrice, market_time: datetime) -> bool:
        """Whether a price came after the order, and before it expires."""
        if last.bar is not None:
            return self.came_at <= last.bar.start <= self.expires_at
        return self.came_at <= last.traded_at and market_time <= self.expires_at

    def ended_by(self, market: MarketView) -> str:
        """Why it ends where the market does nothing with it, in a sentence; empty if it waits on."""
        if self.is_over(market):
            if self.rests:
                return DAY_ENDED
            return NO_NEXT_OPEN if self.band is None else LOCKED
        last, now = market.prices.get(self.order.instrument.instrument_token), market.market_time
        if self.terms.validity is Validity.DAY or last is None or now is None:
            return ""
        return IOC_UNFILLED if self._counts(last, now) else ""

    def modified(
        self, quantity: int, terms: Terms, last: LastPrice | None, now: datetime | None
    ) -> Self | str:
        """The order as it is after a modification; why an exchange refuses that, in a sentence.

        Args:
            quantity: units in all, with those filled.
            terms: how it is priced from now on.
            last: the instrument's last price; None: unknown.
            now: the market's time; None: unknown.
        """
        if last is None or now is None:
            return NO_MARKET
        if quantity <= self.filled:
            return f"{self.filled} units have filled, so {quantity} in all are too few; cancel the order to end it"
        if terms.order_type is not self.terms.order_type:
            return f"the order is {self.terms.order_type.name} and stays it"
        if self.band is not None and (why := self.band.refusal(terms)):
            return why
        if self.trigger_pending and (why := refusal(terms, self.order.side, last.price)):
            return why
        order = replace(self.order, quantity=quantity, terms=terms)
        return replace(self, order=order, came_at=max(self.came_at, now))

    def trades_now(self, last: LastPrice | None) -> bool:
        """Whether it fills at the last price, if it came, or was modified, now. On bars nothing does before the next one."""
        if last is None or last.bar is not None:
            return False
        return at_once(self.terms, self.order.side, last.price, triggered=self.triggered, band=self.band)

    @property
    def terms(self) -> Terms:
        """How it is priced."""
        return self.order.terms

    @property
    def rests(self) -> bool:
        """Whether it waits for a price of its own, and not only for the next one."""
        return self.terms.order_type is not OrderType.MARKET

    @property
    def trigger_pending(self) -> bool:
        """Whether it is a stop that waits for its trigger."""
        return self.terms.trigger_price is not None and not self.triggered

    @property
    def left(self) -> int:
        """Units not filled yet."""
        return self.order.quantity - self.filled

    @property
    def traded_before(self) -> int:
        """Turnover of its fills in PRICE_UNITS, for charges."""
        return int(self.turnover * PRICE_UNITS) if self.turnover else 0

    @property
    def key(self) -> PositionKey:
        """The position that it changes."""
        order = self.order
        return PositionKey(
            self.broker, order.account, order.strategy_id, order.instrument.instrument_id, order.product
        )

    def is_over(self, market: MarketView) -> bool:
        """Whether its trading day has ended."""
        return market.market_time is not None and market.market_time > self.expires_at

    def seen(self, market: MarketView) -> Self:
        """The same once the market's last price has had its effect: only later ones, and what is traded then, count."""
        last = market.prices[self.order.instrument.instrument_token]
        return replace(self, came_at=max(self.came_at, last.traded_at), volume=last.volume)

    def looked(self, market: MarketView) -> Self:
        """The same once it has looked at the market in vain: only what is traded later counts."""
        last = market.prices.get(self.order.instrument.instrument_token)
        if last is None or last.volume is None or last.volume == self.volume:
            return self
        return replace(self, volume=last.volume)

    def knowing(self, before: HeldOrder | None) -> Self:
        """The same, read anew, with the volume until which this process had looked, if nobody has changed it since."""
        same = before is not None and before.revision == self.revision
        return replace(self, volume=before.volume) if same and before is not None else self

    def traded(self, market: MarketView) -> int | None:
        """Units of the instrument that were traded since it last looked; None if that isn't known."""
        last = market.prices.get(self.order.instrument.instrument_token)
        return None if last is None else traded_between(self.volume, last.volume)

    def after(self, fill: Fill, market: MarketView) -> Self:
        """The same after a fill of some of it: the rest waits for later prices, a stop's as triggered."""
        return replace(
            self.seen(market),
            filled=self.filled + fill.quantity,
            turnover=self.turnover + fill.price * fill.quantity,
            triggered=True,
        )


def recording_ended(order: HeldOrder) -> str:
    """Why an order ends that is held at the end of the data, in a sentence."""
    return ENDED_UNFILLED if order.rests else RECORDING_ENDED
