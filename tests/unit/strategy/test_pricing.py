"""Targets with prices and exits: what they become, when they make a signal, and that a restart keeps them."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from tests.unit.strategy.test_host import CALENDAR, DIRECTORY, at, config, frame

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Product, Side, Validity
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Protection, Terms
from alphapanda.strategy import (
    At,
    Bar,
    Context,
    Holding,
    OpenOrder,
    Protect,
    Stance,
    Strategy,
    StrategyParameters,
    Target,
)
from alphapanda.strategy.core.bar_watch import BarWatch
from alphapanda.strategy.core.dip_buyer import DipBuyer, DipBuyerParameters
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.pricing import restored, stored
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.waiting import WaitingTarget

DAY = date(2026, 8, 3)
INFY = Instrument(
    "NSE:INFY", 408065, "NSE", "INFY", "INFOSYS", "NSE", "EQ", Decimal("0.05"), 1, 1000, "NSE_EQ"
)
MINUTE = 60_000_000_000
KEY = PositionKey("paper", "default", "dips", "NSE:A", Product.MIS)


def told(name: str, terms: Terms, status: OrderStatus, revision: int, filled: int = 0) -> OrderState:
    """An order of ten units as an event carries it."""
    leaves, price = 0 if status.is_final else 10 - filled, Decimal(99) if filled else None
    return OrderState(
        name, name, KEY, 11, Side.BUY, 10, terms, PositionEffect.OPENS, status, revision, filled, leaves, price, None
    )  # fmt: skip


class Asking(Strategy[StrategyParameters]):
    """Asks at every tick for a percent less, with exits."""

    type_name: ClassVar[str] = "asking"
    parameters_model: ClassVar[type[StrategyParameters]] = StrategyParameters

    def __init__(self, parameters: StrategyParameters) -> None:
        """It has no state."""

    def on_tick(self, price: float, time_ns: int) -> Target | None:
        return Target(Stance.LONG, "", At(limit=price * 0.99), Protect(stop_loss=price * 0.95, trail=1.0))


@pytest.mark.parametrize(
    ("at", "terms"),
    [
        (At(limit=1500.03), Terms(OrderType.LIMIT, Validity.DAY, Decimal("1500.0"))),
        (At(limit=1500.0, or_cancel=True), Terms(OrderType.LIMIT, Validity.IOC, Decimal("1500.0"))),
        (At(trigger=1510.0), Terms(OrderType.SL_M, Validity.DAY, None, Decimal("1510.0"))),
        (
            At(limit=1512.0, trigger=1510.0),
            Terms(OrderType.SL, Validity.DAY, Decimal("1512.0"), Decimal("1510.0")),
        ),
    ],
)
def test_prices_become_the_terms_of_the_order_on_the_price_grid(at: At, terms: Terms) -> None:
    """A limit, a limit that is cancelled at once, a stop and a stop limit; prices are those of the grid next to them."""
    assert at.terms(INFY, DAY) == terms


def test_exits_are_on_the_price_grid_too() -> None:
    """The target and the stop are exact."""
    wanted = Protect(stop_loss=1470.02, target=1530.04, trail=5.01).protection(INFY, DAY)
    assert wanted == Protection(Decimal("1470.0"), Decimal("1530.0"), Decimal("5.01"))


@pytest.mark.parametrize(
    "made",
    [
        At,
        lambda: At(limit=0.0),
        lambda: At(limit=float("nan")),
        lambda: At(trigger=1.0, or_cancel=True),
        Protect,
        lambda: Protect(trail=1.0),
        lambda: Protect(stop_loss=float("inf")),
    ],
)
def test_what_no_order_can_have_is_an_error_of_the_strategy(made: Any) -> None:
    """It is raised where the strategy makes it, so the strategy's failure names it."""
    with pytest.raises(ValueError, match=r"needs|has to be|can't"):
        made()


