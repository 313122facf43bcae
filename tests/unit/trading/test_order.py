"""The order's life, whatever a broker says in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import (
    FailureReason,
    IllegalTransition,
    OrderEvent,
    OrderStatus,
    PositionEffect,
    Product,
    Side,
)
from alphapanda.domain.order_events import Cancelled, Failed, Fill, Filled, OrderUpdate, Submitted
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.intent import ImpossibleReport
from alphapanda.trading.core.late_arrival import adopt, call_of, has_ended, is_absent, is_all
from alphapanda.trading.core.order import Order

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
KEY = PositionKey("paper", "default", "crossing", "NSE:INFY", Product.MIS)


def ordered(*parts: int) -> Order:
    verdict = Approved(
        ids.derived_id("signal"), "c", KEY, 1, 1, Side.BUY, sum(parts), AT_MARKET, PositionEffect.OPENS,
        NOON, NOON, (),
    )  # fmt: skip
    return Order.approved(verdict, "verdict", parts)


def trade(number: int, quantity: int, price: str = "100.10") -> Fill:
    return Fill(ids.derived_id("t", number), str(number), quantity, Decimal(price), Decimal("0.10"), NOON)


def told(status: BrokerOrderStatus, *fills: Fill) -> BrokerOrder:
    return BrokerOrder("b1", status, fills, "the broker's words")


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "submit",
                "unclear",
                "open",
                "complete",
                "reject",
                "cancel",
                "absent",
                "not sent",
                "never called",
            ]
        ),
        st.integers(0, 4),
    ),
    max_size=30,
)


def act(order: Order, action: str, units: int, fills: list[Fill]) -> list[OrderUpdate]:
    """One thing that happens; whatever the order can't take is refused."""
    if action == "submit":
        order.submitting(1)
        fills.clear()
        return []
    if action == "not sent":
        return order.not_sent(FailureReason.EXPIRED, "late", NOON)
    intent = order.current
    if intent is None or intent.status is OrderStatus.PENDING_SUBMIT:
        raise IllegalTransition(order.status, OrderEvent.ACCEPTED)
    if action == "unclear":
        order.no_clear_answer(intent)
        return []
    if action == "never called":
        order.never_called(intent)
        fills.clear()
        return []
    if action == "absent":
        return order.absent(intent, "never seen", NOON)
    if units:
        fills.append(trade(order.revision * 100 + len(fills), units))
    status = {
        "open": BrokerOrderStatus.OPEN,
        "complete": BrokerOrderStatus.COMPLETE,
        "reject": BrokerOrderStatus.REJECTED,
        "cancel": BrokerOrderStatus.CANCELLED,
    }[action]
    return order.report(intent, told(status, *fills), NOON)


@settings(max_examples=400)
@given(parts=st.lists(st.integers(1, 6), min_size=1, max_size=3), actions=ACTIONS)
def test_any_story_has_one_end(parts: list[int], actions: list[tuple[str, int]]) -> None:
    """Whatever happens: revisions 1..n, filled and leaves agree, at most one terminal event and nothing after it."""
    order = ordered(*parts)
    said: list[OrderUpdate] = []
    fills: list[Fill] = []
    for action, units in actions:
        before = order.copy()
        try:
            said += act(order, action, units, fills)
        except IllegalTransition:
            pass
        except ImpossibleReport:
            assert order == before, "a report that can't be true changes nothing"
            fills.pop()
    assert [update.order.revision for update in said] == list(range(1, len(said) + 1))
    filled = 0
    for update in said:
        state = update.order
        if isinstance(update, Filled):
            filled += update.fill.quantity
        assert state.filled == filled <= state.quantity
        assert state.leaves == (0 if state.status.is_final else state.quantity - filled)
    ends = [update for update in said if update.order.status.is_final]
    assert ends == ([said[-1]] if order.status.is_final else [])
    assert sum(isinstance(update, Submitted) for update in said) <= 1
    assert filled == sum(intent.filled for intent in order.intents)
    assert not order.status.is_final or all(intent.status.is_final for intent in order.intents)


def test_an_order_fills_slice_by_slice() -> None:
    """The next slice can be sent only when the one before is filled; the last one's fill ends the order."""
    order = ordered(10, 10)
    first = order.submitting(1)
    with pytest.raises(IllegalTransition):
        order.submitting(1)
    said = order.report(first, told(BrokerOrderStatus.COMPLETE, trade(1, 10)), NOON)
    second = order.submitting(1)
    said += order.report(second, told(BrokerOrderStatus.COMPLETE, trade(2, 10, "100.20")), NOON)
    assert [type(update) for update in said] == [Submitted, Filled, Filled]
    assert said[-1].order.status is OrderStatus.FILLED
    assert said[-1].order.average_price == Decimal("100.15")
    assert first.tag != second.tag


