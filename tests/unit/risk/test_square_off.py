from __future__ import annotations

from datetime import datetime, timedelta

from tests.values import replace

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side, TradingState
from alphapanda.domain.verdict import Approved, Refused
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.position import PositionState

CAUSE = "0b6f1f3e-94c8-5f3f-9d51-7f4a3a1d7d10"
PAPER = ("paper",)


def _held(market, quantity: int = 50, opened: datetime | None = None, **changes) -> PositionState:
    return PositionState(replace(market.key, **changes), quantity, opened or market.now)


def test_an_intraday_position_is_squared_off_at_the_cut_off(market) -> None:
    """At 15:00 a target of 0 is due, caused by the frame, valid to the session's end; a moment before nothing is."""
    book = RiskBook([_held(market)])
    cut_off = market.now.replace(hour=15)
    assert book.due(market.inputs(now=cut_off - timedelta(microseconds=1)), PAPER, CAUSE) == []
    [signal] = book.due(market.inputs(now=cut_off), PAPER, CAUSE)
    assert (signal.target, signal.config_revision, signal.key) == (0, 0, market.key)
    assert (signal.correlation_id, signal.causation_id) == (CAUSE, CAUSE)
    assert signal.valid_until == market.now.replace(hour=15, minute=30)
    verdict = book.judge(signal, market.inputs(now=cut_off, running=False))[0]
    assert isinstance(verdict, Approved)
    assert (verdict.side, verdict.quantity, verdict.effect) == (Side.SELL, 50, PositionEffect.REDUCES)
    assert book.due(market.inputs(now=cut_off + timedelta(minutes=5)), PAPER, CAUSE) == []


def test_only_intraday_positions_of_the_named_brokers_are_squared_off(market) -> None:
    """Delivery, flat positions and other brokers are left alone."""
    book = RiskBook(
        [
            _held(market, product=Product.CNC),
            _held(market, 0, strategy_id="flat"),
            _held(market, broker="zerodha"),
        ]
    )
    assert book.due(market.inputs(now=market.now.replace(hour=15, minute=5)), PAPER, CAUSE) == []


def test_a_missed_square_off_is_due_in_the_next_session(market) -> None:
    """A position of the last trading day is due as soon as the market opens, not while it is closed."""
    book = RiskBook([_held(market, opened=market.now - timedelta(days=2))])
    assert book.due(market.inputs(now=market.now.replace(hour=9, minute=0)), PAPER, CAUSE) == []
    assert len(book.due(market.inputs(now=market.now.replace(hour=9, minute=15)), PAPER, CAUSE)) == 1


def test_a_square_off_that_was_refused_is_demanded_again(market) -> None:
    """Refused while halted, it comes back a minute later under another id, and within the minute under none."""
    book = RiskBook([_held(market)])
    cut_off = market.now.replace(hour=15)
    [first] = book.due(market.inputs(now=cut_off), PAPER, CAUSE)
    refused = book.judge(first, market.inputs(now=cut_off, state=TradingState.HALTED))[0]
    assert isinstance(refused, Refused)
    assert book.due(market.inputs(now=cut_off + timedelta(seconds=59)), PAPER, CAUSE) == []
    [second] = book.due(market.inputs(now=cut_off + timedelta(seconds=60)), PAPER, CAUSE)
    assert second.signal_id != first.signal_id


def test_the_same_demand_has_the_same_id(market) -> None:
    """Asked twice within the minute, the demand is one."""
    book = RiskBook([_held(market)])
    at = [market.now.replace(hour=15, second=second) for second in (0, 30)]
    [one], [two] = (book.due(market.inputs(now=now), PAPER, CAUSE) for now in at)
    assert one.signal_id == two.signal_id


def test_no_target_takes_the_place_of_a_waiting_square_off(market) -> None:
    """A square-off that waits for an open order is decided when that ends, whatever a strategy wants meanwhile."""
    book = RiskBook([_held(market)])
    before = market.inputs(now=market.now.replace(hour=14, minute=59))
    opening = book.judge(market.target(100), before)[0]
    assert isinstance(opening, Approved)
    late = market.inputs(now=market.now.replace(hour=15))
    [square_off] = book.due(late, PAPER, CAUSE)
    assert book.judge(square_off, late) == []
    assert book.due(late, PAPER, CAUSE) == []
    superseded = book.judge(market.target(200), late)[0]
    assert isinstance(superseded, Refused)
    assert superseded.reason == "SUPERSEDED"
    [flat] = book.on_order(market.event(opening, 50, OrderStatus.FILLED, 2), late)
    assert isinstance(flat, Approved)
    assert (flat.signal_id, flat.side, flat.quantity) == (square_off.signal_id, Side.SELL, 100)


def test_an_exit_on_its_way_to_flat_needs_no_square_off(market) -> None:
    """While an open order leaves nothing behind no demand is made; if it fails one is."""
    book = RiskBook([_held(market)])
    late = market.inputs(now=market.now.replace(hour=15))
    exit_order = book.judge(market.target(0), late)[0]
    assert isinstance(exit_order, Approved)
    assert book.due(late, PAPER, CAUSE) == []
    book.on_order(market.event(exit_order, 20, OrderStatus.CANCELLED, 2), late)
    assert len(book.due(late, PAPER, CAUSE)) == 1


def test_without_market_time_nothing_is_due(market) -> None:
    """An unknown market time squares nothing off."""
    assert RiskBook([_held(market)]).due(market.inputs(now=None), PAPER, CAUSE) == []


def test_muhurat_is_squared_off_before_its_end(market) -> None:
    """In a special evening session the cut-off is fifteen minutes before its close."""
    opened = datetime(2024, 11, 1, 18, 20, tzinfo=market.now.tzinfo)
    [session] = market.calendar.sessions(opened.date(), "NSE_EQ")
    cut_off = session.close - timedelta(minutes=15)
    book = RiskBook([_held(market, opened=opened)])
    assert book.due(market.inputs(now=cut_off - timedelta(seconds=1)), PAPER, CAUSE) == []
    assert len(book.due(market.inputs(now=cut_off), PAPER, CAUSE)) == 1