def test_a_new_price_makes_a_signal_as_a_new_stance_does_and_the_same_one_does_not() -> None:
    """On bars a repeated target makes no signal; a restart remembers the price."""
    watch: BarWatch[str] = BarWatch("w", lambda _: None, "1m", 0)
    first, other = Target(Stance.LONG, "", At(limit=99.0)), Target(Stance.LONG, "", At(limit=98.0))
    assert watch.update_stance(first, 1)
    assert not watch.update_stance(first, 1)
    kept = json.loads(json.dumps(watch.state()))
    again: BarWatch[str] = BarWatch("w", lambda _: None, "1m", 0)
    again.restore(kept)
    assert not again.update_stance(first, 1)
    assert again.update_stance(other, 1)
    assert again.update_stance(Target(Stance.LONG, ""), 1)


def test_a_target_that_waits_for_the_next_session_keeps_its_prices_over_a_restart() -> None:
    """Also beside targets without prices, which are stored as before."""
    target = Target(Stance.SHORT, "why", At(limit=99.5), Protect(stop_loss=101.0, target=95.0))
    waiting, again = WaitingTarget(carries=True), WaitingTarget(carries=True)
    waiting.put(target, 5)
    again.restore(json.loads(json.dumps(waiting.state())))
    assert again.taken(9) == target
    assert restored(stored(None, None)) == (None, None)


def test_a_signal_carries_the_terms_and_the_exits_of_its_target() -> None:
    """Of every broker's signal alike; prices are on the grid of the instrument."""
    host = StrategyHost(DIRECTORY, CALENDAR, ExecutionRouter(["paper"]), StrategyRegistry((Asking,)))
    host.configure(config(strategy_type="asking"))
    (signal,) = host.on_frame(frame(1, ("NSE:A", 10_100, at(10))))
    assert signal.terms == Terms(OrderType.LIMIT, Validity.DAY, Decimal("100.0"))
    assert signal.protection == Protection(Decimal("95.95"), None, Decimal("1.00"))


def test_a_strategy_sees_the_prices_of_its_working_orders_and_a_restart_keeps_them() -> None:
    """An order at the market has none, and is stored as earlier versions did. Its protection's stop isn't shown."""
    holding = Holding()
    for name, terms in (
        ("limit", Terms(OrderType.LIMIT, Validity.DAY, Decimal("99.5"))),
        ("market", Terms()),
    ):
        holding.apply(told(name, terms, OrderStatus.OPEN, 1))
    holding.apply(
        replace(
            told("stop", Terms(OrderType.SL_M, Validity.DAY, None, Decimal(90)), OrderStatus.OPEN, 1),
            protective=True,
        )
    )
    expected = (
        OpenOrder("limit", Side.BUY, 10, 0, OrderType.LIMIT, 99.5),
        OpenOrder("market", Side.BUY, 10, 0),
    )
    assert holding.open_orders == expected
    assert Holding.restored(json.loads(json.dumps(holding.state()))).open_orders == expected


def test_the_dip_buyer_asks_waits_takes_back_and_leaves_its_exits_alone() -> None:
    """It waits for its working order, takes it back after its time, and says nothing while it holds."""
    strategy = DipBuyer(DipBuyerParameters(dip=1.0, wait=2, stop=2.0, target=3.0))
    holding = Holding()
    strategy.context = Context({"paper": holding}, symbol="NSE:A")

    def on_bar() -> Target | None:
        return strategy.on_bar(Bar(0, MINUTE, 0, 100.0, 100.0, 100.0, 100.0, 1, 1))

    def tell(status: OrderStatus, revision: int, filled: int = 0) -> None:
        terms = Terms(OrderType.LIMIT, Validity.DAY, Decimal(99))
        holding.apply(told("a", terms, status, revision, filled))

    asked = on_bar()
    assert asked is not None
    assert (asked.at, asked.protect) == (At(limit=99.0), Protect(stop_loss=97.02, target=101.97))
    tell(OrderStatus.OPEN, 1)
    assert on_bar() is None
    back = on_bar()
    assert back is not None
    assert (back.stance, back.reason) == (Stance.FLAT, "taken back")
    tell(OrderStatus.PARTIALLY_FILLED, 2, 4)
    assert on_bar() is None
    tell(OrderStatus.CANCELLED, 3, 4)
    assert on_bar() is None
