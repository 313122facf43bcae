"""ema_cross against a naive oracle."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.ema_cross import EmaCross, EmaCrossParameters
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.strategy import Stance

PRICES = st.lists(st.integers(1, 400).map(lambda paise: paise / 20), max_size=120)
PERIODS = st.tuples(st.integers(1, 8), st.integers(1, 12)).filter(lambda pair: pair[0] < pair[1])


def oracle(prices, fast, slow):
    """(number of the tick, long?) of each change of side, in exact arithmetic; equal averages change nothing."""
    changes, averages, side = [], None, None
    for number, price in enumerate(prices, start=1):
        paise = round(price * 100)
        averages = averages or {fast: Fraction(paise), slow: Fraction(paise)}
        for n in (fast, slow):
            averages[n] += Fraction(2, n + 1) * (paise - averages[n])
        tie = averages[fast] == averages[slow]
        if number >= slow and not tie and (now := averages[fast] > averages[slow]) != side:
            side = now
            changes.append((number, side))
    return changes


def changes(strategy, prices, first=1):
    wishes = [(number, strategy.on_tick(price, number)) for number, price in enumerate(prices, start=first)]
    return [(number, wish.stance is Stance.LONG) for number, wish in wishes if wish]


@given(PRICES, PERIODS)
def test_each_change_of_side_is_one_wish(prices, periods) -> None:
    """Wishes come at the oracle's ticks with the oracle's sides, the first at tick number `slow`."""
    fast, slow = periods
    strategy = EmaCross(EmaCrossParameters(fast=fast, slow=slow))
    assert changes(strategy, prices) == oracle(prices, fast, slow)


@given(PRICES, PERIODS, st.integers(0, 120))
def test_a_state_taken_up_midway_changes_no_later_wish(prices, periods, at) -> None:
    """What a restored strategy wishes is what the first would have wished, whatever the moment."""
    parameters = EmaCrossParameters(fast=periods[0], slow=periods[1])
    first, second = EmaCross(parameters), EmaCross(parameters)
    before = changes(first, prices[:at])
    second.restore(json.loads(json.dumps(first.state())))
    assert before + changes(second, prices[at:], first=at + 1) == oracle(prices, *periods)
    assert (
        len(prices) < at
        or changes(first, prices[at:], first=at + 1) == changes(EmaCross(parameters), prices)[len(before) :]
    )


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([100.05] * 9, []),
        ([100.1, 100.3, 100.2, 100.2, 100.3], [(5, True)]),
        ([0.1, 0.3, 0.4, 0.3], [(3, True)]),
    ],
)
def test_equal_averages_change_nothing(prices, expected) -> None:
    """A price that never moves has no side, and rounding noise makes none: EMA 3 of 100.1, 100.3, 100.2 is 100.2."""
    strategy = EmaCross(EmaCrossParameters(fast=1, slow=3))
    assert changes(strategy, prices) == expected == oracle(prices, 1, 3)
    batched = EmaCross(EmaCrossParameters(fast=1, slow=3))
    made = batched.on_ticks(prices, range(len(prices)))
    assert [(n + 1, target.stance is Stance.LONG) for n, target in made] == expected


def test_on_bars_it_takes_their_closes_and_repeats_its_side() -> None:
    """The same flips as on ticks at these prices; a repeated side is no signal before the next day."""
    registry, prices = StrategyRegistry(), [100, 101, 103, 102, 99, 98, 104]
    assert EmaCross.interval_of(registry.parameters("ema_cross", {})) is None
    parameters = registry.parameters("ema_cross", {"fast": "1", "slow": "3", "interval": "5m"})
    assert EmaCross.interval_of(parameters) == "5m"
    on_bars, side, flips = EmaCross(parameters), None, []
    for number, price in enumerate(prices, start=1):
        target = on_bars.on_bar(Bar(number, number + 1, 0, 0.0, 0.0, 0.0, price, 0, 1))
        assert (target is None) is (number < 3)
        if target is not None and target.stance is not side:
            side = target.stance
            flips.append((number, side is Stance.LONG))
    assert flips == oracle(prices, 1, 3) == changes(EmaCross(parameters), prices)
    with pytest.raises(InvalidInput, match=r"parameters.interval: '7m'.*tick, 1s"):
        registry.parameters("ema_cross", {"interval": "7m"})


def test_parameters_are_text_and_come_back_complete() -> None:
    """What is absent has its default; all of it comes back as text."""
    registry = StrategyRegistry()
    assert registry.complete("ema_cross", {}) == {"fast": "10", "slow": "20", "interval": "tick"}
    assert registry.complete("ema_cross", {"fast": "5"}) == {"fast": "5", "slow": "20", "interval": "tick"}


@pytest.mark.parametrize(
    ("parameters", "field", "value", "words"),
    [
        ({"fast": "ten"}, "parameters.fast", "ten", "a whole number at least 1 and at most 10000"),
        ({"fast": "0"}, "parameters.fast", "0", "at least 1"),
        ({"slow": "10001"}, "parameters.slow", "10001", "at most 10000"),
        ({"slow": "20.5"}, "parameters.slow", "20.5", "a whole number"),
        ({"fast": "20"}, "parameters.fast", "20", "less than slow, which is 20"),
        ({"slow": "7"}, "parameters.fast", "10", "less than slow, which is 7"),
    ],
)
def test_a_wrong_parameter_is_named(parameters, field, value, words) -> None:
    """The error names the field, the value and what is allowed."""
    with pytest.raises(InvalidInput) as caught:
        StrategyRegistry().parameters("ema_cross", parameters)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert words in caught.value.allowed


def test_an_unknown_parameter_or_type_gets_the_nearest_name() -> None:
    """Misspelt names are refused with a suggestion."""
    with pytest.raises(UnknownName, match=r"parameters: 'fsat'.*did you mean 'fast'"):
        StrategyRegistry().parameters("ema_cross", {"fsat": "3"})
    with pytest.raises(UnknownName, match=r"strategy_type: 'ema_crss'.*did you mean 'ema_cross'"):
        StrategyRegistry().parameters("ema_crss", {})


def test_two_types_of_one_name_are_refused() -> None:
    """A name means one type."""
    with pytest.raises(ValueError, match="two strategy types are named 'ema_cross'"):
        StrategyRegistry((EmaCross, EmaCross))
