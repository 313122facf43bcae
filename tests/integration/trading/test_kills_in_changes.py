"""A process that ends at any step of a cancellation, a modification or a broker's update leaves it to the next one, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from resting_broker import RestingBroker
from trading_room import Room, approved, terminal

from alphapanda.domain.order import OrderStatus, OrderType
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, ChangeStatus, change_id_of
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.options import TradingOptions

AT_99 = Terms(OrderType.LIMIT, limit_price=Decimal(99))
SHORT = TradingOptions(send_window_seconds=60, call_timeout_seconds=60, cancel_again_seconds=0.05)
CHANGE_STEPS = ("calling_committed", "called", "answered", "committed")
LOOK_UP_STEPS = ("looked_up",)


class Killed(BaseException):
    """The process ends here."""


def killing(step: str) -> tuple[Callable[[str], None], asyncio.Event]:
    """A callback that ends whoever reaches a step once it is armed (the event is cleared), and sets the event then."""
    reached = asyncio.Event()
    reached.set()

    def at(name: str) -> None:
        if name == step and not reached.is_set():
            reached.set()
            raise Killed

    return at, reached


async def asked_for(room: Room, verdict: Approved, kind: ChangeKind) -> None:
    """Stores a change, and begins to carry it out."""
    quantity, order_id = 6 if kind is ChangeKind.MODIFY else 0, order_id_of(verdict.signal_id)
    change_id = change_id_of("c1", order_id)
    await room.changes.ask([ChangeRequest(change_id, order_id, kind, "a person", "", quantity)])


async def ended(room: Room, verdict: Approved) -> ChangeRequest:
    """The change once it has ended."""
    async with asyncio.timeout(60):
        while True:
            (stored,) = await room.store.changes.of_order(order_id_of(verdict.signal_id), 10)
            if stored.change.status.is_final:
                return stored.change
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", [ChangeKind.CANCEL, ChangeKind.MODIFY])
@pytest.mark.parametrize("step", [*CHANGE_STEPS, *LOOK_UP_STEPS])
async def test_a_kill_at_any_step_of_a_change_neither_loses_nor_repeats_it(
    opened: Any, step: str, kind: ChangeKind
) -> None:
    """The next process looks the order up: what was done is known, what wasn't is called again only where that does no harm."""
    broker = RestingBroker()
    broker.visibility_window = 0.0
    at, reached = killing(step)
    async with opened(trader=broker, at=at, options=SHORT) as room:
        await room.open_for_trading()
        verdict = approved(0, 1, terms=AT_99)
        await room.handle(verdict)
        if step in LOOK_UP_STEPS:
            broker.lost[kind.name.lower()] = 1
        reached.clear()
        await asked_for(room, verdict, kind)
        async with asyncio.timeout(60):
            await reached.wait()
    short = TradingOptions(send_window_seconds=0.1, call_timeout_seconds=0.1, cancel_again_seconds=0.05)
    async with opened(trader=broker, options=short) as later:
        await later.executor.start()
        await later.changes.start()
        change, order = await ended(later, verdict), await later.order(verdict)
        at_broker = broker.orders[order.intents[0].tag]
    never_called = step == "calling_committed"
    if kind is ChangeKind.CANCEL:
        assert (change.status, order.status) == (ChangeStatus.DONE, OrderStatus.CANCELLED)
        assert broker.called("cancel") == 1
    else:
        assert change.status is (ChangeStatus.ABSENT if never_called else ChangeStatus.DONE)
        assert broker.called("modify") == (0 if never_called else 1)
        assert order.status is OrderStatus.OPEN
    assert order.quantity == order.intents[0].quantity == at_broker.quantity


@pytest.mark.parametrize("step", ["told", "found", "read"])
async def test_a_kill_at_any_step_of_an_update_books_its_fill_once(opened: Any, step: str) -> None:
    """An update is a hint: a process that ends while it reads the order loses nothing, and the next one reads it at its start."""
    broker = RestingBroker()
    at, reached = killing(step)
    async with opened(trader=broker, at=at) as room:
        await room.open_for_trading()
        await room.hints.start()
        verdict = approved(0, 1, terms=AT_99)
        await room.handle(verdict)
        tag = (await room.order(verdict)).intents[0].tag
        broker.fill(tag, 10)
        reached.clear()
        broker.tell(tag)
        async with asyncio.timeout(60):
            await reached.wait()
    async with opened(trader=broker) as later:
        await later.executor.start()
        order = await later.ended(verdict)
        assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert len(terminal(await later.events(verdict))) == 1
        assert {broker.calls["place", one.tag] for one in order.intents} == {1}
