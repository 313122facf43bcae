"""Targets at a session's close: traded at the next open where type and product carry over night, else gone."""

from __future__ import annotations

import gzip
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby, pairwise
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.ema_cross import EmaCross, EmaCrossParameters
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import SHIPPED, StrategyRegistry
from alphapanda.strategy.core.strategy import (
    BarParameters,
    BarStrategy,
    Stance,
    Strategy,
    StrategyParameters,
    Target,
)

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
MINUTE = 60_000_000_000
TOKEN = 11
DIRECTORY = InstrumentDirectory(
    [Instrument("NSE:A", TOKEN, "NSE", "A", "A", "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ")]
)
DAYS = [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 4)]
"""The second one has two sessions."""


def wanted(paise):
    """The target that the types below want at a price; None at every fourth."""
    return None if paise % 4 == 3 else Target(Stance(paise % 4 - 1), f"{paise} paise")


class ByTick(Strategy[StrategyParameters]):
    type_name: ClassVar[str] = "by_tick"
    parameters_model: ClassVar[type[StrategyParameters]] = StrategyParameters

    def __init__(self, parameters):
        """It has no state."""

    def on_tick(self, price, time_ns):
        return wanted(round(price * 100))

    def on_ticks(self, prices, times_ns):
        made = [(n, wanted(round(price * 100))) for n, price in enumerate(prices)]
        return [(n, target) for n, target in made if target is not None]


class ByTickOfTheDay(ByTick):
    type_name: ClassVar[str] = "by_tick_of_the_day"
    carries_over_night: ClassVar[bool] = False
    on_ticks = ByTick.on_ticks


class ByBar(BarStrategy[BarParameters]):
    type_name: ClassVar[str] = "by_bar"
    parameters_model: ClassVar[type[BarParameters]] = BarParameters

    def __init__(self, parameters):
        """It has no state."""

    def on_bar(self, bar):
        return wanted(round(bar.close * 100))


class ByBarOfTheDay(ByBar):
    type_name: ClassVar[str] = "by_bar_of_the_day"
    carries_over_night: ClassVar[bool] = False


