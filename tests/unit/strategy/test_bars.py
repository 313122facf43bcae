"""Bars: what is in one, when it closes, and that nobody's bars depend on who else watches."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.price_path import price_path
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.strategy.core.bars import INTERVALS
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import SHIPPED, StrategyRegistry
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, Wish

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
DAY, MUHURAT, TWO_SESSIONS = date(2024, 1, 15), date(2024, 11, 1), date(2024, 3, 2)
SECOND, MINUTE = 1_000_000_000, 60_000_000_000
TOKENS = {"NSE:A": 11, "NSE:B": 22}
SHARDS = {11: 0, 22: 3}
DIRECTORY = InstrumentDirectory(
    Instrument(name, token, "NSE", name[4:], name, "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ")
    for name, token in TOKENS.items()
)


class Keeper(BarStrategy[BarParameters]):
    """Keeps every bar and says where the close lies against the open: a wish at each bar."""

    type_name: ClassVar[str] = "keeper"
    parameters_model: ClassVar[type[BarParameters]] = BarParameters

    def __init__(self, parameters):
        self.bars = []

    def on_bar(self, bar):
        self.bars.append(list(bar))
        return Wish(Stance((bar.close > bar.open) - (bar.close < bar.open)), f"close {bar.close}")


class Sleeper(Keeper):
    type_name: ClassVar[str] = "sleeper"

    @classmethod
    def warm_up(cls, parameters):  # noqa: ARG003
        return 3


def at(hour, minute=0, second=0.0, day=DAY) -> int:
    return (
        nanoseconds(datetime(day.year, day.month, day.day, hour, minute, tzinfo=IST))
        + round(second * 1000) * 1_000_000
    )


def config(
    strategy_id="s", interval="1m", strategy_type="keeper", revision=2, instruments=("NSE:A",), **parameters
):
    return StrategyConfig(
        strategy_id, revision, StrategyState.RUNNING, strategy_type, {"interval": interval} | parameters,
        tuple(StrategyInstrument(name, TOKENS[name]) for name in instruments), (), "default", 10, Product.MIS, 60,
    )  # fmt: skip


def host(*configs, most=None) -> StrategyHost:
    registry = StrategyRegistry((*SHIPPED, Keeper, Sleeper))
    made = StrategyHost(DIRECTORY, CALENDAR, ExecutionRouter(("paper",)), registry, 3, most)
    for each in configs:
        made.configure(each)
    return made


class Feed:
    """Frames in their order, each of one shard."""

    def __init__(self):
        self.sequences = defaultdict(int)

    def bar(self, start, end, *prices, volume=0, symbol="NSE:A") -> Frame:
        """A recorded bar; its prices (open, high, low, close) are in paise, its volume is the day's."""
        token = TOKENS[symbol]
        shard = SHARDS[token]
        self.sequences[shard] += 1
        open_, high, low, close = prices
        return Frame(
            "run", shard, self.sequences[shard], end, 100, [token], [close], [end], [start], [volume],
            [open_], [high], [low],
        )  # fmt: skip

    def frame(self, *ticks, now=None, shard=None, minutes=False) -> Frame:
        """Ticks are (paise, time[, day volume[, symbol]]); of `minutes` the time is the bar's start."""
        rows = [(*tick, *(None, "NSE:A")[len(tick) - 2 :]) for tick in ticks]
        tokens = [TOKENS[row[3]] for row in rows]
        shard = SHARDS[tokens[0]] if tokens else shard or 0
        self.sequences[shard] += 1
        times = [row[1] + MINUTE * minutes for row in rows]
        volumes = [row[2] for row in rows] if rows and rows[0][2] is not None else []
        return Frame(
            "run", shard, self.sequences[shard], now or max(times), 100, tokens, [row[0] for row in rows], times,
            [row[1] for row in rows] if minutes else [], volumes,
        )  # fmt: skip


def bars(made, strategy_id="s", instrument="NSE:A"):
    (_, state), _ = json.loads(made.state(strategy_id))[1][instrument]
    return state["bars"]


