"""What a strategy reads of its own trading: folded from order events, exact, in whatever order they are told."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.strategy.test_host import CALENDAR, DIRECTORY, at, config, frame
from tests.values import replace

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.strategy import (
    Context,
    Holding,
    OpenOrder,
    Position,
    Stance,
    Strategy,
    StrategyParameters,
    Wish,
)
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.wire import type_message

KEY = PositionKey("paper", "default", "careful", "NSE:A", Product.MIS)


def order(name, side, quantity, filled=0, price=None, revision=1, status=None, key=KEY) -> OrderState:
    """An order as an event carries it."""
    if status is None:
        status = OrderStatus.FILLED if filled == quantity else OrderStatus.OPEN
    return OrderState(
        name, name, key, 11, side, quantity, AT_MARKET, PositionEffect.OPENS, status, revision, filled,
        0 if status.is_final else quantity - filled, None if price is None else Decimal(price), None,
    )  # fmt: skip


def test_the_average_price_follows_what_was_paid() -> None:
    """Adding averages, reducing leaves it, crossing begins anew, flat has none."""
    holding, names = Holding(), map(str, count())

    def trade(side, quantity, price) -> Position:
        holding.apply(order(next(names), side, quantity, quantity, price))
        return holding.position

    assert trade(Side.BUY, 10, "100") == Position(10, 100.0)
    assert trade(Side.BUY, 30, "104") == Position(40, 103.0)
    assert trade(Side.SELL, 15, "90") == Position(25, 103.0)
    assert trade(Side.SELL, 35, "99") == Position(-10, 99.0)
    assert trade(Side.SELL, 10, "101") == Position(-20, 100.0)
    assert trade(Side.BUY, 20, "50") == Position()


def test_an_open_order_is_one_that_may_still_fill() -> None:
    """From its acceptance until it ends, with what is filled of it."""
    holding = Holding()
    assert holding.apply(order("a", Side.BUY, 10))
    assert holding.open_orders == (OpenOrder("a", Side.BUY, 10, 0),)
    holding.apply(order("a", Side.BUY, 10, 4, "100", 2, OrderStatus.PARTIALLY_FILLED))
    assert [(each.filled, each.leaves) for each in holding.open_orders] == [(4, 6)]
    assert holding.position == Position(4, 100.0)
    holding.apply(order("a", Side.BUY, 10, 4, "100", 3, OrderStatus.CANCELLED))
    assert holding.open_orders == ()
    assert holding.position == Position(4, 100.0)


@given(st.data())
def test_neither_order_nor_repetition_matters_for_what_is_held(data) -> None:
    """Events late, twice, and across a restart come to the same units and the same orders."""
    told, held = [], 0
    for number in range(data.draw(st.integers(1, 8))):
        side, quantity = data.draw(st.sampled_from(Side)), data.draw(st.integers(1, 9))
        filled = data.draw(st.integers(0, quantity))
        held += side.sign * filled
        told.append(order(str(number), side, quantity))
        told += [
            order(str(number), side, quantity, units, "100", units + 1) for units in range(1, filled + 1)
        ]
        if filled < quantity:
            told.append(order(str(number), side, quantity, filled, "100", filled + 2, OrderStatus.CANCELLED))
    holding = Holding()
    for each in data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=9)))):
        holding.apply(each)
        holding = Holding.restored(json.loads(json.dumps(holding.state())))
    assert holding.quantity == held
    assert holding.open_orders == ()
    assert not any(holding.apply(each) for each in told)


def test_the_broker_that_leads_is_the_live_one() -> None:
    """Position and open orders are those at the first live broker, paper's where there is none; each can be asked."""
    paper, live = Holding(5, Decimal(10)), Holding(-5, Decimal(20))
    live.apply(order("a", Side.BUY, 5))
    both, alone = Context({"paper": paper, "zerodha": live}), Context({"paper": paper})
    assert alone.position == both.position_at("paper") == Position(5, 10.0)
    assert both.position == both.position_at("zerodha") == Position(-5, 20.0)
    assert [each.order_id for each in both.open_orders] == ["a"]
    assert both.open_orders_at("paper") == ()
    assert both.brokers == ("paper", "zerodha")
    assert both.position_at("elsewhere") == Position()


