"""SquareOff: the plan, what it sends to risk, and that it is made once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.values import replace
from trading_room import CALENDAR, INSTRUMENTS, NOON, Room, approved

from alphapanda.contract.wire import signal_from
from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import PositionEffect, Product, Side, TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.storage.requests import RequestReused
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.square_off import (
    Exposure,
    OrderPace,
    PlanLine,
    Skip,
    SquareOffCommand,
    SquareOffContext,
    estimated,
    plan,
)
from alphapanda.trading.store.port import OrderChange
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event
from panda.trading.v1 import trading_pb2 as trading


def key(token: int = 1, strategy: str = "crossing", broker: str = "paper") -> PositionKey:
    return PositionKey(broker, "default", strategy, f"NSE:S{token}", Product.MIS)


async def hold(room: Room) -> None:
    """Long 10 of S1 and short 5 of S2 by one strategy, long 7 of S1 by another, all on paper; 3 of S1 on papertwo."""
    await room.handle(
        approved(1, 1),
        approved(2, 2, side=Side.SELL, quantity=5),
        approved(3, 1, key=key(strategy="other"), quantity=7),
        approved(4, 1, key=key(broker="papertwo"), quantity=3),
    )


async def square_off(room: Room, request_id: str = "r", **wanted: Any) -> trading.SquareOffResponse:
    return await room.api.SquareOff(trading.SquareOffRequest(request_id=request_id, **wanted), None)


async def names(room: Room, *known: str) -> None:
    """The control topic is read to its end, and names these strategies."""
    strategies = room.api._strategies

    async def settled() -> bool:
        return True

    for name in known:
        await strategies.apply(
            Event(strategy_changed=control_pb2.StrategyChanged(strategy_id=name, account="default"))
        )
    strategies.follow(settled)


async def signals(room: Room) -> list[Any]:
    rows = await room.rows(
        "SELECT value, topic FROM trading.outbox WHERE event_type = 'trading_signal' ORDER BY seq"
    )
    return [(signal_from(Event.FromString(row.value)), row.topic) for row in rows]


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({"strategy_id": "crossing"}, [("paper", "crossing", "NSE:S1", 10), ("paper", "crossing", "NSE:S2", -5),
                                       ("papertwo", "crossing", "NSE:S1", 3)]),
        ({"symbol": "NSE:S1"}, [("paper", "crossing", "NSE:S1", 10), ("paper", "other", "NSE:S1", 7),
                                ("papertwo", "crossing", "NSE:S1", 3)]),
        ({"broker": "papertwo"}, [("papertwo", "crossing", "NSE:S1", 3)]),
        ({"broker": "paper", "symbol": "NSE:S2"}, [("paper", "crossing", "NSE:S2", -5)]),
    ],
)  # fmt: skip
async def test_a_plan_has_a_line_for_each_position_that_fits(room: Room, wanted: Any, lines: Any) -> None:
    """By strategy, instrument, broker and account, all given must fit; each line has the exit and its signal."""
    await hold(room)
    told = (await square_off(room, **wanted)).plan
    assert [(line.broker, line.strategy_id, line.symbol, line.held) for line in told] == lines
    for line in told:
        assert line.quantity == abs(line.held)
        assert line.side == (common.SIDE_SELL if line.held > 0 else common.SIDE_BUY)
        assert not line.skipped
    sent = await signals(room)
    assert [(signal.signal_id, signal.key.broker) for signal, _ in sent] == [
        (line.signal_id, line.broker) for line in told
    ]
    assert all(signal.target == 0 and signal.config_revision == 0 for signal, _ in sent)
    assert all(topic.startswith(f"{signal.key.broker}.") for signal, topic in sent)


async def test_the_same_command_sends_nothing_twice(room: Room) -> None:
    """The same request gets the same plan, at once and later, though the position is gone; another body is refused."""
    await hold(room)
    first, twin = await asyncio.gather(*(square_off(room, broker="papertwo") for _ in range(2)))
    await room.handle(
        approved(5, 1, key=key(broker="papertwo"), side=Side.SELL, quantity=3, effect=PositionEffect.REDUCES)
    )
    assert first == twin == await square_off(room, broker="papertwo")
    assert len(await signals(room)) == 1
    assert not (await square_off(room, "r2", broker="papertwo")).plan
    with pytest.raises(RequestReused):
        await square_off(room, broker="paper")


async def test_an_order_under_way_is_squared_off_when_it_ends(room: Room) -> None:
    """A flat position with an order that risk let through is in the plan; one that still waits for risk is not."""
    waits = Order.approved(approved(1, 1), "v", (10,))
    asks = Order.asked_for(
        ids.derived_id("s"), ids.derived_id("c"), key(2, "manual"), 2, Side.BUY, 1, AT_MARKET, NOON
    )
    async with room.store.transaction() as transaction:
        await transaction.add([OrderChange(waits), OrderChange(asks)])
    (line,) = (await square_off(room, broker="paper")).plan
    assert (line.symbol, line.held, line.quantity, line.side) == ("NSE:S1", 0, 0, common.SIDE_UNSPECIFIED)
    assert line.signal_id


async def test_nothing_named_is_refused(room: Room) -> None:
    """An empty request means nothing, not everything; unknown names are told."""
    for wanted, error in (
        ({}, InvalidInput),
        ({"account": "default"}, InvalidInput),
        ({"broker": "nobody"}, UnknownName),
        ({"symbol": "NSE:NONE"}, UnknownName),
        ({"broker": "paper", "account": "else"}, UnknownName),
    ):
        with pytest.raises(error):
            await square_off(room, **wanted)


async def test_what_is_left_says_why(room: Room) -> None:
    """A HALTED broker's positions are in the plan, skipped, and nothing is sent for them."""
    await hold(room)
    async with room.store.transaction() as transaction:
        await transaction.apply_kill_switch("paper", TradingState.HALTED, 1)
    told = (await square_off(room, symbol="NSE:S1")).plan
    assert [line.skipped for line in told] == [trading.SQUARE_OFF_SKIP_HALTED] * 2 + [0]
    assert [bool(line.signal_id) for line in told] == [False, False, True]
    assert (
        told[0].message == "broker 'paper' is HALTED: set its kill switch to REDUCING, then square off again"
    )
    assert len(await signals(room)) == 1


