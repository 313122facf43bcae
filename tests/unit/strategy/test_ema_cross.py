"""ema_cross against a naive oracle."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.strategy.core.ema_cross import EmaCross, EmaCrossParameters
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.strategy import Stance

PRICES = st.lists(st.integers(1, 400).map(lambda paise: paise / 20), max_size=120)
PERIODS = st.tuples(st.integers(1, 8), st.integers(1, 12)).filter(lambda pair: pair[0] < pair[1])


def oracle(prices, fast, slow):
    """(number of the tick, long?) of each change of side, told as the issue tells it."""
    changes, averages, side = [], None, None
    for number, price in enumerate(prices, start=1):
        averages = averages or {fast: price, slow: price}
        for n in (fast, slow):
            averages[n] += 2 / (n + 1) * (price - averages[n])
        if number >= slow and (now := averages[fast] > averages[slow]) != side:
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


def test_equal_averages_are_short() -> None:
    """Side is fast > slow, so a price that never moves is not above."""
    assert changes(EmaCross(EmaCrossParameters(fast=1, slow=3)), [100.05] * 9) == [(3, False)]


def test_parameters_are_text_and_come_back_complete() -> None:
    """What is absent has its default; all of it comes back as text."""
    registry = StrategyRegistry()
    assert registry.complete("ema_cross", {}) == {"fast": "10", "slow": "20"}
    assert registry.complete("ema_cross", {"fast": "5"}) == {"fast": "5", "slow": "20"}


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
