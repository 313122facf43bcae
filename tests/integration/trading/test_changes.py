"""Cancelling and modifying orders at a broker where they rest, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from resting_broker import RestingBroker
from trading_room import Room, approved, terminal

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Side, TradingState
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.trading.change_windows import LEAST_LOOK_UPS
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import (
    MOST_CANCEL_CALLS,
    ChangeKind,
    ChangeRequest,
    ChangeStatus,
    change_id_of,
)
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import OrderChange
from panda.trading.v1 import trading_pb2 as trading

AT_99 = Terms(OrderType.LIMIT, limit_price=Decimal(99))
DONE, REFUSED, OVERTAKEN, ABSENT = (
    trading.ORDER_CHANGE_STATUS_DONE,
    trading.ORDER_CHANGE_STATUS_REFUSED,
    trading.ORDER_CHANGE_STATUS_OVERTAKEN,
    trading.ORDER_CHANGE_STATUS_ABSENT,
)


@pytest.fixture
def broker() -> RestingBroker:
    return RestingBroker()


@pytest.fixture
async def room(opened, broker: RestingBroker) -> AsyncIterator[Room]:
    """A room open for trading, at a broker where orders rest."""
    async with opened(trader=broker) as made:
        await made.open_for_trading()
        yield made


async def resting(room: Room, number: int = 0, token: int = 1, **changes: object) -> Approved:
    """An order that rests at its broker."""
    verdict = approved(number, token, terms=AT_99, **changes)
    await room.handle(verdict)
    assert (await room.order(verdict)).status is OrderStatus.OPEN
    return verdict


def id_of(verdict: Approved) -> str:
    return order_id_of(verdict.signal_id)


async def tag_of(room: Room, verdict: Approved) -> str:
    return (await room.order(verdict)).intents[0].tag


async def cancelled(room: Room, verdict: Approved, request_id: str = "c1") -> trading.CancelOrderResponse:
    request = trading.CancelOrderRequest(
        request_id=request_id, order_id=id_of(verdict), reason="changed my mind"
    )
    return await room.api.CancelOrder(request, None)


async def modified(
    room: Room, verdict: Approved, quantity: int = 0, price: str = "", request_id: str = "m1"
) -> trading.ModifyOrderResponse:
    request = trading.ModifyOrderRequest(request_id=request_id, order_id=id_of(verdict), quantity=quantity)
    if price:
        request.limit_price.value = price
    return await room.api.ModifyOrder(request, None)


async def test_a_resting_order_is_cancelled_once(room: Room, broker: RestingBroker) -> None:
    """What had filled stays filled; the same command again calls nobody, and one more finds it cancelled."""
    verdict = await resting(room)
    broker.fill(await tag_of(room, verdict), 4)
    first = await cancelled(room, verdict)
    assert (first.change.status, first.change.reason) == (DONE, "changed my mind")
    assert (first.order.state.status, first.order.state.filled_quantity) == (OrderStatus.CANCELLED, 4)
    assert await cancelled(room, verdict) == first
    assert not (await cancelled(room, verdict, "c2")).HasField("change")
    assert broker.called("cancel") == 1
    assert [event.WhichOneof("payload") for event in await room.events(verdict)] == [
        "order_submitted",
        "order_filled",
        "order_cancelled",
    ]
    shown = await room.api.GetOrder(trading.GetOrderRequest(order_id=id_of(verdict)), None)
    assert [change.status for change in shown.changes] == [DONE]


async def test_a_cancellation_without_an_answer_is_looked_up_or_called_again(
    room: Room, broker: RestingBroker
) -> None:
    """Where only the answer was lost the broker shows it; where the call was lost it is made again."""
    lost, dropped = await resting(room), await resting(room, 1, 2)
    broker.lost["cancel"] = 1
    assert (await cancelled(room, lost)).change.status == DONE
    assert broker.called("cancel") == 1
    broker.dropped["cancel"] = 1
    assert (await cancelled(room, dropped, "c2")).change.status == DONE
    assert broker.calls["cancel", await tag_of(room, dropped)] == 2
    for verdict in (lost, dropped):
        assert len(terminal(await room.events(verdict))) == 1


@pytest.mark.parametrize("asked_again", [False, True])
async def test_a_change_whose_commit_had_no_clear_answer_is_carried_out(
    room: Room, broker: RestingBroker, monkeypatch: pytest.MonkeyPatch, asked_again: bool
) -> None:
    """The process that stored it doesn't know that; its next round finds it, and so does the command that is repeated."""
    verdict = await resting(room)
    monkeypatch.setattr(room.changes, "begin", _lost)
    with pytest.raises(ConnectionError):
        await cancelled(room, verdict)
    if asked_again:
        monkeypatch.undo()
        assert (await cancelled(room, verdict)).change.status == DONE
    else:
        await room.changes.rounds.once()
        await room.changes.wait([id_of(verdict)], 60)
    assert (await room.order(verdict)).status is OrderStatus.CANCELLED
    assert broker.called("cancel") == 1


