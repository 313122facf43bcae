"""Cancellations and modifications of an order, whatever becomes of their calls and of the order meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import IllegalTransition, OrderStatus, OrderType, PositionEffect, Product, Side
from alphapanda.domain.order_events import Cancelled, Fill, Filled, OrderUpdate, Submitted
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.intent import ImpossibleReport
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import (
    MOST_CANCEL_CALLS,
    TRANSITIONS,
    ChangeEvent,
    ChangeKind,
    ChangeRequest,
    ChangeStatus,
    IllegalChange,
    forbidden,
    quantity_of_intent,
)

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
KEY = PositionKey("paper", "default", "crossing", "NSE:INFY", Product.MIS)
AT_100 = Terms(OrderType.LIMIT, limit_price=Decimal(100))
AT_101 = Terms(OrderType.LIMIT, limit_price=Decimal(101))


def ordered(*parts: int) -> Order:
    verdict = Approved(
        ids.derived_id("signal"), "c", KEY, 1, 1, Side.BUY, sum(parts), AT_100, PositionEffect.OPENS, NOON, NOON, ()
    )  # fmt: skip
    return Order.approved(verdict, "verdict", parts)


def trade(number: int, quantity: int) -> Fill:
    return Fill(ids.derived_id("t", number), str(number), quantity, Decimal(100), Decimal("0.10"), NOON)


def shown(
    status: BrokerOrderStatus = BrokerOrderStatus.OPEN,
    *fills: Fill,
    quantity: int = 10,
    terms: Terms = AT_100,
    trigger_pending: bool = False,
) -> BrokerOrder:
    return BrokerOrder("b1", status, fills, "the broker's words", quantity, terms, trigger_pending)


def resting(*fills: Fill) -> Order:
    """An order of 10 that rests at its broker."""
    order = ordered(10)
    order.report(order.submitting(1), shown(BrokerOrderStatus.OPEN, *fills), NOON)
    return order


def change(
    kind: ChangeKind = ChangeKind.CANCEL, quantity: int = 0, terms: Terms | None = None
) -> ChangeRequest:
    return ChangeRequest("change", resting().order_id, kind, "trader", "", quantity, terms)


def called(order: Order, one: ChangeRequest) -> ChangeRequest:
    one.calling(order.intents[-1], 7)
    return one


# -- the order --------------------------------------------------------------------------------------------------------


def test_a_modification_that_the_broker_shows_is_one_more_revision() -> None:
    """Quantity, leaves and terms are the new ones, the status stays; shown again it changes nothing."""
    order = resting(trade(1, 4))
    cut = shown(BrokerOrderStatus.OPEN, trade(1, 4), quantity=6, terms=AT_101)
    (said,) = order.report(order.intents[0], cut, NOON)
    assert isinstance(said, Submitted)
    assert (said.order.revision, said.order.status) == (3, OrderStatus.PARTIALLY_FILLED)
    assert (said.order.quantity, said.order.leaves, said.order.terms) == (6, 2, AT_101)
    assert order.report(order.intents[0], cut, NOON) == []
    (end,) = order.report(order.intents[0], shown(BrokerOrderStatus.COMPLETE, trade(1, 4), trade(2, 2), quantity=6, terms=AT_101), NOON)  # fmt: skip
    assert (end.order.status, end.order.filled) == (OrderStatus.FILLED, 6)


def test_fills_beyond_the_old_quantity_come_with_the_new_one() -> None:
    """A report that shows both is applied whole: first the modification, then the fills."""
    order = resting()
    said = order.report(order.intents[0], shown(BrokerOrderStatus.COMPLETE, trade(1, 15), quantity=15), NOON)
    assert [type(one) for one in said] == [Submitted, Filled]
    assert (order.status, order.quantity, order.filled) == (OrderStatus.FILLED, 15, 15)


def test_a_quantity_cut_to_what_had_filled_ends_the_order_as_cancelled() -> None:
    """No fill is left to end it, so its end is the cancellation of the rest."""
    order = resting(trade(1, 4))
    for status in (BrokerOrderStatus.COMPLETE, BrokerOrderStatus.OPEN):
        cut = order.copy()
        (end,) = cut.report(cut.intents[0], shown(status, trade(1, 4), quantity=4), NOON)
        assert isinstance(end, Cancelled)
        assert (end.order.filled, end.order.leaves, end.order.quantity) == (4, 0, 10)


def test_a_stop_tells_whether_it_waits_for_its_trigger() -> None:
    """The order carries it, and a report of the broker takes it back."""
    order = ordered(10)
    (said,) = order.report(order.submitting(1), shown(trigger_pending=True), NOON)
    assert said.order.trigger_pending
    assert order.report(order.intents[0], shown(), NOON) == []
    assert not order.state().trigger_pending


def test_an_order_of_which_nothing_is_at_the_broker_is_cancelled_at_once() -> None:
    """Before its first call and between two slices; an intent that may have been sent forbids it."""
    order = ordered(10)
    (end,) = order.cancelled_unsent("no longer wanted", NOON)
    assert isinstance(end, Cancelled)
    assert (end.order.status, end.order.revision, end.message) == (
        OrderStatus.CANCELLED,
        1,
        "no longer wanted",
    )
    between = ordered(5, 5)
    between.report(between.submitting(1), BrokerOrder("b1", BrokerOrderStatus.COMPLETE, (trade(1, 5),)), NOON)
    (end,) = between.cancelled_unsent("no longer wanted", NOON)
    assert (end.order.filled, end.order.leaves) == (5, 0)
    sent = ordered(10)
    sent.submitting(1)
    with pytest.raises(IllegalTransition):
        sent.cancelled_unsent("no longer wanted", NOON)


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([*BrokerOrderStatus]),
        st.integers(0, 4),
        st.integers(0, 14),
        st.sampled_from([AT_100, AT_101]),
    ),
    max_size=20,
)


@settings(max_examples=300)
@given(parts=st.lists(st.integers(1, 6), min_size=1, max_size=3), reports=REPORTS)
def test_modified_at_any_time_an_order_has_one_end(
    parts: list[int], reports: list[tuple[BrokerOrderStatus, int, int, Terms]]
) -> None:
    """Revisions 1..n; filled never exceeds quantity, leaves are what is left; at most one end and nothing after it."""
    order, said, fills = ordered(*parts), list[OrderUpdate](), list[Fill]()
    for number, (status, units, quantity, terms) in enumerate(reports):
        intent = order.current
        if intent is None:
            break
        if intent.status is OrderStatus.PENDING_SUBMIT:
            order.submitting(1)
            fills.clear()
        if units:
            fills.append(trade(number, units))
        before = order.copy()
        try:
            said += order.report(intent, BrokerOrder("b", status, tuple(fills), "", quantity, terms), NOON)
        except ImpossibleReport:
            assert order == before, "a report that can't be true changes nothing"
            fills.pop()
    assert [update.order.revision for update in said] == list(range(1, len(said) + 1))
    for update in said:
        state = update.order
        assert 0 <= state.filled <= state.quantity
        assert state.leaves == (0 if state.status.is_final else state.quantity - state.filled)
    ends = [update for update in said if update.order.status.is_final]
    assert ends == ([said[-1]] if order.status.is_final else [])
    assert order.filled == sum(intent.filled for intent in order.intents)
    assert all(intent.filled <= intent.quantity for intent in order.intents)


# -- the change -------------------------------------------------------------------------------------------------------


def test_a_cancellation_is_done_when_the_order_is_cancelled() -> None:
    """With what had filled of it; one that filled first overtakes it."""
    order = resting(trade(1, 4))
    one = called(order, change())
    assert not one.settle(order)
    order.report(order.intents[0], shown(BrokerOrderStatus.CANCELLED, trade(1, 4)), NOON)
    assert one.settle(order)
    assert (one.status, one.message) == (ChangeStatus.DONE, "")
    filled = resting(trade(1, 10))
    late = called(filled, change())
    assert late.settle(filled)
    assert (late.status, late.message) == (ChangeStatus.OVERTAKEN, "the order was FILLED first")


def test_an_unanswered_cancellation_is_called_again_four_times() -> None:
    """Each time after a window; then a person has to look."""
    order, one = resting(), change()
    for call in range(1, MOST_CANCEL_CALLS + 1):
        called(order, one).no_clear_answer()
        assert not one.settle(order)
        assert one.settle(order, window_is_over=True) == (call == MOST_CANCEL_CALLS)
    assert (one.status, one.calls) == (ChangeStatus.ABSENT, MOST_CANCEL_CALLS)
    assert "works on" in one.message


def test_an_unanswered_modification_is_never_called_again() -> None:
    """The order as the broker shows it tells whether it was done; after the window it was not."""
    order = resting()
    one = called(order, change(ChangeKind.MODIFY, 6, AT_101))
    one.no_clear_answer()
    assert not one.settle(order)
    absent = replace(one)
    assert absent.settle(order, window_is_over=True)
    assert absent.status is ChangeStatus.ABSENT
    order.report(order.intents[0], shown(quantity=6, terms=AT_101), NOON)
    assert one.settle(order, window_is_over=True)
    assert one.status is ChangeStatus.DONE


def test_a_modification_of_an_order_that_ended_was_overtaken_unless_it_ended_as_modified() -> None:
    """What filled at the new terms was modified; what filled at the old ones was not."""
    order = resting()
    one = called(order, change(ChangeKind.MODIFY, 6))
    both = replace(one)
    order.report(order.intents[0], shown(BrokerOrderStatus.COMPLETE, trade(1, 10)), NOON)
    assert both.settle(order)
    assert both.status is ChangeStatus.OVERTAKEN
    modified = resting()
    modified.report(modified.intents[0], shown(BrokerOrderStatus.COMPLETE, trade(1, 6), quantity=6), NOON)
    assert one.settle(modified)
    assert one.status is ChangeStatus.DONE


def test_what_was_never_called_waits_for_its_call_again() -> None:
    """It counts no call; a change that was called can't be taken back once its answer was unclear."""
    order = resting()
    one = called(order, change())
    one.never_called()
    assert (one.status, one.calls) == (ChangeStatus.PENDING, 0)
    called(order, one).no_clear_answer()
    with pytest.raises(IllegalChange):
        one.never_called()


