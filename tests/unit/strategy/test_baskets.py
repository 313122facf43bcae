"""Strategies that see several instruments: one object, in the order of time, a target for each."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.strategy.test_bars import DIRECTORY as TWO
from tests.unit.strategy.test_bars import MINUTE, SHARDS, TOKENS, at
from tests.values import replace

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.strategy import BarParameters, BasketStrategy, Stance, Target
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import SHIPPED, StrategyRegistry

CALENDAR = load_nse_calendar()
A, B = "NSE:A", "NSE:B"


class Leader(BasketStrategy[BarParameters]):
    """Ranks by the last close: long the highest, short the others; raises at a close of 13 paise."""

    type_name: ClassVar[str] = "leader"
    parameters_model: ClassVar[type[BarParameters]] = BarParameters
    wants_position: ClassVar[bool] = True

    def __init__(self, parameters, symbols):
        self.closes = dict.fromkeys(symbols, 0.0)

    def on_bar(self, symbol, bar):
        if bar.close == 0.13:
            raise ArithmeticError("unlucky")
        self.closes[symbol] = bar.close
        if not all(self.closes.values()):
            return None
        best = max(self.closes, key=self.closes.get)
        held = self.context[symbol].position.quantity
        return {
            each: Target(Stance.LONG if each == best else Stance.SHORT, f"{symbol} holds {held}")
            for each in self.closes
        }


class Wrong(Leader):
    """Says a target for whatever it is told to."""

    type_name: ClassVar[str] = "wrong"

    def on_bar(self, symbol, bar):
        return {B: Target(Stance.LONG, "")} if bar.close < 2 else "sell everything"


def config(strategy_type="pairs", strategy_id="s", instruments=(A, B), product=Product.NRML, **parameters):
    chosen = tuple(StrategyInstrument(name, TOKENS[name]) for name in instruments)
    return StrategyConfig(
        strategy_id,
        1,
        StrategyState.RUNNING,
        strategy_type,
        parameters,
        chosen,
        (),
        "default",
        10,
        product,
        60,
    )


def host(*configs, directory=TWO, state=b"") -> StrategyHost:
    registry = StrategyRegistry((*SHIPPED, Leader, Wrong))
    made = StrategyHost(directory, CALENDAR, ExecutionRouter(("paper",)), registry, 3)
    for each in configs:
        made.configure(each, state)
    return made


def bar_frames(rows):
    """Frames of one minute bar each, from (symbol, start, paise), each of its instrument's shard."""
    return [
        Frame(
            "run", SHARDS[TOKENS[symbol]], n, start + MINUTE, 100, [TOKENS[symbol]], [paise], [start + MINUTE], [start],
        )
        for n, (symbol, start, paise) in enumerate(rows, 1)
    ]  # fmt: skip


def seen(signals):
    return [
        (s.key.instrument_id, s.target, nanoseconds(s.market_time), float(s.reference_price)) for s in signals
    ]


WALK = st.lists(
    st.tuples(st.integers(200, 206), st.integers(200, 206), st.sampled_from([A + B, B + A, A, B])),
    max_size=40,
)


def walked(steps):
    """(symbol, start, paise) of each minute's bars, in the order that the step says."""
    return [
        (f"NSE:{name}", at(9, 15) + minute * MINUTE, first if name == "A" else second)
        for minute, (first, second, order) in enumerate(steps)
        for name in order.replace("NSE:", "")
    ]


def naive_pairs(rows, lookback, entry, exit_):
    """The signals of `pairs` with these parameters, told from the whole past in exact arithmetic."""
    closes, spreads, stances, counts, found = {}, [], {}, {A: 0, B: 0}, []
    for symbol, start, paise in rows:
        closes[symbol, start] = paise
        counts[symbol] += 1
        if (A, start) not in closes or (B, start) not in closes:
            continue
        spreads.append(closes[A, start] - closes[B, start])
        window = spreads[-lookback:]
        mean = Fraction(sum(window), len(window))
        variance = sum((each - mean) ** 2 for each in window) / len(window)
        if len(window) < lookback or not variance or min(counts.values()) < lookback:
            continue
        square = (window[-1] - mean) ** 2 / variance
        side = -1 if window[-1] > mean else 1
        wanted = side if square >= entry**2 else 0 if square <= exit_**2 else None
        if wanted is None:
            continue
        for name, stance in ((A, wanted), (B, -wanted)):
            if stances.get(name) != stance:
                stances[name] = stance
                found.append((name, 10 * stance, start + MINUTE, closes[name, start] / 100))
    return found


@given(WALK, st.integers(2, 6), st.integers(0, 80))
def test_pairs_are_those_of_a_naive_oracle(steps, lookback, cut) -> None:
    """In exact arithmetic, whichever bar of a minute comes first and whichever is missing; a restart changes nothing."""
    rows = walked(steps)
    chosen = config(lookback=str(lookback), entry="1", exit="0.25")
    made, signals = host(chosen), []
    for number, frame in enumerate(bar_frames(rows)):
        if number == cut:
            made = host(chosen, state=made.state("s"))
        signals += made.on_frame(frame)
    assert seen(signals) == naive_pairs(rows, lookback, 1, Fraction(1, 4))
    assert len({signal.signal_id for signal in signals}) == len(signals)