def _lost(_: object) -> None:
    """What comes after a commit isn't reached."""
    raise ConnectionError("the answer to COMMIT is lost")


async def test_a_cancellation_is_called_again_long_before_the_visibility_window_ends(
    opened: Any, broker: RestingBroker
) -> None:
    """Several look-ups have to show the order as working in between; the fourth call is the last one, and then a person has to look."""
    broker.visibility_window = 3600.0
    options = TradingOptions(send_window_seconds=60, call_timeout_seconds=60, cancel_again_seconds=0.01)
    async with opened(trader=broker, options=options) as room:
        await room.open_for_trading()
        verdict, stuck = await resting(room), await resting(room, 1, 2)
        broker.dropped["cancel"] = 3
        assert (await cancelled(room, verdict)).change.status == DONE
        tag = await tag_of(room, verdict)
        assert broker.calls["cancel", tag] == MOST_CANCEL_CALLS
        assert broker.calls["look_up", tag] >= 3 * LEAST_LOOK_UPS
        broker.dropped["cancel"] = 10
        asked = asyncio.create_task(cancelled(room, stuck, "c2"))
        tag = await tag_of(room, stuck)
        async with asyncio.timeout(60):
            while True:
                if broker.calls["look_up", tag] >= (MOST_CANCEL_CALLS + 2) * LEAST_LOOK_UPS:
                    break
                await asyncio.sleep(0.02)
        assert broker.calls["cancel", tag] == MOST_CANCEL_CALLS
        asked.cancel()
        (left,) = await room.store.changes.unresolved(id_of(stuck))
        assert (left.status, left.calls) == (ChangeStatus.UNKNOWN, MOST_CANCEL_CALLS)


async def test_a_fill_overtakes_a_cancellation(room: Room, broker: RestingBroker) -> None:
    """The broker refuses what has filled; the answer says so, with the order as it filled."""
    verdict = await resting(room)
    broker.before = lambda tag: broker.fill(tag, 10)
    answer = await cancelled(room, verdict)
    assert (answer.change.status, answer.change.message) == (OVERTAKEN, "the order was FILLED first")
    assert answer.order.state.status == OrderStatus.FILLED
    with pytest.raises(FailedPrecondition, match="is FILLED"):
        await cancelled(room, verdict, "c2")
    with pytest.raises(NotFound):
        await room.api.CancelOrder(
            trading.CancelOrderRequest(request_id="c3", order_id=order_id_of("x")), None
        )


async def test_cancellations_at_the_same_time_are_one_call(room: Room, broker: RestingBroker) -> None:
    """Each command is answered; the order ends once."""
    verdict = await resting(room)
    answers = await asyncio.gather(*(cancelled(room, verdict, f"c{number}") for number in range(5)))
    assert {answer.change.status for answer in answers} <= {DONE, 0}
    assert broker.called("cancel") == 1
    assert len(terminal(await room.events(verdict))) == 1


async def test_what_was_not_sent_is_cancelled_without_a_call(room: Room, broker: RestingBroker) -> None:
    """An order that nobody has begun to send ends at once, and is never sent."""
    verdict = approved(terms=AT_99)
    async with room.store.transaction() as transaction:
        await transaction.add([OrderChange(Order.approved(verdict, verdict.signal_id, (10,)))])
    answer = await cancelled(room, verdict)
    assert (answer.change.status, answer.order.state.status) == (DONE, OrderStatus.CANCELLED)
    assert "changed my mind" in answer.order.message
    await room.executor.driver.drive(id_of(verdict))
    assert not broker.calls


