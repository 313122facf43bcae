from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.app.sweep_sets import require_few, sets_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.replay.figure import defined
from alphapanda.replay.performance import DEFINITIONS
from alphapanda.replay.sweep.grid import parse_grid, varied
from alphapanda.replay.sweep.heat import heat_maps, strength
from alphapanda.replay.sweep.ranking import SetResult, best_of_days, ranked, require_measurable
from alphapanda.replay.sweep.windows import WalkForward, parse_walk_forward
from alphapanda.replay.trading_days import DayEnd
from alphapanda.strategy.core.registry import StrategyRegistry

REGISTRY = StrategyRegistry()


def test_a_grid_has_ranges_lists_and_single_values():
    """A range includes its end where the steps reach it; a comma separates values, and parameters where = follows."""
    grid = parse_grid("ema_cross:fast=5..20:5,slow=30,50,interval=5m@NSE:INFY,NSE:ITC*100")
    assert grid.values == {"fast": ("5", "10", "15", "20"), "slow": ("30", "50"), "interval": ("5m",)}
    assert (grid.symbols, grid.quantity, len(grid)) == (("NSE:INFY", "NSE:ITC"), "100", 8)
    assert next(grid.sets()) == {"fast": "5", "slow": "30", "interval": "5m"}
    assert varied(list(grid.sets())) == ["fast", "slow"]
    assert parse_grid("rsi:x=0.5..1.2:0.25,y=-2..1").values == {"x": ("0.5", "0.75", "1"), "y": ("-2", "-1", "0", "1")}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ema_cross", "VALUES are"),
        ("ema_cross:", "VALUES are"),
        ("ema_cross:5,10", "VALUES are"),
        ("ema_cross:fast=", "--grid fast"),
        ("ema_cross:fast=5,,10", "--grid fast"),
        ("ema_cross:fast=5..x", "from, to, step"),
        ("ema_cross:fast=20..5", "ends at 20 or above"),
        ("ema_cross:fast=5..20:0", "step above 0"),
        ("ema_cross:fast=1..1000000000", "at most 10,000 values"),
        ("ema_cross:fast=5,fast=7", "fast is given twice"),
        ("ema_cross:fast=5,5", "each value once"),
    ],
)
def test_a_grid_that_does_not_read_is_refused_by_name(text, words):
    """The message names the parameter, the value, and what is allowed."""
    with pytest.raises(InvalidInput, match=words):
        parse_grid(text)


@given(st.text(alphabet="ab_:=.,5-@*N", max_size=20))
def test_any_text_is_a_grid_or_refused(text):
    """No other error comes of it."""
    try:
        grid = parse_grid(text)
    except InvalidInput:
        return
    assert len(grid) == len(list(grid.sets())) > 0


def sets(text: str) -> tuple[list[dict[str, str]], list[str]]:
    found, left_out = sets_of(parse_grid(text), REGISTRY, "1", "MIS")
    return [dict(each.parameters) for each in found], left_out


def test_combinations_that_the_strategy_refuses_are_left_out():
    """fast=30 can't go with slow=20; the other combinations are sets, and the reason is told."""
    found, left_out = sets("ema_cross:fast=10,30,slow=20,50")
    assert found == [{"fast": "10", "slow": "20"}, {"fast": "10", "slow": "50"}, {"fast": "30", "slow": "50"}]
    assert len(left_out) == 1
    assert "fast=30, slow=20" in left_out[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ema_cross:fast=5,slow=ten", "--grid slow: 'ten' is not allowed; in no set of the grid: allowed: a whole number"),
        ("ema_cross:fast=5,60,slow=20,50", "--grid fast: '60'"),
        ("ema_cross:fats=5,6", "fast"),
        ("ema_crosss:fast=5", "did you mean 'ema_cross'"),
    ],
)  # fmt: skip
def test_a_value_that_no_set_can_have_is_refused(text, words):
    """The parameter, the value and what is allowed are named."""
    with pytest.raises(InvalidInput, match=words):
        sets(text)