@given(WALK)
def test_a_partition_that_is_given_the_others_frames_makes_the_same_signals(steps) -> None:
    """One host of all shards, and one of the first instrument's shard that gets the others' frames as inputs."""
    leader = config("leader", "b")
    single = config("momentum", "a", (A,), lookback="1", threshold_percent="0")
    whole, home = host(leader, single), host(leader, single)
    for frame in bar_frames(walked(steps)):
        of_home = home.on_frame if frame.shard == SHARDS[TOKENS[A]] else home.on_foreign_frame
        assert of_home(frame) == whole.on_frame(frame)
    assert home.state("b") == whole.state("b")


def test_bars_that_market_time_closes_have_signals_of_their_own() -> None:
    """A heartbeat closes both instruments' bars: each gets its targets, and no two signals share an id."""
    directory = InstrumentDirectory(
        replace(each, instrument_token=token) for each, token in zip(TWO, (11, 12), strict=True)
    )
    chosen = replace(config("leader"), instruments=(StrategyInstrument(A, 11), StrategyInstrument(B, 12)))
    made, nine = host(chosen, directory=directory), at(9, 15)
    first = Frame("run", 0, 1, nine, 100, [11, 12], [100, 200], [nine, nine])
    second = Frame("run", 0, 3, nine + 2 * MINUTE, 100, [11, 12], [300, 100], [nine + 2 * MINUTE] * 2)
    assert made.on_frame(first) == []
    signals = [
        *made.on_frame(Frame("run", 0, 2, nine + MINUTE + 1, 100)),
        *made.on_frame(second),
        *made.on_frame(Frame("run", 0, 4, nine + 3 * MINUTE + 1, 100)),
    ]
    assert [(s.key.instrument_id, s.target) for s in signals] == [(A, -10), (B, 10), (A, 10), (B, -10)]
    assert len({signal.signal_id for signal in signals}) == 4


def test_its_context_tells_of_each_instrument() -> None:
    """By symbol: facts, position and open orders, which its orders change."""
    made = host(config("leader"))
    rows = [(A, at(9, 15), 100), (B, at(9, 15), 200)]
    signals = [signal for frame in bar_frames(rows) for signal in made.on_frame(frame)]
    assert [(s.key.instrument_id, s.reason) for s in signals] == [(A, "NSE:B holds 0"), (B, "NSE:B holds 0")]
    assert {key.instrument_id for key in made.holdings("s")} == {A, B}


def test_its_errors_stop_it_and_nobody_else() -> None:
    """They are counted over all its instruments; each names the instrument whose bar it was handling."""
    other = config("leader", "other", (B, A))
    made = host(config("wrong"), other)
    rows = [
        (A, at(9, 15), 100),
        (B, at(9, 15), 300),
        (A, at(9, 16), 500),
        (A, at(9, 17), 600),
        (B, at(9, 17), 700),
    ]
    signals = [signal for frame in bar_frames(rows) for signal in made.on_frame(frame)]
    failures = made.take_failures()
    assert [(f.strategy_id, f.instrument_id, f.stopped) for f in failures] == [
        ("s", A, False), ("s", B, False), ("s", A, True),
    ]  # fmt: skip
    assert "a target for 'NSE:B'; its instruments with a bar so far are NSE:A" in failures[0].error
    assert "'sell everything'; it returns targets by symbol" in failures[1].error
    assert {signal.key.strategy_id for signal in signals} == {"other"}
    restored = host(config("wrong"), state=made.state("s"))
    assert restored.on_frame(bar_frames(rows)[0]) == []


def test_it_needs_instruments_that_it_can_see_together() -> None:
    """The number is the type's, and all have the same hours; the error says what is allowed."""
    with pytest.raises(InvalidInput, match=r"symbols: 'NSE:A'.*2 symbols: one strategy of type pairs sees"):
        host(config(instruments=(A,)))
    with pytest.raises(InvalidInput, match=r"2 to 500 symbols"):
        host(config("leader", instruments=(A,)))


def test_an_instrument_whose_session_is_over_waits_for_its_next_one() -> None:
    """Each is traded in its own hours: on this day those of the closing auction's stocks end at 15:15."""
    segments = ("NSE_EQ_CAS", "NSE_EQ")
    later = InstrumentDirectory(
        replace(each, session_segment=segment) for each, segment in zip(TWO, segments, strict=True)
    )
    friday, monday = date(2026, 11, 27), date(2026, 11, 30)
    rows = [
        (A, at(15, 13, day=friday), 100),
        (B, at(15, 13, day=friday), 200),
        (B, at(15, 20, day=friday), 50),
        (A, at(9, 15, day=monday), 101),
    ]
    made = host(config("leader"), directory=later)
    signals = [
        [(s.key.instrument_id, s.target, s.valid_until, s.reason) for s in made.on_frame(frame)]
        for frame in bar_frames(rows)
    ]

    def until(minute, day):
        return instant(at(15, minute, day=day))

    assert [[each[:2] for each in of_frame] for of_frame in signals] == [
        [], [(A, -10), (B, 10)], [(B, -10)], [(A, 10), (B, -10)],
    ]  # fmt: skip
    assert [each[3] for each in signals[3]] == ["NSE:B holds 0", "NSE:A holds 0"]
    assert (signals[1][0][2], signals[2][0][2]) == (until(15, friday), until(22, friday))