async def test_a_modification_is_one_more_revision(room: Room, broker: RestingBroker) -> None:
    """The broker has the new quantity and price, and so have order, event and watches; its answer may get lost."""
    verdict = await resting(room)
    broker.fill(await tag_of(room, verdict), 4)
    broker.lost["modify"] = 1
    answer = await modified(room, verdict, 8, "98.5")
    assert answer.change.status == DONE
    state = answer.order.state
    assert (state.quantity, state.leaves_quantity, state.limit_price.value) == (8, 4, "98.5")
    assert await modified(room, verdict, 8, "98.5") == answer
    assert broker.called("modify") == 1
    (*_, last) = await room.events(verdict)
    assert last.order_filled.order.limit_price.value == "98.5"
    assert (await modified(room, verdict, 8, request_id="m2")).change.message.startswith("the order had")
    broker.fill(await tag_of(room, verdict), 4)
    broker.tell(await tag_of(room, verdict))
    order = await room.ended(verdict)
    assert (order.status, order.filled, order.terms.limit_price) == (OrderStatus.FILLED, 8, Decimal("98.5"))


async def test_a_modification_that_got_lost_is_not_made_again(room: Room, broker: RestingBroker) -> None:
    """After the window the order works on as it was; if the broker shows it later all the same, that is taken over."""
    verdict = await resting(room)
    broker.dropped["modify"] = 1
    answer = await modified(room, verdict, 5)
    assert (answer.change.status, answer.order.state.quantity) == (ABSENT, 10)
    assert broker.called("modify") == 1


@pytest.mark.parametrize(
    ("quantity", "price", "why"),
    [(4, "", "have filled already"), (20, "", "place another order"), (0, "99.003", None), (0, "", None)],
)
async def test_a_modification_that_can_not_be_is_refused(
    room: Room, broker: RestingBroker, quantity, price, why
) -> None:
    """What the order can't have is refused with a sentence, or by field, and nobody is called."""
    verdict = await resting(room)
    broker.fill(await tag_of(room, verdict), 4)
    await room.executor.driver.drive(id_of(verdict))
    if why is None:
        with pytest.raises(InvalidInput, match="limit_price"):
            await modified(room, verdict, quantity, price)
    else:
        change = (await modified(room, verdict, quantity, price)).change
        assert (change.status, why in change.message) == (REFUSED, True)
    assert not broker.called("modify")


async def test_rule_3_a_modification_that_the_exchange_would_refuse_is_asked_of_nobody(
    room: Room, broker: RestingBroker
) -> None:
    """The trigger of a stop that waits can't pass the last price of 100; once it was triggered, it doesn't matter."""
    stop = Terms(OrderType.SL, limit_price=Decimal(102), trigger_price=Decimal(101))
    verdict = approved(0, 1, terms=stop)
    await room.handle(verdict)
    tag = await tag_of(room, verdict)

    async def moved(request_id: str, *, waits: bool) -> trading.OrderChange:
        broker.orders[tag] = replace(broker.orders[tag], trigger_pending=waits)
        await room.executor.driver.drive(id_of(verdict))
        request = trading.ModifyOrderRequest(request_id=request_id, order_id=id_of(verdict))
        request.trigger_price.value = "99"
        return (await room.api.ModifyOrder(request, None)).change

    refused = await moved("m1", waits=True)
    assert refused.status == REFUSED
    assert "has its trigger above the last price 100" in refused.message
    assert not broker.called("modify")
    assert (await moved("m2", waits=False)).status == DONE


async def test_a_halt_forbids_modifications_and_no_cancellation(room: Room, broker: RestingBroker) -> None:
    """REDUCING lets an entry's quantity be cut, HALTED nothing but cancellations."""
    verdict = await resting(room)
    async with room.store.transaction() as transaction:
        await transaction.apply_kill_switch("paper", TradingState.REDUCING, 1)
    assert "REDUCING" in (await modified(room, verdict, 0, "98", "m1")).change.message
    assert (await modified(room, verdict, 9, request_id="m2")).change.status == DONE
    async with room.store.transaction() as transaction:
        await transaction.apply_kill_switch("paper", TradingState.HALTED, 2)
    refused = (await modified(room, verdict, 8, request_id="m3")).change
    assert (refused.status, "HALTED" in refused.message) == (REFUSED, True)
    assert (await cancelled(room, verdict)).change.status == DONE


