"""WatchOrders: a snapshot or a revision, then every order that changes; any replica goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from trading_room import Room, approved

from alphapanda.domain.errors import UnknownName
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.signal import PositionKey
from alphapanda.mesh.deadlines import first_message_limit
from alphapanda.mesh.errors import OutOfRange
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.store.port import Account, OrderChange, OrderFilter
from panda.trading.v1 import trading_pb2 as trading

PAPER = Account("paper", "default")


def watch(room: Room, **wanted: Any) -> Any:
    return room.api.WatchOrders(trading.WatchOrdersRequest(**wanted), None)


async def read(messages: Any) -> trading.WatchOrdersResponse:
    return await asyncio.wait_for(anext(messages), 20)


async def settled(messages: Any, verdicts: list[Any]) -> list[trading.WatchOrdersResponse]:
    """Messages until each of these orders was told as ended."""
    told, wanted = [], {order_id_of(verdict.signal_id) for verdict in verdicts}
    while wanted:
        told.append(await read(messages))
        ended = {
            order.state.order_id
            for order in told[-1].orders
            if OrderStatus(order.state.status).is_final
        }  # fmt: skip
        wanted -= ended
    return told


async def test_a_watch_that_goes_on_may_have_nothing_to_tell(room: Room) -> None:
    """Resumed where nothing has changed since, it stands: no deadline of a first message ends it."""
    await room.handle(approved(1))
    messages = watch(room)
    at = (await read(messages)).revision
    async with asyncio.timeout(60) as limit:
        first_message_limit.set(limit)
        waiting = asyncio.create_task(anext(watch(room, after_revision=at)))
        async with asyncio.timeout(20):
            while limit.when() is not None:  # noqa: ASYNC110 - a timeout has no event
                await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()


async def test_a_watch_begins_with_a_snapshot(room: Room) -> None:
    """What ended and what is open, each marked as snapshot, then what changes as it stands."""
    open_order = Order.approved(approved(9), "v", (10,))
    await room.handle(approved(1))
    async with room.store.transaction() as transaction:
        await transaction.add([OrderChange(open_order)])
    messages = watch(room)
    ended, under_way = await read(messages), await read(messages)
    assert ended.snapshot
    assert under_way.snapshot
    assert [order.state.order_id for order in ended.orders] == [order_id_of(approved(1).signal_id)]
    assert [order.state.order_id for order in under_way.orders] == [open_order.order_id]
    await room.handle(approved(2))
    changes = await settled(messages, [approved(2)])
    assert not any(message.snapshot for message in changes)
    revisions = [message.revision for message in (under_way, *changes)]
    assert revisions == sorted(set(revisions))
    await messages.aclose()


async def test_a_snapshot_is_made_once_for_all_that_begin_at_its_revision(
    room: Room, monkeypatch: Any
) -> None:
    """Watches that open together share one reading of the orders; after a change the next one reads them again."""
    reads: list[OrderFilter] = []
    newest = room.store.newest

    async def counted(wanted: OrderFilter, *page: Any) -> Any:
        reads.append(wanted)
        return await newest(wanted, *page)

    monkeypatch.setattr(room.store, "newest", counted)
    await room.handle(approved(1))
    begun = await asyncio.gather(*(read(watch(room)) for _ in range(20)))
    assert {len(message.orders) for message in begun} == {1}
    assert len(reads) == 2  # those that have ended, and those that are open
    assert len((await read(watch(room, strategy_id="another"))).orders) == 0
    await room.handle(approved(2))
    assert len((await read(watch(room))).orders) == 2
    assert len(reads) == 6


async def test_another_replica_goes_on_without_a_gap(opened: Any) -> None:
    """Orders that change at one replica are told by another from any revision, each at its last state."""
    async with opened() as one, opened() as two:
        await one.open_for_trading()
        await one.handle(approved(1))
        before = await two.store.account_revision(PAPER)
        verdicts = [approved(number, number) for number in range(2, 30)]
        messages = watch(two, after_revision=before)
        await asyncio.gather(*(one.handle(verdict) for verdict in verdicts))
        told = await settled(messages, verdicts)
        assert order_id_of(approved(1).signal_id) not in {
            order.state.order_id for message in told for order in message.orders
        }
        assert told[-1].revision == await one.store.account_revision(PAPER)
        await messages.aclose()


async def test_every_change_of_an_order_has_a_revision_of_its_own(room: Room) -> None:
    """The revision rises by one with each change, whoever makes it and however many at once; accounts apart."""
    other = PositionKey("papertwo", "default", "crossing", "NSE:S1", approved().key.product)
    await asyncio.gather(*(room.handle(approved(number, number)) for number in range(1, 11)))
    await room.handle(approved(50, key=other))
    rows = await room.rows("SELECT broker, account_revision FROM trading.orders")
    of_paper = [row.account_revision for row in rows if row.broker == "paper"]
    assert len(set(of_paper)) == 10
    assert max(of_paper) == await room.store.account_revision(PAPER)
    # Stored as SUBMITTING, answered: two changes an order.
    assert Counter({account.broker: n for account, n in (await room.store.account_revisions()).items()}) == {
        "paper": 20,
        "papertwo": 2,
    }


async def test_a_strategy_is_watched_alone(room: Room) -> None:
    """With a strategy only its orders are told, and the revision still goes on."""
    alone = PositionKey("paper", "default", "alone", "NSE:S2", approved().key.product)
    messages = watch(room, strategy_id="alone")
    await read(messages)
    await room.handle(approved(1))
    await room.handle(approved(2, 2, key=alone))
    told = await settled(messages, [approved(2)])
    assert {order.state.strategy_id for message in told for order in message.orders} == {"alone"}
    assert told[-1].revision == 4
    await messages.aclose()


async def test_a_revision_that_is_gone_is_out_of_range(room: Room, monkeypatch: Any) -> None:
    """One that isn't there, or is further behind than is told, is refused."""
    await room.handle(approved(1), approved(2, 2))
    monkeypatch.setattr("alphapanda.mesh.watches.MOST_BEHIND", 1)
    for after in (2, 5):
        with pytest.raises(OutOfRange, match="begin again with a snapshot"):
            await read(watch(room, after_revision=after))
    with pytest.raises(UnknownName):
        await read(watch(room, broker="nobody"))


async def test_the_last_message_says_where_to_go_on(room: Room) -> None:
    """A stop ends the watch with a message that says so, whether anything had changed or not."""
    messages = watch(room)
    first = await read(messages)
    reading = asyncio.create_task(read(messages))
    await asyncio.sleep(0.05)
    await room.revisions.stop()
    last = await reading
    assert (last.draining, last.revision) == (True, first.revision)
    with pytest.raises(StopAsyncIteration):
        await read(messages)