@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        (0, ""),
        (3, "have filled already"),
        (4, "have filled already"),
        (5, ""),
        (20, ""),
        (21, "freeze quantity 20"),
        (105, "more than the 100 that are held"),
    ],
)
def test_a_quantity_has_to_leave_something_within_the_freeze_quantity(quantity: int, why: str) -> None:
    """No less than what has filled; not more than the exchange takes as one order, nor, of an exit, than is held; an entry never grows."""
    order, wanted = resting(trade(1, 4)), change(ChangeKind.MODIFY, quantity)
    if quantity > order.quantity:
        assert "entry of 10 units" in forbidden(wanted, order, order.intents[0], 20, -100)
    order.effect = PositionEffect.REDUCES
    found = forbidden(wanted, order, order.intents[0], 20, -100)
    assert why in found
    assert bool(found) == bool(why)


def test_an_entry_may_not_become_worth_more_than_risk_approved() -> None:
    """A dearer price passes with fewer units, and for an exit; a cheaper one always."""
    order = resting()
    intent = order.intents[0]
    dearer, fewer = change(ChangeKind.MODIFY, 0, AT_101), change(ChangeKind.MODIFY, 9, AT_101)
    assert "worth 1010 rupees, and risk has approved 1000" in forbidden(dearer, order, intent, 0, 0)
    assert forbidden(fewer, order, intent, 0, 0) == ""
    order.effect = PositionEffect.REDUCES
    assert forbidden(dearer, order, intent, 0, 0) == ""