def test_too_many_sets_are_refused_before_any_is_made():
    """A grid of a billion sets answers at once."""
    huge = parse_grid("ema_cross:fast=1..1000,slow=1..1000,x=1..1000")
    with pytest.raises(InvalidInput, match=r"1,000,000,000 sets.*at most 1,000.*--max-sets"):
        require_few([huge], 0, 1000)


def test_windows_follow_each_other_and_never_look_ahead():
    """Each tests on days after those it was chosen by; every day from the first test on is tested once."""
    assert parse_walk_forward("60d/20d") == WalkForward(60, 20)
    windows = list(WalkForward(60, 20).windows(130))
    assert windows == [(0, 60, 80), (20, 80, 100), (40, 100, 120), (60, 120, 130)]
    for text in ("60", "0d/5d", "60d/", "x/y", "60d/20d/5d", "99999d/1d"):
        with pytest.raises(InvalidInput, match="such as 60d/20d"):
            parse_walk_forward(text)
    with pytest.raises(InvalidInput, match="has 60 trading days"):
        WalkForward(60, 20).require_enough([date(2025, 1, 1)] * 60)
    with pytest.raises(InvalidInput, match="below 20 trading days"):
        require_measurable("sharpe", 19)


def result(number: int, net: int | None, parameters: dict[str, str], days: tuple[int, ...] = ()) -> SetResult:
    figures = defined({} if net is None else {"net_pnl": Decimal(net)}, DEFINITIONS)
    if net is None:
        figures = defined({"net_pnl": float("nan")}, DEFINITIONS)
    ends = tuple(DayEnd(date(2025, 1, 1 + at), Decimal(value)) for at, value in enumerate(days))
    return SetResult(number, "ema_cross", parameters, figures, Decimal(1000), ends)


def test_sets_are_ranked_by_the_measure():
    """The best first; one without a value last; equal ones in the order of the sweep."""
    all_sets = [result(0, 5, {}), result(1, None, {}), result(2, 9, {}), result(3, 5, {})]
    assert [each.number for each in ranked(all_sets, "net_pnl")] == [2, 0, 3, 1]


def test_the_best_of_some_days_is_measured_on_those_days_alone():
    """What a set earned before and after doesn't count; the first day counts from the starting cash."""
    early, late = result(0, 0, {}, (1100, 1100, 1100, 1000)), result(1, 0, {}, (1000, 1000, 1050, 1200))
    assert best_of_days([early, late], "net_pnl", 0, 2) == (early, 100)
    assert best_of_days([early, late], "net_pnl", 1, 3) == (late, 50)
    assert best_of_days([early, late], "max_drawdown_at_days_ends", 2, 4)[0] is late


def test_a_heat_map_has_the_best_of_the_other_parameters():
    """Values are in numeric order; a place without a set is empty."""
    combinations = [("5", "30", "a", 1), ("5", "30", "b", 7), ("10", "30", "a", 3), ("5", "200", "a", -2)]
    found = heat_maps(
        [result(n, net, {"fast": f, "slow": s, "kind": k}) for n, (f, s, k, net) in enumerate(combinations)],
        "net_pnl",
    )
    first = found[0]
    assert (first.down, first.across, first.others) == ("fast", "slow", ("kind",))
    assert (first.rows, first.columns) == (("5", "10"), ("30", "200"))
    values = [
        [None if cell is None else cell.figures.value("net_pnl") for cell in line] for line in first.cells
    ]
    assert values == [[7, -2], [3, None]]
    (single,) = heat_maps([result(n, n, {"fast": f"{n}"}) for n in range(3)], "net_pnl")
    assert (single.down, single.across, single.columns) == ("", "fast", ("0", "1", "2"))
    assert heat_maps([result(0, 1, {"fast": "1"})], "net_pnl") == []


def test_colours_begin_at_zero_where_values_lie_on_both_sides():
    """Else they span from the worst to the best."""
    assert strength(-5, [-5, 10]) == -0.5
    assert (strength(1, [1, 3]), strength(3, [1, 3])) == (0, 1)
    assert (strength(-3, [-3, -1]), strength(-1, [-3, -1])) == (-1, 0)
    assert strength(None, [1]) is None