SUNDAY = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "token", "skip"),
    [
        ({}, 1, None),
        ({"market_time": None}, 1, None),
        ({"enabled": ()}, 1, Skip.BROKER_OFF),
        ({"halted": lambda _: "broker 'paper'"}, 1, Skip.HALTED),
        ({"market_time": SUNDAY}, 1, Skip.MARKET_CLOSED),
        ({"market_time": datetime(1999, 1, 1, tzinfo=UTC)}, 1, None),
        ({}, 999, Skip.INSTRUMENT_UNKNOWN),
    ],
)
def test_why_a_position_is_left(changes: Any, token: int, skip: Skip | None) -> None:
    """What can't pass is skipped with its reason; what is unknown keeps nobody from leaving a position."""
    context = {
        "enabled": ("paper",), "halted": lambda _: "", "instruments": INSTRUMENTS, "calendar": CALENDAR,
        "market_time": NOON, "wall_time": NOON,
    } | changes  # fmt: skip
    command = SquareOffCommand(ids.derived_id("command"), ids.derived_id("chain"), "a test")
    (line,) = plan(command, [Exposure(key(token), 10)], SquareOffContext(**context))
    assert line.skipped is skip
    assert (line.signal is None) is (skip is not None)
    assert bool(line.message) is (skip is not None)
    if line.signal:
        assert line.signal.valid_until > line.signal.market_time
        assert line.signal.correlation_id == command.correlation_id


async def test_a_halted_strategys_positions_are_left_and_say_whose_switch_it_is(room: Room) -> None:
    """Its exits would be refused by its own kill switch; the positions of others at the broker are squared off."""
    await hold(room)
    async with room.store.transaction() as transaction:
        await transaction.apply_kill_switch("paper", TradingState.HALTED, 1, "crossing")
    told = (await square_off(room, broker="paper")).plan
    left = [line for line in told if line.skipped]
    assert {line.strategy_id for line in left} == {"crossing"}
    assert len(left) < len(told)
    assert left[0].message.startswith("strategy 'crossing' at 'paper' is HALTED: ")


async def test_names_of_nothing_are_refused_and_not_answered_with_nothing(room: Room) -> None:
    """A square-off, a list and a watch by a mistyped strategy or account say which name is near."""
    await hold(room)
    await names(room, "crossing", "other")
    mistyped = ({"strategy_id": "crosing"}, "crossing"), ({"account": "defualt"}, "default")
    for wanted, near in mistyped:
        asked = {"broker": "paper", **wanted}
        with pytest.raises(UnknownName, match=f"did you mean '{near}'"):
            await square_off(room, **asked)
        with pytest.raises(UnknownName, match=f"did you mean '{near}'"):
            await room.api.ListOrders(trading.ListOrdersRequest(**asked), None)
        with pytest.raises(UnknownName, match=f"did you mean '{near}'"):
            await anext(room.api.WatchOrders(trading.WatchOrdersRequest(**asked), None))
    assert await signals(room) == []
    assert not (await square_off(room, strategy_id="crosing", even_if_unknown=True)).plan
    assert (await room.api.ListOrders(trading.ListOrdersRequest(strategy_id="other"), None)).orders


async def test_positions_are_squared_off_whoever_held_them(room: Room) -> None:
    """A strategy that no list names any more has its positions; one of which that can't be told is squared off, too."""
    await hold(room)
    told = await square_off(room, strategy_id="crossing")
    assert told.plan
    assert told.unverified.startswith("unverified: ")
    await names(room, "nobody")
    told = await square_off(room, "r2", strategy_id="crossing")
    assert (bool(told.plan), told.unverified) == (True, "")


@pytest.mark.parametrize(
    ("held", "freeze", "seconds"),
    [([10], 0, 1), ([10] * 8, 0, 1), ([10] * 9, 0, 2), ([900], 100, 2), ([10] * 401, 0, 61), ([0], 0, 0)],
)
def test_rule_5_a_square_off_states_how_long_it_takes(held, freeze, seconds) -> None:
    """Eight requests a second and 400 a minute, each slice of a freeze quantity one; without limits nothing is said."""
    instrument = replace(next(iter(INSTRUMENTS)), freeze_quantity=freeze)
    directory = InstrumentDirectory([instrument])
    signal: Any = object()
    lines = [
        PlanLine(
            Exposure(replace(key(broker="zerodha"), instrument_id=instrument.instrument_id), units), signal
        )
        for units in held
    ]
    paces = {"zerodha": OrderPace(8, 400)}
    assert estimated(lines, directory, paces) == timedelta(seconds=seconds)
    assert estimated(lines, directory, {}) is None
    assert estimated([PlanLine(lines[0].exposure, None, Skip.HALTED)], directory, paces) is None
