"""The shipped types on bars, each against the formula computed anew at every bar from the whole past."""

from __future__ import annotations

import json
from collections import deque
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy import Context, Holding
from alphapanda.strategy.core.bars import INTERVALS, Bar
from alphapanda.strategy.core.registry import SHIPPED, StrategyRegistry
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, Wish

MINUTE = 60_000_000_000
REGISTRY = StrategyRegistry()
ON_BARS = [each for each in SHIPPED if issubclass(each, BarStrategy)]
PER_DAY = 8


def bar(number, low, spans, volume):
    """Bar by number, eight minutes a day; prices in steps of 5 paise."""
    day, place = divmod(number, PER_DAY)
    opens = (day + 1) * 86_400_000_000_000
    high, opened, closed = low + sum(spans), low + spans[0], low + spans[1]
    prices = [each / 20 for each in (opened, high, low, closed)]
    return Bar(opens + place * MINUTE, opens + (place + 1) * MINUTE, opens, *prices, volume, 3)


PARTS = st.tuples(
    st.integers(200, 240), st.tuples(st.integers(0, 9), st.integers(0, 9)), st.sampled_from([0, 1, 50, 700])
)
BARS = st.lists(PARTS, max_size=50).map(
    lambda parts: [bar(number, *part) for number, part in enumerate(parts)]
)


def made(name, **parameters):
    strategy_type = REGISTRY.type_named(name)
    return told(
        strategy_type(REGISTRY.parameters(name, {key: str(value) for key, value in parameters.items()}))
    )


def told(strategy):
    """The strategy with a flat position, if it reads its position."""
    if strategy.wants_position:
        strategy.context = Context({"paper": Holding()}, symbol="NSE:A")
    return strategy


def stances(strategy, bars):
    wishes = [strategy.on_bar(each) for each in bars]
    return [None if wish is None else int(wish.stance) for wish in wishes]


def exact(bars):
    return [Fraction(round(each.close * 20), 20) for each in bars]


@given(BARS, st.integers(1, 6), st.integers(1, 6))
def test_sma_cross(bars, fast, more) -> None:
    """The side of the fast mean, in exact arithmetic, from bar number `slow` on; equal means change nothing."""
    slow, closes, expected = fast + more, exact(bars), []
    for end in range(1, len(bars) + 1):
        seen = closes[:end]
        means = [sum(seen[-n:]) / n for n in (fast, slow)]
        expected.append(None if end < slow or means[0] == means[1] else 1 if means[0] > means[1] else -1)
    assert stances(made("sma_cross", fast=fast, slow=slow), bars) == expected


@given(BARS, st.integers(1, 8), st.sampled_from([0, 0.5, 2]))
def test_momentum(bars, lookback, threshold) -> None:
    """The sign of the return, flat within the threshold; a return of exactly the threshold changes nothing."""
    closes, expected, threshold = exact(bars), [], Fraction(str(threshold))
    for place, close in enumerate(closes):
        if place < lookback:
            expected.append(None)
            continue
        change = (close / closes[place - lookback] - 1) * 100
        expected.append(
            None
            if abs(change) == threshold
            else 1
            if change > threshold
            else -1
            if change < -threshold
            else 0
        )
    found = stances(made("momentum", lookback=lookback, threshold_percent=float(threshold)), bars)
    assert found == expected


@given(BARS, st.integers(2, 8))
def test_mean_reversion(bars, lookback) -> None:
    """Against the z-score beyond 1, flat within 0.4, nothing new between."""
    closes, expected = exact(bars), []
    for end in range(1, len(bars) + 1):
        window = closes[max(0, end - lookback) : end]
        mean = sum(window) / len(window)
        variance = sum((each - mean) ** 2 for each in window) / len(window)
        if end < lookback or not variance:
            expected.append(None)
            continue
        off = window[-1] - mean
        square = off**2 / variance
        side = -1 if off > 0 else 1
        expected.append(side if square >= 1 else 0 if square <= Fraction(4, 10) ** 2 else None)
    assert stances(made("mean_reversion", lookback=lookback, entry=1, exit=0.4), bars) == expected


