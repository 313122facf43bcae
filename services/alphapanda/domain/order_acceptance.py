"""Whether an order would be accepted: the capability table, its prices on the grid, and how far they are from the last price.

One function for risk, trading and the paper exchange, so that paper refuses what Zerodha would refuse. It answers on every input.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.capabilities import ACCEPTED, Answer, Can, CapabilityTable
from alphapanda.domain.capability_data import load_capabilities
from alphapanda.domain.capability_question import Phase, question_of, segment_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Product, Side
from alphapanda.domain.price_grid import grid_rule
from alphapanda.domain.session import Sureness
from alphapanda.domain.terms import Terms, check_terms

_REMEMBERED: Final = 4096
_PERCENT: Final = Decimal(100)
_MARKET: Final = OrderType.MARKET
_KITE: Final = "Zerodha's list of order rejections"


class AcceptanceCheck:
    """Asks the capability table about orders; `acceptance_of` makes one with the shipped table.

    Args:
        table: the capability table.
        calendar: sessions, which count the days to an expiry.
    """

    def __init__(self, table: CapabilityTable, calendar: TradingCalendar) -> None:
        self.table = table
        self._calendar = calendar
        self._found: dict[tuple[object, ...], Answer] = {}

    def answer(
        self,
        instrument: Instrument,
        side: Side,
        product: Product,
        terms: Terms,
        phase: Phase,
        day: date,
        last_price: Decimal | None,
        *,
        opens: bool,
    ) -> Answer:
        """Whether an order would be accepted.

        What only closes a position is accepted at MARKET always: there is no other form in which it could still be sent.

        Args:
            instrument: the instrument.
            side: direction of the order.
            product: how the position is held.
            terms: how the order is priced, and how long it works.
            phase: phase of the exchange's day.
            day: the exchange's day.
            last_price: rupees; None: unknown, and prices aren't compared with it.
            opens: whether it opens or flips a position.
        """
        order_type = terms.order_type
        at_market = order_type is _MARKET
        if at_market and not opens:
            return ACCEPTED
        asked = (instrument.instrument_id, product, order_type, terms.validity, phase, day, opens)
        found = self._found.get(asked)  # an instrument's segment, series and expiry don't change under its id
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[asked] = self.table.answer(
                question_of(
                    instrument, product, order_type, terms.validity, phase, day, self._calendar, opens=opens
                )
            )
        if at_market or found.can is not Can.YES:
            return found
        return self._prices(instrument, side, terms, day, last_price)

    def _prices(
        self, instrument: Instrument, side: Side, terms: Terms, day: date, last_price: Decimal | None
    ) -> Answer:
        """Whether an order's prices are accepted."""
        try:
            check_terms(terms, side, grid_rule(instrument, day))
        except InvalidInput as wrong:
            return Answer(Can.NO, "PRICE", str(wrong), Sureness.CIRCULAR, "the exchange's price grid")
        if last_price is None or last_price <= 0:
            return ACCEPTED
        trigger, limit, last = terms.trigger_price, terms.limit_price, f"{last_price:f}"
        if trigger is not None and side.sign * (trigger - last_price) <= 0:
            than = "above" if side is Side.BUY else "below"
            message = f"a stop that {side.name.lower()}s has its trigger {than} the last price {last}, not at {trigger:f}"
            return Answer(Can.NO, "TRIGGER", message, Sureness.PRESS, _KITE)
        if limit is not None and segment_of(instrument).has_options:
            return self._near(side, limit, last_price, day)
        return ACCEPTED

    def _near(self, side: Side, limit: Decimal, last_price: Decimal, day: date) -> Answer:
        """Whether an option's limit price is near enough to its last price."""
        allowed = self.table.option_limits
        if day < allowed.since:
            return ACCEPTED
        percent = limit * _PERCENT / last_price
        if side is Side.BUY and percent > allowed.buy_above:
            far = f"above {allowed.buy_above} %"
        elif side is Side.SELL and percent < allowed.sell_below:
            far = f"below {allowed.sell_below} %"
        else:
            return ACCEPTED
        message = (
            f"limit_price {limit:f} is {far} of the last price {last_price:f}, which is refused for an option"
        )
        return Answer(Can.NO, "LIMIT_TOO_FAR", message, allowed.sureness, allowed.source)


@lru_cache(maxsize=8)
def acceptance_of(calendar: TradingCalendar) -> AcceptanceCheck:
    """The check with the shipped table; one for each calendar."""
    return AcceptanceCheck(load_capabilities(), calendar)