def test_a_refused_slice_ends_the_order_with_what_is_filled() -> None:
    """Slices after a refused one aren't sent; the one terminal event says what was filled."""
    order = ordered(10, 10, 10)
    order.report(order.submitting(1), told(BrokerOrderStatus.COMPLETE, trade(1, 10)), NOON)
    (end,) = order.report(order.submitting(1), told(BrokerOrderStatus.REJECTED), NOON)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.BROKER_REJECTED
    assert (end.order.status, end.order.filled, end.order.leaves) == (OrderStatus.REJECTED, 10, 0)
    assert order.current is None
    assert order.intents[2].status is OrderStatus.FAILED


def test_the_same_report_twice_says_nothing_twice() -> None:
    """Fills apply by their id, so a report that comes again changes nothing."""
    order = ordered(10)
    intent = order.submitting(1)
    report = told(BrokerOrderStatus.OPEN, trade(1, 4))
    assert len(order.report(intent, report, NOON)) == 2
    assert order.report(intent, report, NOON) == []
    (end,) = order.report(intent, told(BrokerOrderStatus.CANCELLED, trade(1, 4)), NOON)
    assert isinstance(end, Cancelled)
    assert order.report(intent, report, NOON) == []


def exit_of(*parts: int) -> Order:
    order = ordered(*parts)
    order.side, order.effect = Side.SELL, PositionEffect.REDUCES
    return order


def test_an_absent_exit_is_tried_again_as_a_new_intent() -> None:
    """What is left of an exit goes on under new intents, as far as the position that was read allows; an entry ends."""
    order = exit_of(10, 10)
    order.report(order.submitting(1), told(BrokerOrderStatus.COMPLETE, trade(1, 10)), NOON)
    second = order.submitting(1)
    order.no_clear_answer(second)
    units = order.quantity_to_exit_again(position=6)
    assert units == 6
    assert order.absent(second, "never seen", NOON, (units,)) == []
    third = order.submitting(2)
    assert (third.number, third.quantity, third.tag == second.tag) == (2, 6, False)
    (end,) = order.report(third, told(BrokerOrderStatus.COMPLETE, trade(2, 6)), NOON)
    assert (end.order.status, end.order.filled, end.order.quantity) == (OrderStatus.FILLED, 16, 16)
    assert ordered(10).quantity_to_exit_again(position=-10) == 0
    assert exit_of(10).quantity_to_exit_again(position=0) == 0


def test_an_exit_is_tried_four_times() -> None:
    """A broker that never shows an exit is not asked for ever: the fourth absent intent ends it as FAILED (ABSENT)."""
    order = exit_of(10)
    for attempt in range(1, 5):
        intent = order.submitting(attempt)
        order.no_clear_answer(intent)
        units = order.quantity_to_exit_again(position=10)
        said = order.absent(intent, "never seen", NOON, (units,) if units else ())
        assert (units, len(said)) == ((10, 0) if attempt < 4 else (0, 1))
    assert (order.status, order.failure) == (OrderStatus.FAILED, FailureReason.ABSENT)


def test_an_intent_that_was_never_called_is_replaced() -> None:
    """It ends as NOT_SENT and another of its units goes before what waits; the order is as large as it was."""
    order = ordered(10, 5)
    first = order.submitting(1)
    order.never_called(first)
    assert (order.status, first.status) == (OrderStatus.PENDING_SUBMIT, OrderStatus.NOT_SENT)
    assert [(intent.number, intent.quantity) for intent in order.intents] == [(0, 10), (1, 10), (2, 5)]
    assert len({intent.tag for intent in order.intents}) == 3
    assert not is_absent(first)
    second = order.submitting(2)
    order.report(second, told(BrokerOrderStatus.COMPLETE, trade(1, 10)), NOON)
    third = order.submitting(3)
    order.never_called(third)
    assert (order.status, order.quantity) == (OrderStatus.PARTIALLY_FILLED, 15)
    (end,) = order.report(order.submitting(4), told(BrokerOrderStatus.COMPLETE, trade(2, 5)), NOON)
    assert (end.order.status, end.order.filled) == (OrderStatus.FILLED, 15)


def test_what_may_have_been_called_is_never_taken_back() -> None:
    """An intent whose call got no clear answer, or that the broker has, can't end as never called."""
    for after in ("unclear", "open"):
        order = ordered(10)
        intent = order.submitting(1)
        act(order, after, 0, [])
        with pytest.raises(IllegalTransition):
            order.never_called(intent)


