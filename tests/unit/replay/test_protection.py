"""Protected positions in a replay: stops at the exchange, targets held by trading, one cancelling the other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import ClassVar

import pytest

from alphapanda.app.replay import compose_replay
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import OrderStatus, OrderType, Product, Side
from alphapanda.domain.order_events import Filled, OrderState
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.replay.core import Replay
from alphapanda.settings.sources import load_settings
from alphapanda.strategy import At, Protect, Stance, Strategy, StrategyParameters, Target
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry

DIRECTORY, CALENDAR = shipped_instruments(date.max), load_nse_calendar()
INFY = DIRECTORY.require_symbol("NSE:INFY", "symbol")
SCALE = PRICE_SCALE
BEGAN = datetime.fromisoformat("2024-01-02T10:00:00+05:30")


class Scripted(Strategy[StrategyParameters]):
    """Says a target at given ticks."""

    type_name: ClassVar[str] = "scripted"
    parameters_model: ClassVar[type[StrategyParameters]] = StrategyParameters
    script: ClassVar[dict[int, Target]] = {}

    def __init__(self, parameters: StrategyParameters) -> None:
        self.seen = 0

    def on_tick(self, price: float, time_ns: int) -> Target | None:
        self.seen += 1
        return self.script.get(self.seen)


@dataclass
class Run:
    """A replay that has ended, with its orders in the order of their changes and its fills."""

    replay: Replay
    orders: list[OrderState] = field(default_factory=list)
    fills: list[Filled] = field(default_factory=list)

    @property
    def trades(self) -> list[tuple[str, int, str]]:
        """(side, units, price) of each fill."""
        return [(one.order.side.name, one.fill.quantity, f"{one.fill.price:.2f}") for one in self.fills]


def replayed(
    monkeypatch: pytest.MonkeyPatch,
    prices: list[float],
    script: dict[int, Target],
    *,
    seconds: int = 1,
    times: list[str] | None = None,
    product: Product = Product.MIS,
    **paper: str,
) -> Run:
    """Replays ticks of INFY, one a second or at times in India, to a strategy that says its targets at given ticks, of ten units."""
    monkeypatch.setattr(Scripted, "script", script)
    frames = []
    moments = [datetime.fromisoformat(f"{time}+05:30") for time in times or ()] or [
        BEGAN + timedelta(seconds=number * seconds) for number in range(1, len(prices) + 1)
    ]
    for number, (price, moment) in enumerate(zip(prices, moments, strict=True), 1):
        at = nanoseconds(moment)
        columns = ((INFY.instrument_token,), (round(price * SCALE),), (at,))
        frames.append(Frame("test", 0, number, at, SCALE, *columns, (), volume=(number * 40,)))
    config = StrategyConfig(
        strategy_id="s", revision=1, state=StrategyState.RUNNING, strategy_type="scripted", parameters={},
        instruments=(StrategyInstrument(INFY.instrument_id, INFY.instrument_token),), brokers=(),
        account="default", quantity=10, product=product, signal_ttl_seconds=60,
    )  # fmt: skip
    fills: list[Filled] = []
    settings = load_settings(
        {
            f"ALPHAPANDA_PAPER_TRADING__{name}": value
            for name, value in {"SLIPPAGE_PERCENT": "0", **paper}.items()
        }
    )
    replay = compose_replay(
        *([config], settings, CALENDAR, DIRECTORY, lambda filled, _: fills.append(filled)),
        StrategyRegistry((Scripted,)),
    )
    run = Run(replay, fills=fills)
    apply = replay._apply

    def watched(updates, inputs, due):
        run.orders.extend(update.order for update in updates)
        apply(updates, inputs, due)

    monkeypatch.setattr(replay, "_apply", watched)
    replay.run(frames)
    return run


LONG = Target(Stance.LONG, "", protect=Protect(stop_loss=95.0, target=110.0))


def test_the_stop_rests_from_the_entry_on_and_ends_the_position(monkeypatch) -> None:
    """Ten units at 100, a stop at 95 that is hit: sold once, nothing is left, nothing works."""
    run = replayed(monkeypatch, [100, 101, 99, 96, 94, 93, 112], {1: LONG})
    assert [trade[:2] for trade in run.trades] == [("BUY", 10), ("SELL", 10)]
    stop = [order for order in run.orders if order.protective]
    assert {order.terms.order_type for order in stop} == {OrderType.SL}
    assert stop[0].terms.trigger_price == Decimal(95)
    assert not run.replay._trading.waits
    assert run.replay.tally.orders == 2


def test_the_target_cancels_the_stop_and_exits_at_the_market(monkeypatch) -> None:
    """The target is touched at 110: the stop ends as cancelled, and the exit sells ten units once."""
    run = replayed(monkeypatch, [100, 105, 110, 108, 90], {1: LONG})
    assert run.trades == [("BUY", 10, "100.00"), ("SELL", 10, "110.00")]
    ends = [order for order in run.orders if order.protective and order.status.is_final]
    assert [order.status.name for order in ends] == ["CANCELLED", "FILLED"]


def test_a_strategys_own_exit_passes_once_the_stop_is_cancelled(monkeypatch) -> None:
    """Flat at 102 while the stop rests: it is cancelled first, and a fall below it later sells nothing more."""
    run = replayed(monkeypatch, [100, 102, 90, 80], {1: LONG, 2: Target(Stance.FLAT, "out")})
    assert run.trades == [("BUY", 10, "100.00"), ("SELL", 10, "102.00")]


def test_a_flip_brings_its_own_protection(monkeypatch) -> None:
    """From ten long to ten short at 102; its stop is above, and hit at 107."""
    short = Target(Stance.SHORT, "", protect=Protect(stop_loss=107.0, target=90.0))
    run = replayed(monkeypatch, [100, 102, 94, 107, 120, 80], {1: LONG, 2: short})
    assert [trade[:2] for trade in run.trades] == [("BUY", 10), ("SELL", 20), ("BUY", 10)]


def test_a_trailing_stop_follows_the_price_and_never_goes_back(monkeypatch) -> None:
    """From 95 with a trail of 5: at 104 the stop is at 99, where it stays when the price falls."""
    trailing = Target(Stance.LONG, "", protect=Protect(stop_loss=95.0, trail=5.0))
    run = replayed(monkeypatch, [100, 102, 104, 101, 98.5], {1: trailing})
    triggers = [order.terms.trigger_price for order in run.orders if order.protective]
    assert max(trigger for trigger in triggers if trigger) == Decimal(99)
    assert [trade[:2] for trade in run.trades] == [("BUY", 10), ("SELL", 10)]


def test_a_limit_that_fills_later_is_protected_from_then_on(monkeypatch) -> None:
    """Nothing is protected before the fill at 98; then the stop stands and is hit."""
    dip = Target(Stance.LONG, "", At(limit=98.0), Protect(stop_loss=95.0))
    run = replayed(monkeypatch, [100, 99, 97.5, 97, 94], {1: dip})
    assert [trade[:2] for trade in run.trades] == [("BUY", 10), ("SELL", 10)]
    assert run.trades[0][2] == "98.00"


def test_a_later_target_cancels_the_resting_order_first(monkeypatch) -> None:
    """A limit below the market rests; the next target has it cancelled, and sells at once."""
    script = {1: Target(Stance.LONG, "", At(limit=90.0)), 3: Target(Stance.SHORT, "")}
    run = replayed(monkeypatch, [100, 101, 102, 103, 89, 104], script)
    ends = [(order.side, order.status) for order in run.orders if order.status.is_final]
    assert ends == [(Side.BUY, OrderStatus.CANCELLED), (Side.SELL, OrderStatus.FILLED)]
    assert run.trades == [("SELL", 10, "102.00")]
    assert not run.replay._trading.waits


def test_the_square_off_at_the_cut_off_passes_the_stop(monkeypatch) -> None:
    """An hour of steady prices a tick: the position is squared off before the close, and the stop ends with it."""
    run = replayed(monkeypatch, [100] * 7, {1: LONG}, seconds=3600)
    assert [trade[:2] for trade in run.trades] == [("BUY", 10), ("SELL", 10)]
    assert not run.replay._trading.waits


def test_an_exit_that_would_rest_is_refused_and_the_stop_stays(monkeypatch) -> None:
    """A limit of the strategy's own beside its stop: the stop is what ends the position."""
    script = {1: LONG, 2: Target(Stance.FLAT, "", At(limit=104.0))}
    run = replayed(monkeypatch, [100, 101, 99, 96, 94, 93], script)
    assert [(filled.order.side.name, filled.order.protective) for filled in run.fills] == [
        ("BUY", False),
        ("SELL", True),
    ]