async def test_an_exit_may_grow_to_what_is_held(room: Room) -> None:
    """More units than the position can't be left to exit."""
    entry = approved(1, quantity=20)
    await room.handle(entry)
    room.traders.by_broker["paper"]._trader.fill(await tag_of(room, entry), 20)  # type: ignore[attr-defined]
    await room.executor.driver.drive(id_of(entry))
    leaving = await resting(room, 2, side=Side.SELL, effect=PositionEffect.REDUCES)
    assert (await modified(room, leaving, 20)).change.status == DONE
    assert "held" in (await modified(room, leaving, 21, request_id="m2")).change.message


async def test_all_that_match_are_cancelled(room: Room, broker: RestingBroker) -> None:
    """By instrument, or all; the answer has each with its outcome."""
    verdicts = [await resting(room, number, number) for number in range(1, 5)]
    request = trading.CancelAllOrdersRequest(request_id="a1", symbol="NSE:S2", reason="flat")
    answer = await room.api.CancelAllOrders(request, None)
    assert [(one.order.symbol, one.change.status) for one in answer.cancellations] == [("NSE:S2", DONE)]
    request = trading.CancelAllOrdersRequest(request_id="a2")
    answer = await room.api.CancelAllOrders(request, None)
    assert [one.order.symbol for one in answer.cancellations] == ["NSE:S1", "NSE:S3", "NSE:S4"]
    assert {one.change.status for one in answer.cancellations} == {DONE}
    assert await room.api.CancelAllOrders(request, None) == answer
    request = trading.CancelAllOrdersRequest(request_id="a3")
    assert not (await room.api.CancelAllOrders(request, None)).cancellations
    assert {(await room.order(verdict)).status for verdict in verdicts} == {OrderStatus.CANCELLED}


async def test_after_a_restart_resting_orders_are_followed_and_not_sent_again(
    opened, broker: RestingBroker
) -> None:
    """What filled meanwhile is booked, what rests is followed, and a change that was being called is looked up first."""
    async with opened(trader=broker) as before:
        await before.open_for_trading()
        filled, rests, called = [await resting(before, number, number) for number in (1, 2, 3)]
    tags = {one.signal_id: await tag_of(before, one) for one in (filled, rests, called)}
    broker.fill(tags[filled.signal_id], 10)
    change = ChangeRequest(change_id_of("x", id_of(called)), id_of(called), ChangeKind.CANCEL, "trader")
    change.calling((await before.order(called)).intents[0], 7)
    async with opened(trader=broker) as room:
        async with room.store.transaction() as transaction:
            await transaction.changes.add([change])
        await room.open_for_trading()
        assert (await room.ended(filled)).status is OrderStatus.FILLED
        await room.changes.wait([id_of(called)], 30)
        (stored,) = await room.store.changes.find([change.change_id])
        assert (stored.change.status, stored.change.calls) == (ChangeStatus.DONE, 2)
        assert (await room.order(called)).status is OrderStatus.CANCELLED
        broker.fill(tags[rests.signal_id], 10)
        broker.tell(tags[rests.signal_id])
        assert (await room.ended(rests)).status is OrderStatus.FILLED
        assert broker.called("place") == 3


async def test_an_order_that_rests_makes_way_for_a_later_target(room: Room, broker: RestingBroker) -> None:
    """Risk asks by the signals' ids, however often; what doesn't rest, or isn't there, ends by itself."""
    verdict = await resting(room)
    request = trading.MakeWayRequest(signal_id=verdict.signal_id, target_signal_id=approved(9).signal_id)
    for _ in range(2):
        assert (await room.api.MakeWay(request, None)).ended
    order = await room.order(verdict)
    assert (order.status, broker.called("cancel")) == (OrderStatus.CANCELLED, 1)
    request = trading.MakeWayRequest(signal_id=approved(8).signal_id, target_signal_id=approved(9).signal_id)
    assert (await room.api.MakeWay(request, None)).ended