class Careful(Strategy[StrategyParameters]):
    """Buys where it holds nothing and nothing is on its way; sells two rupees below what it paid."""

    type_name, parameters_model = "careful", StrategyParameters
    wants_position = True

    def __init__(self, parameters):
        self.ticks = 0

    def on_tick(self, price, time_ns):
        self.ticks += 1
        held = self.context.position
        if self.context.open_orders:
            return None
        if not held.quantity:
            return Wish(Stance.LONG, "flat")
        return Wish(Stance.FLAT, "stop") if price <= held.average_price - 2 else None


class Curious(Careful):
    type_name = "curious"
    wants_position = False


def new_host() -> StrategyHost:
    return StrategyHost(
        DIRECTORY, CALENDAR, ExecutionRouter(("paper",)), StrategyRegistry((Careful, Curious))
    )


def test_a_strategy_reads_its_orders_in_its_handler() -> None:
    """It doesn't pyramid, and stops its loss, from what it was told between the frames; a state keeps all of it."""
    host = new_host()
    host.configure(config("careful", "careful"))
    minutes = count()

    def wishes(price) -> list[int]:
        minute = next(minutes)
        return [s.target for s in host.on_frame(frame(minute + 1, ("NSE:A", price * 100, at(10, minute))))]

    assert wishes(100) == [50]
    assert host.on_order(order("a", Side.BUY, 10))
    assert wishes(100) == []
    assert host.on_order(order("a", Side.BUY, 10, 10, "100.5", 2))
    assert not host.on_order(order("a", Side.BUY, 10, 10, "100.5", 2))
    state = host.state("careful")
    assert wishes(99) == []
    assert wishes(98) == [0]
    host = new_host()
    host.configure(config("careful", "careful"), state)
    assert wishes(98) == [0]
    assert not host.on_order(order("b", Side.BUY, 1, key=replace(KEY, strategy_id="somebody")))


def test_who_did_not_ask_is_told_how() -> None:
    """Reading the context without wants_position is an error that names it; nothing is stored of orders."""
    host = new_host()
    host.configure(config("curious", "curious"))
    host.on_frame(frame(1, ("NSE:A", 10_000, at(10))))
    assert "has to set wants_position = True" in host.take_failures()[0].error
    assert not host.on_order(order("a", Side.BUY, 10, key=replace(KEY, strategy_id="curious")))
    assert host.readers() == []
    assert b"ticks" in host.state("curious")
    assert host.state("curious").count(b"[") == 2


def test_the_types_say_which_of_them_read_their_position() -> None:
    """In what ListStrategyTypes answers."""
    assert type_message(Careful).wants_position
    assert not type_message(Curious).wants_position


def test_a_new_revision_begins_flat_unless_it_is_told() -> None:
    """What a revision holds comes with its state alone."""
    host = new_host()
    chosen = config("careful", "careful")
    host.configure(chosen)
    host.on_order(order("a", Side.BUY, 10, 10, "100"))
    assert [h.quantity for h in host.holdings("careful").values()] == [10]
    host.configure(replace(chosen, revision=2))
    assert [h.quantity for h in host.holdings("careful").values()] == [0]


class Factual(Strategy[StrategyParameters]):
    """Says what its context says of the instrument."""

    type_name, parameters_model = "factual", StrategyParameters

    def __init__(self, parameters):
        """It has no state."""

    def on_tick(self, price, time_ns):
        facts = self.context
        return Wish(Stance.LONG, f"{facts.symbol} in lots of {facts.lot_size}, steps of {facts.tick_size}")


def test_every_strategy_is_told_its_instruments_facts() -> None:
    """Symbol, lot and tick size are in the context of each, whether it reads its position or not; no state has them."""
    host = StrategyHost(DIRECTORY, CALENDAR, ExecutionRouter(("paper",)), StrategyRegistry((Factual,)))
    host.configure(config("factual", "factual"))
    (signal,) = host.on_frame(frame(1, ("NSE:A", 10_000, at(10))))
    assert signal.reason == "NSE:A in lots of 1, steps of 0.05"
    assert b"NSE:A in" not in host.state("factual")
    assert json.loads(host.state("factual"))[1]["NSE:A"] == [0, {}]