OVER_NIGHT = ["2024-01-02T15:20:00", "2024-01-02T15:29:58", "2024-01-03T09:15:00", "2024-01-03T09:15:01"]
MORE = ["2024-01-03T09:15:02", "2024-01-03T09:15:09"]


@pytest.mark.parametrize("pre_open", [False, True], ids=["first tick in the session", "pre-open ticks"])
def test_rule_11_a_carried_position_gets_its_stop_back_at_the_next_open(monkeypatch, pre_open) -> None:
    """The day's stop ends with its day, which is no incident: the next session's stop is there with its first price, and is hit."""
    times, prices = [*OVER_NIGHT, *MORE], [100.0, 101, 99, 98, 96, 94]
    if pre_open:
        times.insert(2, "2024-01-03T09:07:00")
        prices.insert(2, 99.5)
    run = replayed(monkeypatch, prices, {1: LONG}, times=times, product=Product.CNC)
    ended = [(order.terms.order_type.name, order.status.name) for order in _ends(run)]
    assert ended == [("SL", "CANCELLED"), ("SL", "FILLED")]
    assert [trade[:2] for trade in run.trades] == [("BUY", 10), ("SELL", 10)]
    tally = run.replay.tally
    assert (tally.orders, tally.fills, tally.cancelled, tally.expired) == (3, 2, 1, 0)
    again = next(o for o in run.orders if o.protective and o.order_id == _ends(run)[1].order_id)
    assert again.market_time == datetime.fromisoformat("2024-01-03T09:15:00+05:30")
    assert not run.replay._trading.waits