def test_of_an_order_in_slices_the_one_that_works_takes_the_change() -> None:
    """The slices before it and after it are as they were."""
    order = ordered(10, 10, 5)
    order.report(order.submitting(1), BrokerOrder("b1", BrokerOrderStatus.COMPLETE, (trade(1, 10),)), NOON)
    second = order.submitting(2)
    order.report(second, shown(), NOON)
    assert quantity_of_intent(order, second, 22) == 7
    assert forbidden(change(ChangeKind.MODIFY, 22), order, second, 10, 0) == ""
    assert "in slices" in forbidden(change(ChangeKind.MODIFY, 15), order, second, 10, 0)
    order.report(second, shown(quantity=7), NOON)
    assert (order.quantity, order.leaves) == (22, 12)


def test_every_pair_that_is_not_in_the_table_is_an_error() -> None:
    """And nothing leads out of a final status."""
    assert not any(status.is_final for status, _ in TRANSITIONS)
    assert {status for status in ChangeStatus if not status.is_final} == {status for status, _ in TRANSITIONS}
    ended = change()
    ended.refused("no")
    for event in (
        ended.no_clear_answer,
        ended.never_called,
        lambda: ended.refused("no"),
        lambda: ended.done_unsent(""),
    ):
        with pytest.raises(IllegalChange):
            event()
    assert len(TRANSITIONS) == 14
    assert ChangeEvent.AGAIN in {event for _, event in TRANSITIONS}
