"""Working exits are cut to what is held."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, ChangeStatus
from alphapanda.trading.exit_cuts import again, cut_of, cuts_of
from alphapanda.trading.store.change_port import StoredChange
from alphapanda.trading.traders.trader import Standing

AT = datetime(2026, 12, 1, tzinfo=UTC)
A, B = "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"


def exit_of(quantity: int, filled: int, side: Side = Side.SELL) -> Order:
    return Order(
        "order", "signal", "chain", "cause", PositionKey("zerodha", "default", "one", "NSE:INFY", Product.MIS), 1, 1, side,
        quantity, AT_MARKET, PositionEffect.REDUCES, datetime(2026, 12, 1, tzinfo=UTC),
        OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.OPEN, [], filled=filled,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("side", "position", "kind", "quantity"),
    [
        (Side.SELL, 7, None, 0),
        (Side.SELL, 6, ChangeKind.MODIFY, 9),
        (Side.SELL, 0, ChangeKind.CANCEL, 0),
        (Side.SELL, -4, ChangeKind.CANCEL, 0),
        (Side.BUY, -6, ChangeKind.MODIFY, 9),
        (Side.BUY, -20, None, 0),
    ],
)
def test_rule_9_an_exit_is_cut_to_its_position(
    side: Side, position: int, kind: ChangeKind | None, quantity: int
) -> None:
    """What has filled stays, of the rest no more than is held; an entry is left alone."""
    change = cut_of(exit_of(10, 3, side), position)
    assert (change.kind if change else None, change.quantity if change else 0) == (kind, quantity)
    entry = exit_of(10, 3, side)
    entry.effect = PositionEffect.OPENS
    assert cut_of(entry, position) is None


def working(order_id: str, tag_of: str, quantity: int, filled: int = 0) -> Order:
    """A working exit with an intent at the broker."""
    order = exit_of(quantity, filled)
    order.order_id = order_id
    order.intents = [Intent(tag_of, 0, quantity, order.status, 1, filled=filled)]
    return order


@pytest.mark.parametrize(
    ("held", "cuts"),
    [
        (12, {}),
        (9, {"second": (ChangeKind.MODIFY, 2)}),
        (7, {"second": (ChangeKind.CANCEL, 0)}),
        (6, {"first": (ChangeKind.MODIFY, 9), "second": (ChangeKind.CANCEL, 0)}),
        (-1, {"first": (ChangeKind.CANCEL, 0), "second": (ChangeKind.CANCEL, 0)}),
    ],
)
def test_rule_9_exits_together_are_cut_to_what_the_broker_holds(
    held: int, cuts: dict[str, tuple[ChangeKind, int]]
) -> None:
    """The newest one first, and by what the broker shows as filled: of ten units three are, though our books have one."""
    exits = [working("first", A, 10, 1), working("second", B, 5)]
    tags = [order.intents[0].tag for order in exits]
    standing = Standing({("NSE:INFY", Product.MIS): held}, {tags[0]: (3, 7), tags[1]: (0, 5)})
    made = cuts_of(exits, standing)
    assert {order_id: (change.kind, change.quantity) for order_id, change in made.items()} == cuts


def test_what_the_broker_does_not_show_is_not_cut() -> None:
    """An exit that has ended there, or whose instrument isn't told of, is left alone."""
    exits = [working("first", A, 10)]
    tag = exits[0].intents[0].tag
    assert cuts_of(exits, Standing({("NSE:INFY", Product.MIS): 0}, {})) == {}
    assert cuts_of(exits, Standing({}, {tag: (0, 10)})) == {}


@pytest.mark.parametrize(
    ("status", "seconds", "kind"),
    [
        (ChangeStatus.REFUSED, 1, ChangeKind.CANCEL),
        (ChangeStatus.UNKNOWN, 1, ChangeKind.CANCEL),
        (ChangeStatus.DONE, 1, None),
        (ChangeStatus.DONE, 13, ChangeKind.CANCEL),
    ],
)
def test_rule_9_a_modification_that_came_to_nothing_is_followed_by_a_cancellation(
    status: ChangeStatus, seconds: int, kind: ChangeKind | None
) -> None:
    """One that was taken has some seconds to show at the broker."""
    cut = cut_of(exit_of(10, 3), 6)
    assert cut is not None
    then = again(cut, [stored(cut, status)], AT + timedelta(seconds=seconds))
    assert (then.kind if then else None) is kind
    if then is not None:
        assert then.change_id != cut.change_id


def test_rule_9_a_refused_cancellation_is_asked_for_again_after_pauses_that_grow() -> None:
    """Its identity is another one each time."""
    cut = cut_of(exit_of(10, 3), 0)
    assert cut is not None
    history: list[StoredChange] = []
    for pause in (3, 6, 12, 24, 48, 60, 60):
        last = again(cut, history, AT + timedelta(days=1)) if history else cut
        assert last is not None
        history.append(stored(last, ChangeStatus.REFUSED))
        assert again(cut, history, AT + timedelta(seconds=pause - 1)) is None
        assert again(cut, history, AT + timedelta(seconds=pause)) is not None
    assert len({one.change.change_id for one in history}) == 7


def stored(change: ChangeRequest, status: ChangeStatus) -> StoredChange:
    return StoredChange(dataclasses.replace(change, status=status), AT)