TYPES = (*SHIPPED, ByTick, ByTickOfTheDay, ByBar, ByBarOfTheDay)
SESSIONS = [session for day in DAYS for session in CALENDAR.sessions(day, "NSE_EQ")]
STARTS = [
    session.open_ns + minute * MINUTE
    for session in SESSIONS
    for minute in (0, 1, (session.close_ns - session.open_ns) // MINUTE - 1)
]
PRICES = st.lists(st.integers(100, 107), min_size=len(STARTS), max_size=len(STARTS))


def config(strategy_type, product=Product.CNC, **parameters):
    return StrategyConfig(
        "s", 1, StrategyState.RUNNING, strategy_type, parameters, (StrategyInstrument("NSE:A", TOKEN),), (),
        "default", 10, product, 60,
    )  # fmt: skip


def host(chosen, state=b""):
    made = StrategyHost(DIRECTORY, CALENDAR, ExecutionRouter(("paper",)), StrategyRegistry(TYPES))
    made.configure(chosen, state)
    return made


def minute_frames(rows):
    """Frames of one minute bar each, from (start, paise); a bar is known at its end."""
    return [
        Frame("run", 0, n, start + MINUTE, 100, [TOKEN], [paise], [start + MINUTE], [start])
        for n, (start, paise) in enumerate(rows, 1)
    ]


def signals_of(chosen, frames, cut=0):
    """(time, target) of the signals of frames one by one; the host is restored from its state at `cut`."""
    made, signals = host(chosen), []
    for number, frame in enumerate(frames):
        if number == cut:
            made = host(chosen, made.state("s"))
        signals += made.on_frame(frame)
    return [(nanoseconds(each.market_time), each.target) for each in signals]


def naive(rows, target_at, *, carries, on_bars=False):
    """The signals, told session by session: what is wanted at the close is for the first minute of the next session."""
    found, waiting, before = [], None, None
    for start, paise in rows:
        session = CALENDAR.session_at_ns(start, "NSE_EQ")
        target, known = target_at(paise), start + MINUTE
        if known >= session.close_ns:
            waiting = waiting if target is None else (target, session.day)
            continue
        due = [] if target is None else [target]
        if waiting is not None and (carries or waiting[1] == session.day) and (on_bars or not due):
            due.insert(0, waiting[0])
        waiting = None
        for each in due:
            if not on_bars or before != (each.stance, session.day):
                before = (each.stance, session.day)
                found.append((known, each.stance * 10))
    return found


@pytest.mark.parametrize("product", [Product.NRML, Product.MIS])
@pytest.mark.parametrize("strategy_type", [ByTick, ByTickOfTheDay, ByBar, ByBarOfTheDay])
@given(prices=PRICES, cut=st.integers(0, len(STARTS)))
def test_what_is_wanted_at_the_close_is_traded_at_the_next_open_or_never(
    strategy_type, product, prices, cut
) -> None:
    """Type and product decide whether it is carried over night; over a break within a day it always is."""
    rows = list(zip(STARTS, prices, strict=True))
    carries = strategy_type.carries_over_night and product is not Product.MIS
    expected = naive(rows, wanted, carries=carries, on_bars=issubclass(strategy_type, BarStrategy))
    assert signals_of(config(strategy_type.type_name, product), minute_frames(rows), cut) == expected


@pytest.mark.parametrize("strategy_type", [ByTick, ByTickOfTheDay])
@given(prices=PRICES, cuts=st.lists(st.integers(1, len(STARTS) - 1), max_size=3))
def test_batches_carry_what_ticks_one_by_one_carry(strategy_type, prices, cuts) -> None:
    """However the frames are cut into batches: the same signals, the same states."""
    frames = minute_frames(zip(STARTS, prices, strict=True))
    chosen = config(strategy_type.type_name)
    singly, batched = host(chosen), host(chosen)
    bounds = sorted({0, *cuts, len(frames)})
    for begin, end in pairwise(bounds):
        targets = batched.on_batch(FrameBatch(frames[begin:end]))
        of_batch = [
            signal
            for n, frame in enumerate(frames[begin:end])
            for signal in batched.signals_of([t for t in targets if t.tick == n], frame, n + 1)
        ]
        assert of_batch == [signal for frame in frames[begin:end] for signal in singly.on_frame(frame)]
        assert batched.state("s") == singly.state("s")


def with_opens(frames):
    """The same frames, and a frame without ticks at each session's open, as a replay of bars that fill at the open shows."""
    opens = {session.open_ns for session in SESSIONS}
    shown = [[Frame("run", 0, 0, at, 100)] if (at := frame.bar_start[0]) in opens else [] for frame in frames]
    together = [each for pair in zip(shown, frames, strict=True) for each in (*pair[0], pair[1])]
    return [frame._replace(sequence=number) for number, frame in enumerate(together, 1)]


def naive_with_opens(rows, *, carries, on_bars):
    """The signals where the opens are shown: what is wanted at the close is signalled there."""
    due, waiting = [], None
    for start, paise in rows:
        session, target = CALENDAR.session_at_ns(start, "NSE_EQ"), wanted(paise)
        if start == session.open_ns and waiting is not None:
            due += [(start, waiting[0])] if carries or waiting[1] == session.day else []
            waiting = None
        if target is not None and start + MINUTE < session.close_ns:
            due.append((start + MINUTE, target))
        elif target is not None:
            waiting = (target, session.day)
    days = [(CALENDAR.session_at_ns(at, "NSE_EQ").day, each.stance) for at, each in due]
    new = [not on_bars or number == 0 or day != days[number - 1] for number, day in enumerate(days)]
    return [(at, each.stance * 10) for (at, each), counts in zip(due, new, strict=True) if counts]


def batched_signals_of(chosen, frames, size):
    """The signals of frames in batches of this size, as a replay makes them."""
    made, signals = host(chosen), []
    for begin in range(0, len(frames), size):
        some = frames[begin : begin + size]
        targets, end = made.on_batch(FrameBatch(some)), 0
        for frame in some:
            begins, end = end, end + len(frame.instrument_token)
            of_frame = [each for each in targets or () if begins <= each.tick < end]
            signals += made.on_frame(frame) if targets is None else made.signals_of(of_frame, frame, end)
    return [(nanoseconds(each.market_time), each.target) for each in signals]


@pytest.mark.parametrize("strategy_type", [ByTick, ByTickOfTheDay, ByBar, ByBarOfTheDay])
@given(prices=PRICES, cut=st.integers(0, len(STARTS) + 4), size=st.integers(1, 6))
def test_where_the_open_is_shown_it_is_traded_there(strategy_type, prices, cut, size) -> None:
    """A flip at the close is for the next open, not for the end of the first minute: on ticks and on bars alike."""
    rows = list(zip(STARTS, prices, strict=True))
    expected = naive_with_opens(
        rows, carries=strategy_type.carries_over_night, on_bars=issubclass(strategy_type, BarStrategy)
    )
    chosen, frames = config(strategy_type.type_name, Product.NRML), with_opens(minute_frames(rows))
    assert signals_of(chosen, frames, cut) == expected
    assert batched_signals_of(chosen, frames, size) == expected


def test_a_bar_of_a_day_is_for_the_next_day_in_mis_too() -> None:
    """It is known when the day is over; without that, no strategy on daily bars could trade in MIS."""
    ticks = [(session.open_ns + MINUTE, 100 + 2 * n) for n, session in enumerate(SESSIONS)]
    found = signals_of(config("by_bar", Product.MIS, interval="1d"), minute_frames(ticks))
    # 104 was the close of Saturday's second session, and 100 that of Friday: LONG is of paise % 4 == 2.
    assert found == [(ticks[1][0] + MINUTE, -10), (ticks[3][0] + MINUTE, -10)]


@pytest.mark.parametrize("name", ["opening_range_breakout", "vwap_reversion"])
def test_a_type_of_the_day_refuses_bars_of_a_day(name) -> None:
    """At its only bar the day is over, so it would never trade; the error says what is allowed."""
    with pytest.raises(
        InvalidInput, match=r"parameters.interval: '1d'.*125m \(length of a bar, less than a day"
    ):
        StrategyRegistry().parameters(name, {"interval": "1d"})


def test_a_state_of_an_earlier_version_is_restored() -> None:
    """A waiting target had no day then; it is carried where targets are."""
    old = (
        b'[false, {"NSE:A": [[0, {}], [0, null, 0, [1, "x"], [0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0]]]}]'
    )
    (frame,) = minute_frames([(STARTS[0], 103)])
    assert [each.target for each in host(config("by_bar"), old).on_frame(frame)] == [10]
    assert host(config("by_bar_of_the_day"), old).on_frame(frame) == []


@pytest.fixture(scope="module")
def year(nse_data):
    """(start, paise) of the first 17 and the last 3 minutes of each session of a real year."""
    found = []
    with gzip.open(nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz", "rt") as lines:
        next(lines)
        cells = (line.split(",") for line in lines)
        rows = (
            (nanoseconds(datetime.fromisoformat(at).replace(tzinfo=IST)), round(float(close) * 100))
            for at, _, _, _, close, _ in cells
        )
        for session, minutes in groupby(rows, lambda row: CALENDAR.session_at_ns(row[0], "NSE_EQ")):
            if session is not None:
                inside = list(minutes)
                found += inside[:17] + inside[-3:]
    return found


@pytest.mark.parametrize("name", ["opening_range_breakout", "vwap_reversion"])
def test_no_real_day_begins_with_a_target_of_the_day_before(name, year) -> None:
    """When the day's first minute ends there is no range yet, and the average price is the minute's own."""
    frames = [frame._replace(volume=[1000 * n]) for n, frame in enumerate(minute_frames(year), 1)]
    found = signals_of(config(name, Product.NRML, interval="1m"), frames)
    opens = {CALENDAR.session_at_ns(start, "NSE_EQ").open_ns + MINUTE for start, _ in year}
    at_open = [target for at, target in found if at in opens]
    assert len(found) > 50
    assert at_open == ([] if name == "opening_range_breakout" else [0] * len(opens))


def test_a_flip_at_the_close_of_a_real_day_is_traded_at_the_next_open(year) -> None:
    """It is the oracle's through the whole year; without carrying, some flips are lost."""
    averages = [EmaCross(EmaCrossParameters(fast=5, slow=12)) for _ in range(2)]
    carried, lost = (
        naive(year, lambda paise, one=one: one.on_tick(paise / 100, 0), carries=carries)
        for one, carries in zip(averages, (True, False), strict=True)
    )
    found = signals_of(config("ema_cross", Product.NRML, fast="5", slow="12"), minute_frames(year))
    assert found == carried
    assert len(found) > len(lost)