def test_rule_11_a_position_that_opens_beyond_its_stop_is_exited_at_the_market(monkeypatch) -> None:
    """No exchange takes a stop whose trigger is behind the price: ten units are sold once at the open."""
    run = replayed(monkeypatch, [100, 101, 90, 89], {1: LONG}, times=OVER_NIGHT, product=Product.CNC)
    assert run.trades == [("BUY", 10, "100.00"), ("SELL", 10, "90.00")]
    assert [order.terms.order_type.name for order in _ends(run)] == ["SL", "MARKET"]


def test_rule_11_a_position_that_opens_beyond_its_target_is_closed_there(monkeypatch) -> None:
    """The target is held by us, over night too."""
    run = replayed(monkeypatch, [100, 101, 112, 111], {1: LONG}, times=OVER_NIGHT, product=Product.CNC)
    assert run.trades == [("BUY", 10, "100.00"), ("SELL", 10, "112.00")]


def test_circuit_limits_hold_in_a_replay_too(monkeypatch) -> None:
    """Five percent around the day's first price: a buy waits while it is locked, and nothing is paid beyond the limit."""
    bought = {2: Target(Stance.LONG, ""), 5: Target(Stance.FLAT, "")}
    prices = [100, 105, 106, 104.5, 94]
    run = replayed(monkeypatch, prices, bought, CIRCUIT_PERCENT="5")
    assert run.trades == [("BUY", 10, "104.50")]
    assert run.replay.tally.fills == 1  # the sale was locked
    free = replayed(monkeypatch, prices, bought)
    assert free.trades == [("BUY", 10, "105.00"), ("SELL", 10, "94.00")]


def _ends(run: Run) -> list[OrderState]:
    return [order for order in run.orders if order.protective and order.status.is_final]


@pytest.mark.parametrize("seed", range(15))
def test_random_days_never_cross_zero_and_end_flat(monkeypatch, seed) -> None:
    """Whatever a strategy asks for: each moment's position is one of its targets, or flat, or on its way there.

    Also where orders take more than a tick to the exchange, and where they fill in parts.
    """
    paper = ({}, {"LATENCY_MS": "30000"}, {"FILL_SHARE_PERCENT": "10"})[seed % 3]
    chance = random.Random(seed)
    prices, price, script = [], 100.0, {}
    for number in range(1, 400):
        price = max(20.0, round((price + chance.choice((-1, -0.5, 0, 0.5, 1))) * 20) / 20)
        prices.append(price)
        if chance.random() < 0.08:
            stance = Stance(chance.choice((-1, 0, 1)))
            sign = int(stance)
            protect = Protect(
                stop_loss=price - sign * chance.choice((1.0, 2.0)),
                target=chance.choice((None, price + sign * 2.0)),
                trail=chance.choice((None, 1.5)),
            )
            at = At(limit=price - sign * 0.5) if sign and chance.random() < 0.3 else None
            script[number] = Target(stance, "", at, protect if sign else None)
    run = replayed(monkeypatch, prices, script, seconds=20, **paper)
    held, protective = 0, 0
    for filled in run.fills:
        before = held
        held += filled.order.side.sign * filled.fill.quantity
        assert abs(held) <= 10
        if filled.order.protective:
            protective += 1
            assert abs(held) < abs(before), (before, held)
            assert filled.order.side is Side.of(-before)
    assert protective
    tally = run.replay.tally
    assert tally.fills == len(run.fills)
