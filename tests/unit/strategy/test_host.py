"""The strategy host: who sees which tick, what becomes of a wish, and errors that stay where they are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain import ids
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.ema_cross import EmaCross
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.isolator import StrategyBroken
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.strategy import Stance, Strategy, StrategyParameters, Wish

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
DAY = date(2024, 1, 15)
TOKENS = {"NSE:A": 11, "NSE:B": 22}
DIRECTORY = InstrumentDirectory(
    Instrument(name, token, "NSE", name[4:], name, "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ")
    for name, token in TOKENS.items()
)
MINUTE_NS = 60_000_000_000


class Echo(Strategy[StrategyParameters]):
    """Wishes to be long at every tick, and remembers how many it saw."""

    type_name: ClassVar[str] = "echo"
    parameters_model: ClassVar[type[StrategyParameters]] = StrategyParameters

    def __init__(self, parameters):
        self.seen = []

    def on_tick(self, price, time_ns):
        self.seen.append(price)
        return Wish(Stance.LONG, f"price {price}")

    def state(self):
        return self.seen

    def restore(self, state):
        self.seen = state


class NightOwl(Echo):
    type_name: ClassVar[str] = "night_owl"
    outside_sessions: ClassVar[bool] = True


class Fragile(Echo):
    """Raises at prices below 10 rupees."""

    type_name: ClassVar[str] = "fragile"

    def on_tick(self, price, time_ns):
        if price < 10:
            raise ZeroDivisionError("too cheap")


class Liar(Echo):
    type_name: ClassVar[str] = "liar"

    def on_tick(self, price, time_ns):
        return "buy"


class Stillborn(Echo):
    type_name: ClassVar[str] = "stillborn"

    def __init__(self, parameters):
        raise KeyError("no data")


TYPES = (EmaCross, Echo, NightOwl, Fragile, Liar, Stillborn)


def at(hour: int, minute: int = 0, day: date = DAY) -> int:
    return nanoseconds(datetime(day.year, day.month, day.day, hour, minute, tzinfo=IST))


def config(
    strategy_id="s", strategy_type="echo", revision=2, instruments=("NSE:A",), **changes
) -> StrategyConfig:
    values = {
        "state": StrategyState.RUNNING,
        "parameters": {},
        "brokers": (),
        "account": "default",
        "quantity": 50,
        "product": Product.MIS,
        "signal_ttl_seconds": 60,
    } | changes
    chosen = tuple(StrategyInstrument(name, TOKENS[name]) for name in instruments)
    return StrategyConfig(strategy_id, revision, strategy_type=strategy_type, instruments=chosen, **values)


def frame(sequence, *ticks, bar_start=()) -> Frame:
    """A frame of (symbol, paise, time)."""
    return Frame(
        "run", 0, sequence, max([time for _, _, time in ticks], default=0), 100,
        [TOKENS.get(name, 99) for name, _, _ in ticks], [price for _, price, _ in ticks],
        [time for _, _, time in ticks], list(bar_start),
    )  # fmt: skip


def host(*configs, brokers=("paper",), max_errors=3) -> StrategyHost:
    made = StrategyHost(DIRECTORY, CALENDAR, ExecutionRouter(brokers), StrategyRegistry(TYPES), max_errors)
    for each in configs:
        made.configure(each)
    return made


def test_a_wish_becomes_a_signal_with_everything_in_it() -> None:
    """Target, exact price, times, ids and the chain follow from the tick, the configuration and the frame."""
    tick_frame = frame(7, ("NSE:X", 1, at(10)), ("NSE:A", 150_005, at(10)))
    (signal,) = host(config()).on_frame(tick_frame)
    assert signal.signal_id == ids.signal_id("s", 2, tick_frame.frame_id, 1, 0, "paper")
    assert signal.correlation_id == signal.causation_id == tick_frame.frame_id
    assert (signal.target, signal.side, signal.quantity) == (50, None, None)
    assert signal.reference_price == Decimal("1500.05")
    assert signal.market_time == datetime(2024, 1, 15, 10, tzinfo=IST)
    assert signal.valid_until == signal.market_time + timedelta(seconds=60)
    assert (signal.key.instrument_id, signal.instrument_token, signal.config_revision) == ("NSE:A", 11, 2)
    assert signal.reason == "price 1500.05"


def test_one_signal_for_each_broker_the_router_gives() -> None:
    """Paper always, another where the strategy opted in; each has its own id."""
    both = host(config("both", brokers=("zerodha",)), config("one"), brokers=("paper", "zerodha"))
    signals = both.on_frame(frame(1, ("NSE:A", 1000, at(10))))
    assert [(s.key.strategy_id, s.key.broker) for s in signals] == [
        ("both", "paper"),
        ("both", "zerodha"),
        ("one", "paper"),
    ]
    assert len({s.signal_id for s in signals}) == 3
    assert both.signals == {"both": 2, "one": 1}


def test_cnc_is_never_short() -> None:
    """In CNC the short side is flat; in MIS it is short."""
    prices = [("NSE:A", paise, at(10)) for paise in (1000, 900, 800, 1200)]
    for product, targets in ((Product.CNC, [0, 50]), (Product.MIS, [-50, 50])):
        crossing = config(strategy_type="ema_cross", parameters={"fast": "1", "slow": "3"}, product=product)
        assert [s.target for s in host(crossing).on_frame(frame(1, *prices))] == targets


@pytest.mark.parametrize(
    ("time", "bar_start", "seen"),
    [
        (at(9, 15) - 1, (), False),
        (at(9, 15), (), True),
        (at(15, 30) - 1, (), True),
        (at(15, 30), (), False),
        (at(15, 30), (at(15, 29),), True),
        (at(15, 31), (at(15, 30),), False),
        (at(9, 15), (at(9, 14),), False),
        (at(10, day=date(2024, 1, 14)), (), False),
    ],
)
def test_a_strategy_sees_the_ticks_of_its_session(time, bar_start, seen) -> None:
    """A session is [open, close); a bar belongs to the session that holds its start."""
    made = host(config())
    made.on_frame(frame(1, ("NSE:A", 1000, time), bar_start=bar_start))
    assert (b"10.0" in made.state("s")) is seen


def test_a_strategy_that_asks_sees_ticks_outside_sessions() -> None:
    """It asks by its type's flag; the others on the instrument see nothing."""
    signals = host(config(), config("owl", "night_owl")).on_frame(frame(1, ("NSE:A", 1000, at(20))))
    assert [signal.key.strategy_id for signal in signals] == ["owl"]
    assert signals[0].valid_until - signals[0].market_time == timedelta(seconds=60)


