"""The checks just before sending."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.values import replace

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import FailureReason, OrderType, PositionEffect, Product, Side, TradingState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.terms import Protection, Terms
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.checks import CheckInputs, Go, NotSent, PreSubmitChecks
from alphapanda.trading.core.order import Order

Judge = Callable[..., Go | NotSent]
Approve = Callable[..., Approved]
AFTER_HOURS = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EXIT = {"effect": PositionEffect.REDUCES, "side": Side.SELL}


@pytest.fixture
def judge(calendar: TradingCalendar, infy: Instrument, market: MarketView) -> Judge:
    def judged(verdict: Approved, opted_in: tuple[str, ...] = (), **changes: object) -> Go | NotSent:
        router = ExecutionRouter(["paper", "live"])
        checks = PreSubmitChecks(router, lambda _: opted_in, calendar, timedelta(seconds=30))
        at = CheckInputs(infy, market, 0, TradingState.ACTIVE, simulated=True)
        order = Order.approved(verdict, "", (verdict.quantity,))
        return checks.judge(order, replace(at, **changes))  # type: ignore[arg-type]

    return judged


def why(decision: Go | NotSent) -> FailureReason | None:
    return decision.reason if isinstance(decision, NotSent) else None


def test_an_order_in_time_goes(judge: Judge, approve: Approve) -> None:
    """An entry in session, in time and with a fresh price is sent as decided."""
    assert judge(approve()) == Go((10,))


def test_slices_follow_the_freeze_quantity(judge: Judge, approve: Approve) -> None:
    """More than the freeze quantity of 100 goes in slices; more than ten of them, or no whole lot, isn't sent."""
    assert judge(approve(quantity=250)) == Go((100, 100, 50))
    assert why(judge(approve(quantity=1005))) is FailureReason.NOT_EXECUTABLE
    assert why(judge(approve(quantity=7))) is FailureReason.NOT_EXECUTABLE
    assert why(judge(approve(), instrument=None)) is FailureReason.NOT_EXECUTABLE


def test_an_entry_whose_stop_could_not_rest_whole_is_not_sent(judge: Judge, approve: Approve) -> None:
    """A stop of more than the freeze quantity would rest with its first slice only; a target is held here and has no limit."""
    refused = judge(approve(quantity=105, protection=Protection(Decimal(1400))))
    assert isinstance(refused, NotSent)
    assert "can't be larger than the exchange's freeze quantity 100" in refused.message
    assert judge(approve(quantity=100, protection=Protection(Decimal(1400)))) == Go((100,))
    assert judge(approve(quantity=105, protection=Protection(target=Decimal(1600)))) == Go((100, 5))


def test_an_entry_whose_protection_would_close_it_at_once_is_not_sent(judge: Judge, approve: Approve) -> None:
    """A stop above the last price of 1500.05, or above the entry's limit, and a target below it."""
    limit = Terms(OrderType.LIMIT, limit_price=Decimal(1450))
    for changes in (
        {"protection": Protection(Decimal(1600))},
        {"protection": Protection(Decimal(1460)), "terms": limit},
        {"protection": Protection(target=Decimal(1400))},
    ):
        refused = judge(approve(**changes))
        assert isinstance(refused, NotSent)
        assert refused.reason is FailureReason.NOT_EXECUTABLE
        assert "protection." in refused.message


def test_the_router_is_asked_again(judge: Judge, approve: Approve) -> None:
    """A broker that is off gets nothing; another than paper gets the entries of who opted in, any exit, any person's."""
    live = replace(approve().key, broker="live")
    off = replace(live, broker="off")
    assert why(judge(approve(key=off))) is FailureReason.NOT_ROUTED
    assert why(judge(approve(key=live))) is FailureReason.NOT_ROUTED
    assert judge(approve(key=live), ("live",)) == Go((10,))
    assert judge(approve(key=live, **EXIT)) == Go((10,))
    assert judge(approve(key=replace(live, strategy_id=MANUAL))) == Go((10,))


@pytest.mark.parametrize(
    ("state", "entry", "exit_"),
    [
        (TradingState.ACTIVE, None, None),
        (TradingState.REDUCING, FailureReason.KILL_SWITCH, None),
        (TradingState.HALTED, FailureReason.KILL_SWITCH, FailureReason.KILL_SWITCH),
    ],
)
def test_the_kill_switch_stands_first(judge, approve, state, entry, exit_) -> None:
    """REDUCING lets exits through, HALTED nothing."""
    assert why(judge(approve(), state=state)) is entry
    assert why(judge(approve(**EXIT), state=state)) is exit_