@given(BARS, st.integers(2, 6))
def test_rsi(bars, period) -> None:
    """Wilder's averages from the first move on, in exact arithmetic, and a side that ends at 50."""
    closes, expected, side = exact(bars), [], 0
    for end in range(1, len(bars) + 1):
        moves = [later - earlier for earlier, later in pairwise(closes[:end])]
        if len(moves) < period:
            expected.append(None)
            continue
        gain = sum(max(move, 0) for move in moves[:period]) / period
        loss = sum(-min(move, 0) for move in moves[:period]) / period
        for move in moves[period:]:
            gain = (gain * (period - 1) + max(move, 0)) / period
            loss = (loss * (period - 1) - min(move, 0)) / period
        index = 50 if gain == loss == 0 else 100 if loss == 0 else 100 - 100 / (1 + gain / loss)
        before = side
        if index <= 30 or index >= 70:
            side = 1 if index <= 30 else -1
        elif (side == 1 and index >= 50) or (side == -1 and index <= 50):
            side = 0
        expected.append(side if side or before else None)
    assert stances(made("rsi", period=period), bars) == expected


@given(BARS, st.integers(1, 5), st.integers(0, 9))
def test_opening_range_breakout(bars, minutes, first) -> None:
    """The side on which a close leaves the range of the day's first minutes; a day begun late has no range."""
    bars, expected = bars[first:], []
    for each in bars:
        opening = [
            other
            for other in bars
            if other.day_open_ns == each.day_open_ns and other.start_ns - other.day_open_ns < minutes * MINUTE
        ]
        if each in opening or not opening or opening[0].start_ns != each.day_open_ns:
            expected.append(None)
            continue
        above = each.close > max(other.high for other in opening)
        below = each.close < min(other.low for other in opening)
        expected.append(1 if above else -1 if below else None)
    assert stances(made("opening_range_breakout", minutes=minutes), bars) == expected


@given(BARS)
def test_vwap_reversion(bars) -> None:
    """Against the distance from the day's average price, which begins anew each day."""
    expected = []
    for place, each in enumerate(bars):
        day = [other for other in bars[: place + 1] if other.day_open_ns == each.day_open_ns]
        volume = sum(other.volume for other in day)
        if not volume:
            expected.append(None)
            continue
        turnover = sum(
            Fraction(round((other.high + other.low + other.close) * 20), 60) * other.volume for other in day
        )
        off = (Fraction(round(each.close * 20), 20) / (turnover / volume) - 1) * 100
        near = abs(off) <= Fraction(1, 10)
        expected.append(1 if off <= -Fraction(1, 2) else -1 if off >= Fraction(1, 2) else 0 if near else None)
    assert stances(made("vwap_reversion"), bars) == expected


def closes_of(prices, volume=100):
    """Bars whose four prices are the same."""
    return [Bar(n, n + 1, 1, price, price, price, price, volume, 1) for n, price in enumerate(prices)]


@pytest.mark.parametrize(
    ("name", "parameters", "prices", "expected"),
    [
        # The mean of 100.1, 100.3 and 100.2 is 100.2; floats say that it is a little less.
        ("sma_cross", {"fast": 1, "slow": 3}, [100.1, 100.3, 100.2, 100.3], [None, None, None, 1]),
        ("sma_cross", {"fast": 3, "slow": 4}, [0.7] * 6, [None] * 6),
        ("momentum", {"lookback": 1, "threshold_percent": 0.2}, [100, 100.2, 100.4009], [None, None, 1]),
        ("momentum", {"lookback": 1, "threshold_percent": 0}, [100.1, 100.1, 100.2], [None, None, 1]),
        # z of the last of two different closes is 1 or -1; a z equal to `entry` enters.
        ("mean_reversion", {"lookback": 2, "entry": 1, "exit": 0.5}, [100.1, 100.2, 100.1], [None, -1, 1]),
        # Two rises of 0.3 and two falls of 0.7 make an index of 30, which is at `oversold`.
        ("rsi", {"period": 2}, [100, 100.3, 99.6, 99.6], [None, None, 1, 1]),
        # 100.1 and 100.9 with equal volumes have a VWAP of 100.5; 100.9 + 0.1 % of 100.5 isn't near, 100.5 is.
        ("vwap_reversion", {"entry_percent": 50}, [100.1, 100.9, 100.5], [0, None, 0]),
    ],
)
def test_no_side_is_made_by_rounding_noise(name, parameters, prices, expected) -> None:
    """Ties that floats would break are ties: equal averages and a return of exactly the threshold change nothing."""
    assert stances(made(name, **parameters), closes_of(prices)) == expected


