from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.replay.curves import MOST_SAMPLES, Curves
from alphapanda.replay.journal import ReplayJournal
from alphapanda.replay.performance import performance
from alphapanda.replay.report.page import Report, report_html

CALENDAR = load_nse_calendar()
OPEN = datetime(2025, 1, 1, 3, 45, tzinfo=UTC)
TOKEN = 7


def journal_of(days: int, fills: int, curves: Curves) -> ReplayJournal:
    """A journal of minutes; its fills are spread over the days, by two strategies in turn."""
    journal = ReplayJournal(lambda: pytest.fail("asked"), (), curves)
    journal.first_prices = {TOKEN: Decimal(100)}
    for day in range(days):
        at = OPEN + timedelta(days=day)
        for minute in range(375):
            moment = nanoseconds(at + timedelta(minutes=minute))
            if moment >= journal.last_ns:
                price = Decimal(100 + (minute * 7 + day) % 13) / 1
                curves.add(moment, Decimal(1_000_000 + day * 10 - minute), {TOKEN: price})
                journal.last_ns = curves.next_ns(moment)
        journal.days[at.date()] = Decimal(1_000_000 + day * (10 if day % 3 else -20))
        journal.price_days.setdefault(TOKEN, {})[at.date()] = Decimal(100 + day % 7)
    for number in range(fills):
        moment = OPEN + timedelta(minutes=number * days * 375 // fills // 375 * 1440 + number % 375)
        key = PositionKey("paper", "default", f"s.{number // 2 % 2}", "NSE:<X>", Product.MIS)
        side = Side.BUY if number % 2 == 0 else Side.SELL
        fill = Fill(f"{number}", "1", 10, Decimal("100.05") + number % 3, Decimal("1.25"), moment)
        order = OrderState(
            *("o", "s", key, TOKEN, side, 10, AT_MARKET, PositionEffect.OPENS, OrderStatus.FILLED),
            *(2, 10, 0, fill.price, moment),
        )
        journal.on_fill(Filled(order, fill), Decimal(0))
    journal.strategy_days = {name: dict(journal.days) for name in ("s.0", "s.1")}
    return journal


def page_of(days: int, fills: int, *, indian: bool = True) -> str:
    curves = Curves()
    journal = journal_of(days, fills, curves)
    found = performance(journal, Decimal(1_000_000), Decimal("0.01"), CALENDAR, {"NSE_EQ"})
    return report_html(
        Report(
            title="<x>",
            about=[("s", "fast 5")],
            assumptions=[("fills", "at the next open")],
            summary={"ticks": 123456, "rejected": {"MARKET_HOURS": 365}, "dropped": {}, "cash": "1500000.00"},
            money=frozenset({"cash"}),
            found=found,
            curves=curves,
            trades=journal.trades,
            first_prices=journal.first_prices,
            directory=InstrumentDirectory([]),
            indian=indian,
        )
    )


def test_a_year_of_minutes_makes_a_small_page():
    """Two hundred and fifty days with twelve thousand fills: under 3 MB, and every curve has its samples."""
    page = page_of(250, 12_000)
    assert len(page.encode()) < 2_000_000
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert MOST_SAMPLES / 2 < len(data["times"]) == len(data["equity"]) == len(data["held"]) < MOST_SAMPLES
    (price,) = data["prices"]
    assert len(price["price"]) == len(data["times"])
    assert len(price["fills"]) == 12_000
    assert len(data["trips"]["rows"]) == 6_000


def test_everything_is_shown_for_people():
    """Rupees as in India, counts by name and no Python dict, n/a with its reason, each definition; text is escaped."""
    page = page_of(3, 8)
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for text in (
        *("₹10,00,000.00 (₹10 lakh)", "₹15,00,000.00", "1,23,456", "rejected: MARKET_HOURS", "&lt;x&gt;"),
        *("n/a: 3 trading days are no year; it needs 63", "mean / sample standard deviation", "at the next open"),
        *("01 Jan 2025 to 03 Jan 2025", "Buy and hold", "s.0", "s.1", "No trading day ended below"),
    ):  # fmt: skip
        assert text in shown, text
    assert "{'" not in shown
    assert "<x>" not in shown
    assert "1,000,000.00" in page_of(3, 8, indian=False)
    assert "src=" not in page


def test_a_replay_without_a_trade_has_a_page_too():
    """It says that nothing was traded, where nothing was."""
    page = page_of(2, 0)
    assert "No trade was made." in page
    assert "no round trip was made: no order was filled" in page


def test_samples_are_thinned_out_evenly():
    """The step doubles; the last sample stays."""
    curves = Curves()
    at = nanoseconds(OPEN)
    for number in range(MOST_SAMPLES + 10):
        curves.add(at, Decimal(number), {TOKEN: Decimal(number)})
        at = curves.next_ns(at)
    assert len(curves.times_ns) == MOST_SAMPLES // 2 + 10
    assert curves.equity[-1] == MOST_SAMPLES + 9
    assert curves.prices[TOKEN] == curves.equity
    steps = {later - earlier for earlier, later in zip(curves.times_ns, curves.times_ns[1:], strict=False)}
    assert max(steps) <= 120_000_000_000
