"""An instrument, a moment in its session, and a signal that risk let through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.values import replace

from alphapanda.domain import ids
from alphapanda.domain.calendar import TradingCalendar, load_nse_calendar
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved

TOKEN = 408065
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
"""Noon in India on a trading Friday."""
KEY = PositionKey("paper", "default", "crossing", "NSE:INFY", Product.MIS)


@pytest.fixture(scope="session")
def calendar() -> TradingCalendar:
    return load_nse_calendar()


@pytest.fixture
def infy(calendar: TradingCalendar) -> Instrument:
    return Instrument(
        "NSE:INFY",
        TOKEN,
        "NSE",
        "INFY",
        "Infosys",
        "NSE",
        "EQ",
        Decimal("0.05"),
        5,
        100,
        calendar.segments[0],
    )


@pytest.fixture
def market() -> MarketView:
    return MarketView(NOON, "run", {TOKEN: LastPrice(Decimal("1500.05"), NOON)})


@pytest.fixture
def approve() -> Callable[..., Approved]:
    """A verdict with what is told changed; each has a signal of its own unless told."""
    count = iter(range(10_000))

    def made(**changes: object) -> Approved:
        verdict = Approved(
            signal_id=ids.derived_id("test signal", next(count)),
            correlation_id=ids.derived_id("test frame"),
            key=KEY,
            instrument_token=TOKEN,
            config_revision=1,
            side=Side.BUY,
            quantity=10,
            terms=AT_MARKET,
            effect=PositionEffect.OPENS,
            valid_until=NOON + timedelta(seconds=60),
            decided_at=NOON,
            rules=(),
        )
        return replace(verdict, **changes)  # type: ignore[arg-type]

    return made