def naive(ticks, interval):
    """The closed bars of one day's (paise, time, volume), as [start, end, ohlc, volume, ticks]; told from the whole."""
    (session,) = CALENDAR.sessions(DAY, "NSE_EQ")
    length = INTERVALS[interval] or session.close_ns - session.open_ns
    inside = [tick for tick in ticks if session.open_ns <= tick[1] < session.close_ns]
    pre_open = [volume for _, time, volume in ticks if time < session.open_ns]
    found, traded = [], pre_open[-1] if pre_open else None
    for start, group in groupby(inside, lambda tick: (tick[1] - session.open_ns) // length):
        prices, volumes = zip(*((paise / 100, volume) for paise, _, volume in group), strict=True)
        begins = session.open_ns + start * length
        if traded is None:
            traded = 0 if begins == session.open_ns else volumes[0]
        found.append(
            [begins, min(begins + length, session.close_ns), session.open_ns, prices[0], max(prices), min(prices),
             prices[-1], volumes[-1] - traded, len(prices)]
        )  # fmt: skip
        traded = volumes[-1]
    return found


WALKS = st.lists(
    st.tuples(st.integers(100, 400), st.integers(1, 400 * 1000), st.integers(0, 50)), min_size=1, max_size=60
)


def walked(steps):
    """Ticks from (paise, milliseconds since the one before, units traded)."""
    time, volume, ticks = at(9, 10), 0, []
    for paise, wait, traded in steps:
        time += wait * 1_000_000
        volume += traded
        ticks.append((paise, time, volume))
    return ticks


@given(WALKS, st.sampled_from(sorted(INTERVALS)))
def test_bars_are_those_of_a_naive_grouping(steps, interval) -> None:
    """Each tick of the session is in the one bar that holds it, and all bars are closed once time is past them."""
    made, feed, ticks = host(config(interval=interval)), Feed(), walked(steps)
    for tick in ticks:
        made.on_frame(feed.frame(tick))
    made.on_frame(feed.frame(now=at(18)))
    assert bars(made) == naive(ticks, interval)


@given(WALKS, WALKS, st.integers(0, 119), st.integers(0, 119), st.sampled_from(["5s", "1m", "5m", "1d"]))
def test_whoever_watches_beside_changes_nobodys_signals(first, second, joins, cut, interval) -> None:
    """One host, one restored midway from states, and one for each strategy make the same signals and states.

    Strategies share builders, one of them joins later, two shards' frames are mixed.
    """
    feed = Feed()
    ticks = sorted(
        [(*tick, "NSE:A") for tick in walked(first)] + [(*tick, "NSE:B") for tick in walked(second)],
        key=lambda tick: tick[1],
    )
    frames = [feed.frame(tick) for tick in ticks]
    frames += [feed.frame(now=at(17), shard=shard) for shard in (0, 3)]
    chosen = [
        (0, config("a", interval, instruments=("NSE:A", "NSE:B"))),
        (joins, config("b", interval, instruments=("NSE:A", "NSE:B"))),
        (0, config("c", interval, "sma_cross", instruments=("NSE:B",), fast="1", slow="2")),
    ]

    def run(configs, cut=None):
        made, signals = host(), []
        for number, each in enumerate(frames):
            for begins, one in configs:
                if begins == number:
                    made.configure(one)
            if number == cut:
                states = {name: made.state(name) for name in made.revisions()}
                made = host()
                for _, one in configs:
                    if one.strategy_id in states:
                        made.configure(one, states[one.strategy_id])
            signals += made.on_frame(each)
        return signals, {name: made.state(name) for name in made.revisions()}

    together, states = run(chosen)
    assert run(chosen, cut) == (together, states)
    for begins, one in chosen:
        alone, state = run([(begins, one)])
        assert alone == [signal for signal in together if signal.key.strategy_id == one.strategy_id]
        assert state == {name: held for name, held in states.items() if name == one.strategy_id}
    assert len({signal.signal_id for signal in together}) == len(together)


def test_builders_of_one_interval_become_one() -> None:
    """Who joins later has a builder of its own until the bar it came into ends."""
    made, feed = host(config("a"), config("five", "5m")), Feed()
    made.on_frame(feed.frame((100, at(10))))
    made.configure(config("b"))
    made.on_frame(feed.frame((101, at(10, 0, 30))))
    builders = made._singles.bars[0][11].builders
    assert sorted(builder.interval for builder in builders) == ["1m", "1m", "5m"]
    made.on_frame(feed.frame((102, at(10, 1))))
    assert sorted(builder.interval for builder in made._singles.bars[0][11].builders) == ["1m", "5m"]
    assert [bar[3] for bar in bars(made, "a") + bars(made, "b")] == [1.0, 1.01]


def test_a_bar_closes_with_the_tick_at_its_end_and_the_heartbeat_past_it() -> None:
    """A tick at the end closes it, a frame only past the end, and only one of its instrument's shard."""
    made, feed = host(config()), Feed()
    made.on_frame(feed.frame((100, at(10)), (105, at(10, 0, 59))))
    (signal,) = made.on_frame(feed.frame((90, at(10, 1))))
    assert (signal.target, signal.market_time, signal.reference_price) == (
        10,
        datetime(2024, 1, 15, 10, 1, tzinfo=IST),
        Decimal("1.05"),
    )
    made.on_frame(feed.frame((80, at(10, 1, 30))))
    assert made.on_frame(feed.frame(now=at(10, 2))) == []
    assert made.on_frame(feed.frame(now=at(10, 2, 30), shard=3)) == []
    (signal,) = made.on_frame(feed.frame(now=at(10, 2, 1)))
    assert (signal.target, signal.reference_price) == (-10, Decimal("0.8"))
    assert made.on_frame(feed.frame(now=at(10, 3))) == []
    assert len(bars(made)) == 2


def test_a_tick_that_comes_after_its_bar_closed_is_left_out() -> None:
    """The next bar doesn't hold what belongs to the one before."""
    made, feed = host(config()), Feed()
    made.on_frame(feed.frame((100, at(10))))
    made.on_frame(feed.frame(now=at(10, 1, 1)))
    made.on_frame(feed.frame((500, at(10, 0, 59.9)), now=at(10, 1, 1)))
    made.on_frame(feed.frame((110, at(10, 1, 1))))
    made.on_frame(feed.frame((110, at(10, 2))))
    assert [bar[3:7] for bar in bars(made)] == [[1.0] * 4, [1.1] * 4]


def test_a_recorded_minute_of_which_only_the_close_is_known_closes_at_once_and_belongs_to_its_start() -> None:
    """As in recordings of earlier versions. 1m has only the close; 5m is made of five closes; the last one of the session is closed by itself."""
    made, feed = host(config("m"), config("f", "5m")), Feed()
    for number in range(5):
        made.on_frame(feed.frame((100 + number, at(15, 25 + number), 10 * number), minutes=True))
    assert [bar[3:7] for bar in bars(made, "m")] == [[1 + number / 100] * 4 for number in range(5)]
    ((start, end, _, *prices, volume, ticks),) = bars(made, "f")
    assert (start, end, ticks, volume) == (at(15, 25), at(15, 30), 5, 40)
    assert prices == [1.0, 1.04, 1.0, 1.04]
    made.on_frame(feed.frame((200, at(15, 30)), minutes=True))
    assert len(bars(made, "m")) == 5, "a minute that starts at the close is outside"


def test_longer_bars_have_the_true_highs_and_lows_of_the_recorded_ones() -> None:
    """Open of the first, highest high, lowest low, close of the last, volume of all."""
    made, feed = host(config("m"), config("f", "5m"), config("d", "1d")), Feed()
    for number in range(375):
        start, base = at(9, 15) + number * MINUTE, 1000 + number
        prices = (base, base + 50 - number % 5, base - 40 + number % 3, base + 1)
        made.on_frame(feed.bar(start, start + MINUTE, *prices, volume=10 * (number + 1)))
    assert bars(made, "m")[1][3:8] == [10.01, 10.5, 9.62, 10.02, 10]
    first, *others = bars(made, "f")
    assert first[:2] == [at(9, 15), at(9, 20)]
    assert first[3:8] == [10.0, 10.5, 9.6, 10.05, 50]
    assert len(others) == 74
    ((_, end, _, *prices, volume, _),) = bars(made, "d")
    assert (end, prices, volume) == (at(15, 30), [10.0, 14.2, 9.6, 13.75], 3750)


def test_a_recorded_bar_is_known_at_its_end() -> None:
    """A 5m bar that starts at 09:25 makes its signal at 09:30, and a strategy on 15m has its third at the same moment."""
    made, feed = host(config("f", "5m"), config("q", "15m")), Feed()
    signals = []
    for number in range(3):
        start = at(9, 15) + number * 5 * MINUTE
        signals += made.on_frame(
            feed.bar(start, start + 5 * MINUTE, 100, 130, 90, 110 + number, volume=number)
        )
    assert [(s.key.strategy_id, s.market_time.astimezone(IST).strftime("%H:%M")) for s in signals] == [
        ("f", "09:20"),
        ("q", "09:30"),
    ]
    assert made.unserved == {}


def test_the_sessions_last_bar_is_as_short_as_the_session() -> None:
    """A 30m bar from 15:15 ends at the close: it is served, recorded as short or as its interval says, and so is the day."""
    for end in (at(15, 30), at(15, 45)):
        made, feed = host(config("h", "30m"), config("d", "1d")), Feed()
        made.on_frame(feed.bar(at(14, 45), at(15, 15), 100, 130, 90, 110))
        made.on_frame(feed.bar(at(15, 15), end, 110, 120, 80, 115))
        assert made.unserved == {}
        assert [bar[:2] for bar in bars(made, "h")] == [[at(14, 45), at(15, 15)], [at(15, 15), at(15, 30)]]
        assert [bar[3:7] for bar in bars(made, "d")] == [[1.0, 1.3, 0.8, 1.15]]


@pytest.mark.parametrize(
    ("interval", "recorded", "says"),
    [
        (
            "5m",
            15,
            "bars of 5m can't be made from recorded bars of 15m: set its interval to 15m or 30m or 1h, or",
        ),
        (
            "30s",
            1,
            "bars of 30s can't be made from recorded bars of 1m: set its interval to 1m or 2m or 3m, or",
        ),
        (
            "5m",
            2,
            "bars of 5m can't be made from recorded bars of 2m: set its interval to 2m or 10m or 30m, or",
        ),
        ("1h", 375, "bars of 1h can't be made from recorded bars of 1d: set its interval to 1d, or"),
    ],
)
def test_an_interval_that_the_recording_cannot_serve_stops_its_strategy(interval, recorded, says) -> None:
    """It is told why and what to do, and gets no bar that isn't true; strategies that can be served go on."""
    made, feed, failures = host(config("a", interval), config("b", "1d")), Feed(), []
    for number in range(375 // recorded):
        start = at(9, 15) + number * recorded * MINUTE
        made.on_frame(feed.bar(start, start + recorded * MINUTE, 100, 130, 90, 110, volume=number))
        failures += made.take_failures()
    assert made.unserved["a"][1].startswith(says)
    assert [(failure.strategy_id, failure.stopped) for failure in failures] == [("a", True)]
    assert failures[0].why.endswith("finer data on NSE:A")
    assert made.unserved.keys() == {"a"}
    assert len(bars(made, "b")) == (375 % recorded == 0)


def test_days_alone_are_traded_at_opens_or_it_is_said() -> None:
    """Where no frame shows the opens, because orders fill at closes, a strategy on 1d could never trade: it is told."""
    made, feed = host(config(interval="1d")), Feed()
    made.on_frame(feed.bar(at(9, 15), at(15, 30), 100, 130, 90, 120))
    tuesday = date(2024, 1, 16)
    made.on_frame(feed.bar(at(9, 15, day=tuesday), at(15, 30, day=tuesday), 100, 130, 90, 120))
    assert made.unserved["s"][1].endswith(
        "set paper_trading.fill (--fill) to next_open, or give it finer data"
    )


MOVES = st.lists(
    st.tuples(
        st.integers(-30, 30), st.integers(0, 20), st.integers(0, 20), st.integers(0, 9), st.integers(1, 2)
    ),
    min_size=30,
    max_size=150,
)


@given(
    MOVES,
    st.sampled_from(["1m", "3m", "15m"]),
    st.sampled_from(
        ["opening_range_breakout", "vwap_reversion", "rsi", "sma_cross", "momentum", "mean_reversion"]
    ),
)
def test_ticks_and_the_bars_made_of_them_make_the_same_signals(moves, interval, strategy_type) -> None:
    """Ticks at each minute's open, nearer extreme, other extreme and close: same bars, same targets, same minutes."""
    quick = {
        "rsi": {"period": "3"},
        "sma_cross": {"fast": "2", "slow": "4"},
        "mean_reversion": {"lookback": "3"},
    }
    configs = [
        config("s", interval, strategy_type, **quick.get(strategy_type, {})),
        config("k", interval),
    ]
    on_bars, on_ticks, of_bars, of_ticks = host(*configs), host(*configs), Feed(), Feed()
    signals, others = [], []
    start, close, volume = at(9, 15), 10_000, 0
    for move, above, below, traded, minutes in moves:
        open_, close = close, close + 5 * move
        high, low = max(open_, close) + 5 * above, min(open_, close) - 5 * below
        volume += 4 * traded
        signals += on_bars.on_frame(
            of_bars.bar(start, start + MINUTE, open_, high, low, close, volume=volume)
        )
        for number, price in enumerate(price_path(open_, high, low, close)):
            so_far = volume - (3 - number) * traded
            others += on_ticks.on_frame(of_ticks.frame((price, start + 15 * number * SECOND, so_far)))
        start += minutes * MINUTE
    others += on_ticks.on_frame(of_ticks.frame(now=start + MINUTE))
    made = bars(on_ticks, "k")
    assert [bar[:8] for bar in made[: len(bars(on_bars, "k"))]] == [bar[:8] for bar in bars(on_bars, "k")]
    told = [(s.key.strategy_id, s.target, s.reference_price) for s in signals]
    assert [(s.key.strategy_id, s.target, s.reference_price) for s in others][: len(told)] == told


@pytest.mark.parametrize(
    ("day", "interval", "spans"),
    [
        (MUHURAT, "30m", [("18:00", "18:30"), ("18:30", "19:00")]),
        (
            TWO_SESSIONS,
            "30m",
            [("09:15", "09:45"), ("09:45", "10:00"), ("11:30", "12:00"), ("12:00", "12:30")],
        ),
        (TWO_SESSIONS, "1d", [("09:15", "12:30")]),
        (
            DAY,
            "75m",
            [
                ("09:15", "10:30"),
                ("10:30", "11:45"),
                ("11:45", "13:00"),
                ("13:00", "14:15"),
                ("14:15", "15:30"),
            ],
        ),
        (DAY, "2h", [("09:15", "11:15"), ("11:15", "13:15"), ("13:15", "15:15"), ("15:15", "15:30")]),
    ],
)
def test_sessions_begin_and_end_bars(day, interval, spans) -> None:
    """Counted from the session's open, cut at its close; a day is the trading day with all its sessions."""
    made, feed = host(config(interval=interval)), Feed()
    for minute in range(24 * 60):
        made.on_frame(feed.frame((100, at(minute // 60, minute % 60, 30, day))))
    made.on_frame(feed.frame(now=at(23, 59, 59, day)))

    def clock(time_ns):
        return datetime.fromtimestamp(time_ns / SECOND, IST).strftime("%H:%M")

    assert [(clock(bar[0]), clock(bar[1])) for bar in bars(made)] == spans


def test_only_a_new_stance_is_a_signal_and_a_new_day_makes_it_new() -> None:
    """A strategy may repeat itself at every bar; after a night its position may be gone, so it counts again."""
    made, feed, signals = host(config()), Feed(), []
    for day in (DAY, date(2024, 1, 16)):
        for minute in range(5):
            signals += made.on_frame(
                feed.frame((100, at(10, minute, day=day)), (101, at(10, minute, 30, day=day)))
            )
    assert [signal.target for signal in signals] == [10, 10]
    assert len({signal.market_time.date() for signal in signals}) == 2


def test_what_a_sessions_last_bar_wishes_is_signalled_when_the_next_one_begins() -> None:
    """A 1d bar closes when nothing can be traded any more; its signal is of the next session's first tick."""
    made, feed = host(config(interval="1d")), Feed()
    assert made.on_frame(feed.frame((100, at(9, 20)), (120, at(15, 29)))) == []
    assert made.on_frame(feed.frame(now=at(15, 31))) == []
    restored = host()
    restored.configure(config(interval="1d"), made.state("s"))
    monday = date(2024, 1, 16)
    (signal,) = restored.on_frame(feed.frame((130, at(9, 15, 1, monday))))
    assert (signal.target, signal.reference_price) == (10, Decimal("1.3"))
    assert signal.market_time == datetime(2024, 1, 16, 9, 15, 1, tzinfo=IST)
    assert restored.on_frame(feed.frame((130, at(9, 15, 2, monday)))) == []


def test_what_a_recorded_bar_wishes_at_the_close_is_signalled_at_the_next_open() -> None:
    """A frame without ticks shows the open, before the first bar is known; a restart in between changes nothing."""
    made, feed = host(config(interval="1d")), Feed()
    assert made.on_frame(feed.bar(at(9, 15), at(15, 30), 100, 130, 90, 120)) == []
    restored = host()
    restored.configure(config(interval="1d"), made.state("s"))
    tuesday = date(2024, 1, 16)
    assert restored.on_frame(feed.frame(now=at(9, 15, day=tuesday), shard=3)) == []
    (signal,) = restored.on_frame(feed.frame(now=at(9, 15, day=tuesday), shard=0))
    assert (signal.target, signal.reference_price) == (10, Decimal("1.2"))
    assert signal.market_time == datetime(2024, 1, 16, 9, 15, tzinfo=IST)
    assert restored.on_frame(feed.frame(now=at(9, 15, day=tuesday), shard=0)) == []
    assert (
        restored.on_frame(feed.bar(at(9, 15, day=tuesday), at(15, 30, day=tuesday), 100, 130, 90, 120)) == []
    )


def test_what_ticks_wished_at_the_close_waits_for_a_tick() -> None:
    """A heartbeat at the open shows no price."""
    made, feed = host(config(interval="1d")), Feed()
    made.on_frame(feed.frame((100, at(9, 20)), (120, at(15, 29))))
    made.on_frame(feed.frame(now=at(15, 31)))
    tuesday = date(2024, 1, 16)
    assert made.on_frame(feed.frame(now=at(9, 15, day=tuesday))) == []
    assert len(made.on_frame(feed.frame((120, at(9, 15, 1, tuesday))))) == 1


def test_wishes_count_once_it_is_warm() -> None:
    """A type that needs three bars is shown the first two without effect."""
    made, feed, signals = host(config(strategy_type="sleeper")), Feed(), []
    for minute in range(4):
        signals += made.on_frame(feed.frame((100, at(10, minute)), (101, at(10, minute, 30))))
    assert [signal.market_time.astimezone(IST).minute for signal in signals] == [3]
    assert len(bars(made)) == 3


def test_a_strategy_that_floods_is_stopped_in_market_time() -> None:
    """One wish more than allowed in a minute on one instrument stops it, ticks and restores in between counted."""
    made, feed, signals = host(config(interval="1s"), most=3), Feed(), []
    for number in range(20):
        signals += made.on_frame(
            feed.frame((100, at(10, 0, number)), (100 + (-1) ** number, at(10, 0, number + 0.5)))
        )
        state = made.state("s")
        failures = made.take_failures()
        if failures:
            break
        made = host(most=3)
        made.configure(config(interval="1s"), state)
    assert len(signals) == 3
    assert [(f.stopped, f.why) for f in failures] == [
        (True, "more than 3 signals in a minute of market time on NSE:A")
    ]
    assert made.on_frame(feed.frame((100, at(11)))) == []
    slow, feed, signals = host(config(interval="1m"), most=1), Feed(), []
    for minute in range(9):
        signals += slow.on_frame(
            feed.frame((100, at(10, minute)), (100 + (-1) ** minute, at(10, minute, 30)))
        )
    assert len(signals) == 8
    assert not slow.take_failures()