def test_nothing_is_sent_outside_the_session(judge: Judge, approve: Approve, market: MarketView) -> None:
    """After the close neither entry nor exit is sent, whatever its valid_until says."""
    closed = replace(market, market_time=AFTER_HOURS)
    for verdict in (approve(valid_until=AFTER_HOURS), approve(valid_until=AFTER_HOURS, **EXIT)):
        assert why(judge(verdict, market=closed)) is FailureReason.MARKET_CLOSED


def test_a_day_the_calendar_does_not_know_holds_only_entries_back(
    judge: Judge, approve: Approve, market: MarketView
) -> None:
    """Without calendar data the session is unknown: entries are refused, exits pass."""
    unknown = replace(market, market_time=datetime(2035, 1, 1, tzinfo=UTC))
    assert why(judge(approve(), market=unknown)) is FailureReason.MARKET_CLOSED
    assert judge(approve(valid_until=datetime(2036, 1, 1, tzinfo=UTC), **EXIT), market=unknown) == Go((10,))


def test_unknown_market_time_holds_back_all_but_a_live_exit(
    judge: Judge, approve: Approve, market: MarketView
) -> None:
    """Entries fail; an exit goes to a live broker, but a paper exchange can't fill it."""
    unknown = replace(market, market_time=None, prices={})
    assert why(judge(approve(), market=unknown)) is FailureReason.MARKET_TIME_UNKNOWN
    assert why(judge(approve(**EXIT), market=unknown)) is FailureReason.MARKET_TIME_UNKNOWN
    assert judge(approve(**EXIT), market=unknown, simulated=False) == Go((10,))


def test_an_entry_needs_a_fresh_price(judge: Judge, approve: Approve, market: MarketView) -> None:
    """No price or one older than the limit fails an entry; on paper an exit takes an old one, live it takes none."""
    none = replace(market, prices={})
    later = market.market_time + timedelta(seconds=31)  # type: ignore[operator]
    old = replace(market, market_time=later)
    assert why(judge(approve(), market=none)) is FailureReason.NO_PRICE
    assert why(judge(approve(), market=old)) is FailureReason.STALE_PRICE
    assert judge(approve(**EXIT), market=old) == Go((10,))
    assert why(judge(approve(**EXIT), market=none)) is FailureReason.NO_PRICE
    assert judge(approve(**EXIT), market=none, simulated=False) == Go((10,))


@pytest.mark.parametrize(
    ("position", "expected"),
    [(30, Go((10,))), (10, Go((10,))), (5, Go((5,))), (0, None), (-10, None)],
)
def test_a_late_exit_is_checked_against_the_position(judge, approve, position, expected) -> None:
    """Past valid_until an exit sells at most what is still held, and nothing where nothing is."""
    late = approve(valid_until=datetime(2026, 11, 20, 6, 29, tzinfo=UTC), **EXIT)
    decision = judge(late, position=position)
    if expected is None:
        assert why(decision) is FailureReason.NOTHING_TO_EXIT
    else:
        assert decision == expected


def test_a_late_entry_has_expired(judge: Judge, approve: Approve) -> None:
    """Past valid_until an entry isn't executed; at that very moment it is."""
    assert (
        why(judge(approve(valid_until=datetime(2026, 11, 20, 6, 29, 59, tzinfo=UTC))))
        is FailureReason.EXPIRED
    )
    assert judge(approve(valid_until=datetime(2026, 11, 20, 6, 30, tzinfo=UTC))) == Go((10,))


def test_a_price_of_exactly_the_limit_is_fresh(judge: Judge, approve: Approve, market: MarketView) -> None:
    """The limit itself is still fresh."""
    at_limit = replace(market, market_time=market.market_time + timedelta(seconds=30))  # type: ignore[operator]
    assert judge(approve(), market=at_limit) == Go((10,))


def test_rule_3_what_a_broker_would_refuse_is_sent_to_none(judge: Judge, approve: Approve) -> None:
    """Risk decided earlier: the last price may have passed the trigger since. An exit at MARKET goes always."""
    passed = Terms(OrderType.SL_M, trigger_price=Decimal(1500))
    for simulated in (True, False):
        decision = judge(approve(terms=passed), simulated=simulated)
        assert isinstance(decision, NotSent)
        assert decision.reason is FailureReason.NOT_EXECUTABLE
        assert "has its trigger above the last price 1500.05, not at 1500" in decision.message
    assert judge(approve(terms=Terms(OrderType.SL_M, trigger_price=Decimal(1501)))) == Go((10,))
    shares = replace(approve().key, product=Product.NRML)
    assert why(judge(approve(key=shares))) is FailureReason.NOT_EXECUTABLE
    assert judge(approve(key=shares, **EXIT)) == Go((10,))
