"""A market in session, an instrument, and signals to be judged."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from tests.values import replace

from alphapanda.domain.calendar import TradingCalendar, load_nse_calendar
from alphapanda.domain.ids import derived_id
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import (
    OrderStatus,
    PositionEffect,
    Product,
    Side,
    TradingState,
)
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import MANUAL, PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.risk.core.check import Inputs, StrategyStatus
from alphapanda.risk.core.limits import Limits

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
INFY = Instrument(
    "NSE:INFY", 408065, "NSE", "INFY", "INFOSYS", "NSE", "EQ", Decimal("0.05"), 1, 1000, "NSE_EQ"
)
FUTURE = Instrument("NFO:X", 9001, "NFO", "XFUT", "X", "NFO-FUT", "FUT", Decimal("0.05"), 75, 0, "NSE_EQ")
INDEX = Instrument(
    "NSE:NIFTY 50", 256265, "NSE", "NIFTY 50", "", "INDICES", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
)
DIRECTORY = InstrumentDirectory([INFY, FUTURE, INDEX])


class Market:
    """Makes inputs, signals and order events; a plain day in session unless told otherwise."""

    now = datetime(2026, 3, 4, 10, 0, tzinfo=IST)
    calendar: TradingCalendar = CALENDAR
    key = PositionKey("paper", "default", "ema-1", INFY.instrument_id, Product.MIS)
    manual = replace(key, strategy_id=MANUAL)

    def __init__(self) -> None:
        self._made = 0

    def inputs(
        self,
        *,
        now: datetime | None = now,
        price_age: float | None = 0,
        state: TradingState = TradingState.ACTIVE,
        running: bool = True,
        revision: int = 3,
        max_order: int | None = 5_000,
        max_position: int | None = 5_000,
    ) -> Inputs:
        """What is known; `now=None` is an unknown market time, `price_age=None` no price."""
        prices = {}
        if price_age is not None:
            traded_at = (now or self.now) - timedelta(seconds=price_age)
            prices = {i.instrument_token: LastPrice(Decimal(1500), traded_at) for i in DIRECTORY}
        return Inputs(
            MarketView(now.astimezone(UTC) if now else None, "run", prices),
            DIRECTORY,
            self.calendar,
            Limits(
                timedelta(seconds=30),
                time(15, 0),
                {"max_order_quantity": max_order, "max_position_quantity": max_position},
            ),
            state,
            {"ema-1": StrategyStatus(revision, running)},
        )

    def target(
        self,
        target: int,
        *,
        key: PositionKey = key,
        revision: int = 3,
        token: int = INFY.instrument_token,
        valid_until: datetime | None = None,
    ) -> Signal:
        """A strategy's target."""
        self._made += 1
        signal_id = derived_id("test", self._made)
        valid = valid_until or self.now + timedelta(hours=5.5)
        return Signal(
            signal_id,
            signal_id,
            "",
            key,
            token,
            revision,
            target,
            None,
            None,
            AT_MARKET,
            self.now,
            valid,
        )

    def explicit(
        self, side: Side, quantity: int, *, key: PositionKey = manual, token: int = INFY.instrument_token
    ) -> Signal:
        """A person's order."""
        return replace(
            self.target(0, key=key, revision=0, token=token), target=None, side=side, quantity=quantity
        )

    def event(
        self, order: Approved, filled: int, status: OrderStatus, revision: int, at: datetime | None = now
    ) -> OrderState:
        """An order event of an approved signal."""
        return OrderState(
            derived_id("order", order.signal_id),
            order.signal_id,
            order.key,
            order.instrument_token,
            order.side,
            order.quantity,
            order.terms,
            PositionEffect.OPENS,
            status,
            revision,
            filled,
            0 if status.is_final else order.quantity - filled,
            Decimal(1500) if filled else None,
            at.astimezone(UTC) if at else None,
        )


@pytest.fixture
def market() -> Market:
    """A fresh market."""
    return Market()


@pytest.fixture(scope="session")
def new_market() -> type[Market]:
    """For properties, where each example needs a market of its own."""
    return Market