def test_no_signal_is_valid_past_the_session() -> None:
    """The session of the tick ends it; what the closing bar's tick asks for is signalled in the next session."""
    made = host(config(product=Product.CNC))
    close = datetime(2024, 1, 15, 15, 30, tzinfo=IST)
    (late,) = made.on_frame(frame(1, ("NSE:A", 1000, at(15, 30) - MINUTE_NS // 2)))
    assert made.on_frame(frame(2, ("NSE:A", 1000, at(15, 30)), bar_start=(at(15, 29),))) == []
    (next_day,) = made.on_frame(frame(3, ("NSE:A", 1000, at(9, 15, date(2024, 1, 16)))))
    assert late.valid_until == close
    assert late.valid_until.tzinfo is UTC
    assert next_day.valid_until == next_day.market_time + timedelta(seconds=60)


def test_a_day_the_calendar_does_not_know_has_no_session() -> None:
    """Nothing is guessed: strategies see none of its ticks, and the host says which day it was."""
    made = host(config())
    assert made.not_covered is None
    assert made.on_frame(frame(1, ("NSE:A", 1000, at(10, day=date(1999, 3, 3))))) == []
    assert "1999-03-03" in str(made.not_covered)


def test_a_new_revision_begins_anew_and_a_stop_drops_the_strategy() -> None:
    """State belongs to a revision; a stopped strategy sees nothing."""
    made = host(config(revision=2))
    tick = ("NSE:A", 1000, at(10))
    made.on_frame(frame(1, tick, tick))
    made.configure(config(revision=3))
    (signal,) = made.on_frame(frame(2, tick))
    assert signal.config_revision == 3
    assert made.state("s") == b'[false, {"NSE:A": [0, [10.0]]}]'
    made.configure(config(revision=4, state=StrategyState.STOPPED))
    assert made.on_frame(frame(3, tick)) == []
    assert made.revisions() == {}


def test_state_is_kept_by_instrument() -> None:
    """A strategy's instruments know nothing of each other."""
    made = host(config(instruments=("NSE:A", "NSE:B")))
    made.on_frame(frame(1, ("NSE:A", 1000, at(10)), ("NSE:B", 2000, at(10)), ("NSE:A", 1005, at(10))))
    assert made.state("s") == b'[false, {"NSE:A": [0, [10.0, 10.05]], "NSE:B": [0, [20.0]]}]'


@given(
    st.lists(st.tuples(st.sampled_from(["NSE:A", "NSE:B"]), st.integers(1, 3000)), max_size=60),
    st.integers(0, 60),
)
def test_a_host_restored_midway_makes_the_same_signals(ticks, cut) -> None:
    """The same signals with the same ids follow from a stored state as from going on."""
    frames = [frame(n, (name, paise, at(10) + n)) for n, (name, paise) in enumerate(ticks, start=1)]
    crossing = config(
        strategy_type="ema_cross", instruments=("NSE:A", "NSE:B"), parameters={"fast": "2", "slow": "4"}
    )
    first = host(crossing)
    for each in frames[:cut]:
        first.on_frame(each)
    second = host()
    second.configure(crossing, first.state("s"))
    for each in frames[cut:]:
        assert second.on_frame(each) == first.on_frame(each)
    assert second.state("s") == first.state("s")


def test_an_error_stays_with_the_strategy_that_made_it() -> None:
    """Others on the instrument go on; a good tick ends the row of errors."""
    made = host(config("a", "fragile"), config("b"), max_errors=3)
    cheap, dear = ("NSE:A", 500, at(10)), ("NSE:A", 1500, at(10))
    assert len(made.on_frame(frame(1, cheap, cheap, dear, cheap, cheap))) == 5
    failures = made.take_failures()
    assert [(f.strategy_id, f.errors_in_a_row, f.stopped) for f in failures] == [
        ("a", 1, False), ("a", 2, False), ("a", 1, False), ("a", 2, False),
    ]  # fmt: skip
    assert failures[0].error == "ZeroDivisionError: too cheap"
    assert failures[0].frame_id == frame(1).frame_id
    assert made.errors == {"a": 4}
    assert made.take_failures() == []


def test_too_many_errors_in_a_row_stop_a_strategy_everywhere() -> None:
    """At the last allowed error it sees no more ticks of any instrument, the same frame's neither, nor after a restore."""
    made = host(config("a", "fragile", instruments=("NSE:A", "NSE:B")), max_errors=2)
    cheap = [("NSE:A", 500, at(10)), ("NSE:B", 500, at(10))]
    made.on_frame(frame(1, cheap[0], cheap[0], *cheap, *cheap))
    assert [(f.instrument_id, f.errors_in_a_row, f.stopped) for f in made.take_failures()] == [
        ("NSE:A", 1, False),
        ("NSE:A", 2, True),
    ]
    restored = host(max_errors=2)
    restored.configure(config("a", "fragile", instruments=("NSE:A", "NSE:B")), made.state("a"))
    restored.on_frame(frame(2, *cheap))
    assert restored.take_failures() == []
    assert restored.revisions() == {"a": 2}


def test_what_is_no_wish_is_an_error() -> None:
    """A strategy that returns something else is told so."""
    made = host(config("a", "liar"))
    assert made.on_frame(frame(1, ("NSE:A", 500, at(10)))) == []
    assert made.take_failures()[0].error == "TypeError: on_tick returned 'buy'; it returns a Target or None"


def test_a_strategy_that_cannot_be_built_is_refused_and_the_one_before_is_gone() -> None:
    """Its own code's error, an unknown type, a bad parameter and an unknown instrument each say what is wrong."""
    made = host(config())
    with pytest.raises(StrategyBroken, match="stillborn can't be built: KeyError: 'no data'"):
        made.configure(config(strategy_type="stillborn", revision=3))
    assert made.on_frame(frame(1, ("NSE:A", 1000, at(10)))) == []
    with pytest.raises(UnknownName):
        made.configure(config(strategy_type="ecko"))
    with pytest.raises(InvalidInput):
        made.configure(config(strategy_type="ema_cross", parameters={"fast": "0"}))
    gone = StrategyInstrument("NSE:GONE", 5)
    with pytest.raises(UnknownName, match="NSE:GONE"):
        made.configure(config().only([gone]))


def test_frames_and_ticks_are_counted() -> None:
    """Every frame and every tick counts, watched or not; a heartbeat is a frame."""
    made = host(config())
    made.on_frame(frame(1))
    made.on_frame(frame(2, ("NSE:A", 1000, at(10)), ("NSE:X", 1000, at(10))))
    assert (made.frames, made.ticks) == (2, 2)