def test_states_of_earlier_versions_are_restored() -> None:
    """They had closes and turnover in rupees, as floats."""
    sma, vwap = made("sma_cross", fast=1, slow=2), made("vwap_reversion")
    sma.restore({"_closes": [100.1, 100.3]})
    assert stances(sma, closes_of([100.2])) == [-1]
    assert sma.state() == {"_closes": [100.3, 100.2]}
    vwap.restore({"_day_open_ns": 1, "_turnover": 100.25 * 300, "_volume": 300})
    assert stances(vwap, closes_of([101.25])) == [-1]
    assert vwap.state() == [1, 3 * (1_002_500 * 300 + 1_012_500 * 100), 400]


@pytest.mark.parametrize("strategy_type", ON_BARS, ids=lambda each: each.type_name)
@given(bars=BARS, cut=st.integers(0, 50))
def test_a_state_taken_up_midway_changes_no_later_wish(strategy_type, bars, cut) -> None:
    """What a restored strategy wishes is what the first would have wished."""
    first, second, whole = (made(strategy_type.type_name) for _ in range(3))
    stances(first, bars[:cut])
    second.restore(json.loads(json.dumps(first.state())))
    assert [second.on_bar(each) for each in bars[cut:]] == [whole.on_bar(each) for each in bars][cut:]


@pytest.mark.parametrize("strategy_type", ON_BARS, ids=lambda each: each.type_name)
@given(bars=BARS)
def test_nothing_is_wished_before_the_declared_warm_up(strategy_type, bars) -> None:
    """Who declares how much it needs keeps silent until then by itself."""
    parameters = strategy_type.parameters_model()
    needed = strategy_type.warm_up(parameters)
    assert stances(told(strategy_type(parameters)), bars)[: max(0, needed - 1)] == [None] * min(
        len(bars), max(0, needed - 1)
    )


@pytest.mark.parametrize("strategy_type", SHIPPED, ids=lambda each: each.type_name)
def test_every_parameter_has_a_default_a_range_and_a_description(strategy_type) -> None:
    """A person who asks for the types is told what may be set, and to what."""
    for name, schema in strategy_type.parameters_model.model_json_schema()["properties"].items():
        assert "default" in schema, name
        assert schema["description"], name
        low = schema.keys() & {"minimum", "exclusiveMinimum"}
        high = schema.keys() & {"maximum", "exclusiveMaximum"}
        assert "enum" in schema or (low and high), name


def test_a_wrong_interval_is_told_the_intervals() -> None:
    """The error names field, value and what there is."""
    with pytest.raises(InvalidInput, match=r"parameters.interval: '7m'.*1s, 5s.*1d"):
        made("rsi", interval="7m")
    assert REGISTRY.complete("rsi", {})["interval"] == "1m"
    assert set(BarParameters.model_json_schema()["properties"]["interval"]["enum"]) == set(INTERVALS)


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("sma_cross", {"fast": 30}, "parameters.fast"),
        ("mean_reversion", {"exit": 2}, "parameters.exit"),
        ("rsi", {"oversold": 80}, "parameters.oversold"),
        ("vwap_reversion", {"exit_percent": 3}, "parameters.exit_percent"),
        ("momentum", {"threshold_percent": "nan"}, "parameters.threshold_percent"),
    ],
)
def test_parameters_that_contradict_each_other_are_named(name, parameters, field) -> None:
    """The field to mend comes first."""
    with pytest.raises(InvalidInput) as caught:
        made(name, **parameters)
    assert caught.value.field == field


class Plain(BarStrategy[BarParameters]):
    """Remembers in the ways that need no state of its own."""

    type_name = "plain"
    parameters_model = BarParameters

    def __init__(self, parameters):
        self.parameters = parameters
        self.closes = deque(maxlen=2)
        self.levels = {"high": 0.0}
        self.side = None

    def on_bar(self, bar):
        self.closes.append(bar.close)
        self.levels["high"] = max(self.levels["high"], bar.high)
        self.side = 1
        return Wish(Stance.LONG, "up")


def test_a_strategys_attributes_are_its_state() -> None:
    """Numbers, texts, lists, deques and dictionaries come back as they were; parameters are no state."""
    first, second = Plain(BarParameters()), Plain(BarParameters())
    stances(first, [bar(n, 200 + n, (1, 1), 0) for n in range(5)])
    second.restore(json.loads(json.dumps(first.state())))
    assert vars(second) == vars(first)
    assert second.closes.maxlen == 2