def test_a_late_arrival_is_an_order_of_its_own() -> None:
    """It has ids of its own that follow from the intent, the position of the order given up, and one end."""
    order = ordered(10)
    intent = order.submitting(1)
    order.no_clear_answer(intent)
    order.absent(intent, "never seen", NOON)
    assert is_absent(intent)
    broker = told(BrokerOrderStatus.COMPLETE, trade(1, 4))
    assert not has_ended(intent, broker)
    whole = told(BrokerOrderStatus.COMPLETE, trade(1, 4), trade(2, 6))
    assert has_ended(intent, whole)
    adopted, said = adopt(order, intent, whole, position=-10, market_time=NOON)
    assert adopt(order, intent, whole, -10, NOON)[0] == adopted
    assert adopted.order_id != order.order_id
    assert adopted.signal_id != order.signal_id
    assert (adopted.key, adopted.effect, adopted.filled) == (order.key, PositionEffect.REDUCES, 10)
    assert [type(one) for one in said] == [Submitted, Filled, Filled]
    assert [one.order.status.is_final for one in said] == [False, False, True]
    cut = told(BrokerOrderStatus.CANCELLED, trade(1, 4))
    (*_, end) = adopt(order, intent, cut, 0, NOON)[1]
    assert (end.order.status, end.order.filled, end.order.leaves) == (OrderStatus.CANCELLED, 4, 0)


@pytest.mark.parametrize("end", [BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED])
def test_a_fill_after_the_end_is_booked_and_no_second_end(end: BrokerOrderStatus) -> None:
    """It has the next revision, status and leaves stay, the cumulative rises; told again it changes nothing."""
    order = ordered(10)
    intent = order.submitting(1)
    (*_, ended) = order.report(intent, told(end, trade(1, 4)), NOON)
    assert intent.ended_short
    (late,) = order.report(intent, told(end, trade(1, 4), trade(2, 5, "102")), NOON)
    assert isinstance(late, Filled)
    assert late.order.revision == ended.order.revision + 1
    assert (late.order.status, late.order.leaves, late.order.filled) == (ended.order.status, 0, 9)
    assert (intent.filled, order.turnover) == (9, 4 * Decimal("100.10") + 5 * Decimal(102))
    assert order.report(intent, told(end, trade(1, 4), trade(2, 5, "102")), NOON) == []
    order.report(intent, told(end, trade(3, 1)), NOON)
    assert (order.status, order.filled, intent.ended_short) == (ended.order.status, 10, False)
    before = order.copy()
    with pytest.raises(ImpossibleReport):
        order.report(intent, told(end, trade(4, 1)), NOON)
    assert order == before


def test_a_fill_of_what_was_never_sent_is_impossible() -> None:
    """A slice that was dropped unsent, or whose call was never begun, can't have traded."""
    order = ordered(5, 5)
    first = order.submitting(1)
    order.never_called(first)
    order.not_sent(FailureReason.EXPIRED, "late", NOON)
    for intent in order.intents:
        with pytest.raises(ImpossibleReport):
            order.report(intent, told(BrokerOrderStatus.COMPLETE, trade(1, 5)), NOON)


def test_an_absent_intent_is_not_booked_twice() -> None:
    """What its broker order traded is adopted as an order of its own, and so are the trades that come after that."""
    order = ordered(10)
    intent = order.submitting(1)
    order.absent(intent, "never seen", NOON)
    short = told(BrokerOrderStatus.CANCELLED, trade(1, 4))
    assert order.report(intent, short, NOON) == []
    adopted, _ = adopt(order, intent, short, 0, NOON)
    assert not is_all(intent, short)
    whole = told(BrokerOrderStatus.CANCELLED, trade(1, 4), trade(2, 6))
    (late,) = adopted.report(call_of(adopted, intent), whole, NOON)
    assert (late.order.status, late.order.filled, late.order.leaves) == (OrderStatus.CANCELLED, 10, 0)
    assert is_all(intent, whole)


def test_more_filled_than_sent_is_impossible() -> None:
    """A report of more than was sent is refused before it changes anything."""
    order = ordered(10)
    intent = order.submitting(1)
    with pytest.raises(ImpossibleReport):
        order.report(intent, told(BrokerOrderStatus.COMPLETE, trade(1, 11)), NOON)
    assert order.status is OrderStatus.SUBMITTING


def test_the_ids_follow_from_the_signal() -> None:
    """The same signal makes the same order, intents and tags, whoever computes them again."""
    assert ordered(5, 5) == ordered(5, 5)
    assert all(len(intent.tag) <= 20 for intent in ordered(5, 5).intents)
