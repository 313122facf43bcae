"""The order topics as strategies that read their position find them, on both logs."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import count as counted

import pytest
from tests.integration.strategy.test_consumer import NOW, config
from tests.integration.strategy.test_fencing import log  # noqa: F401 - a fixture
from tests.unit.strategy.test_holdings import order
from tests.values import replace

from alphapanda.contract.order_wire import order_event, order_update_from
from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus, Product, Side
from alphapanda.domain.order_events import Cancelled, Fill, Filled, Submitted
from alphapanda.domain.signal import PositionKey
from alphapanda.eventlog.decode import to_record
from alphapanda.strategy.order_tail import PAYLOADS, OrderTail, history

ORDER = ids.derived_id("an order")


def life_of_an_order(broker, strategy_id, token) -> list:
    """Accepted, filled in part, cancelled."""
    key = PositionKey(broker, "default", strategy_id, f"NSE:S{token}", Product.MIS)

    def state(*args, **kwargs):
        return replace(order(ORDER, Side.BUY, 9, *args, key=key, **kwargs), instrument_token=token)

    part = state(4, "100", revision=2, status=OrderStatus.PARTIALLY_FILLED)
    updates = [
        Submitted(state()),
        Filled(part, Fill(ORDER, "1", 4, Decimal(100), Decimal(0), NOW)),
        Cancelled(state(4, "100", revision=3, status=OrderStatus.CANCELLED), ""),
    ]
    return [
        order_event(
            each, event_id=ORDER, correlation_id=ORDER, causation_id=ORDER, source="trading", occurred_at=NOW
        )
        for each in updates
    ]


async def until(tail, strategies, count) -> list:
    """What the tail has found once it is so many; Kafka brings it in the background."""
    async with asyncio.timeout(20):
        for _ in counted():
            found = await tail.new_events(strategies)
            if len(found) >= count:
                break
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("brokers", [("paper", "zerodha")])
async def test_the_tail_and_the_past_meet_without_a_gap(log, topic_map, brokers) -> None:  # noqa: F811
    """Of every broker, only of the strategies asked for; an order's fills before its end; again until it is recorded."""
    mine, others = [config("mine", [1, 2, 3])], [config("others", [1])]

    async def publish(*events):
        await log.publish([to_record(event, topic_map) for event in events])

    past = [event for broker in brokers for event in life_of_an_order(broker, "mine", 2)]
    await publish(*past[::-1], *life_of_an_order("paper", "mine", 4), *life_of_an_order("paper", "others", 1))
    ends = await log.end_offsets(topic_map.topics(*PAYLOADS))
    tail = OrderTail(log, topic_map, ends)
    await tail.start()
    new = life_of_an_order("paper", "mine", 1)
    await publish(*life_of_an_order("zerodha", "others", 2), *new[::-1])
    assert await until(tail, mine, 3) == new
    assert tail.has_unrecorded
    assert await tail.new_events(mine) == new
    where = tail.positions()
    tail.recorded()
    assert not tail.has_unrecorded
    assert await tail.new_events(mine) == []
    assert [order_update_from(e).order.revision for e in await history(log, topic_map, mine[0], ends)] == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]
    assert len(await history(log, topic_map, mine[0], where)) == 9
    assert len(await history(log, topic_map, others[0], where)) == 3
    assert await history(log, topic_map, config("new", [1]), where) == []
    await tail.stop()
    again = OrderTail(log, topic_map, where)
    await again.start()
    last = life_of_an_order("zerodha", "mine", 3)
    await publish(*last)
    assert await until(again, mine, 3) == last
    await again.stop()
