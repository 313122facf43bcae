from datetime import date
from itertools import pairwise
from statistics import mean

import pytest

from alphapanda.domain.calendar import load_nse_calendar, parse_calendar, shipped_calendar
from alphapanda.instruments.core import shipped_instruments, shipped_reference_prices
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.simulated_days import SimulatedRun, first_simulated_day, following_day
from alphapanda.marketdata.core.simulator import SimulatedDay, stocks_of_day
from alphapanda.marketdata.core.ticks import PRICE_SCALE

DAY = date(2026, 11, 23)
CALENDAR = load_nse_calendar()
QUARTER_NS = 250_000_000
MINUTE_STEPS = 240


def start_prices(day=DAY):
    prices = shipped_reference_prices()
    return {
        i.instrument_token: int(prices[i.tradingsymbol] * PRICE_SCALE)
        for i in shipped_instruments(day)
        if i.tradable
    }


def simulated(seed=7, day=DAY, prices=None, interval_ns=QUARTER_NS):
    stocks = stocks_of_day(CALENDAR, day, list(shipped_instruments(day)), prices or start_prices(day))
    return SimulatedDay(seed, day, stocks, interval_ns)


@pytest.fixture(scope="module")
def hour():
    day = simulated()
    return [day.step(number) for number in range(1, 60 * MINUTE_STEPS + 1)]


def test_a_step_is_the_same_however_one_gets_there():
    """Jumping to a step gives what walking there gives."""
    walked = simulated()
    steps = [walked.step(number) for number in range(1, 400)]
    for number in (399, 80, 81, 1, 250):
        assert simulated().step(number) == steps[number - 1]


def test_another_seed_or_day_is_another_market():
    """Neither repeats the other's prices."""
    price = [
        [t.price for t in day.step(50).ticks]
        for day in (simulated(), simulated(seed=8), simulated(day=date(2026, 11, 25)))
    ]
    assert price[0] != price[1] != price[2] != price[0]


def test_every_tick_is_clean(hour):
    """On the grid, above zero, never late: the sanitiser drops nothing."""
    sanitiser = Sanitiser(shipped_instruments(DAY), PRICE_SCALE)
    for batch in hour:
        assert len(sanitiser.clean(batch.ticks)) == len(batch.ticks)


def test_a_stock_ticks_at_most_once_a_step_and_not_in_every_one(hour):
    """About three steps in four bring a tick of a stock."""
    tokens = [tick.instrument_token for batch in hour for tick in batch.ticks]
    assert all(len({t.instrument_token for t in batch.ticks}) == len(batch.ticks) for batch in hour)
    assert 0.7 < tokens.count(408065) / len(hour) < 0.8


def test_the_days_volume_only_grows(hour):
    """As an exchange's does."""
    volumes = [tick.volume for batch in hour for tick in batch.ticks if tick.instrument_token == 408065]
    assert all(a <= b for a, b in pairwise(volumes))
    assert volumes[-1] > volumes[0] >= 0


def test_an_ema_cross_flips_a_few_times_a_minute_and_soon(hour):
    """With 10 and 20 ticks each stock's side is known within 10 s and then flips 1 to 10 times a minute."""
    for token in start_prices():
        fast = slow = side = None
        ticks = flips = 0
        for number, batch in enumerate(hour):
            for price in (t.price for t in batch.ticks if t.instrument_token == token):
                ticks += 1
                fast = price if fast is None else fast + 2 / 11 * (price - fast)
                slow = price if slow is None else slow + 2 / 21 * (price - slow)
                if ticks == 20:
                    assert number < 40
                if ticks >= 20 and (fast > slow) is not side:
                    side = fast > slow
                    flips += 1
        assert 1 <= flips / 60 <= 10


def test_volatility_comes_in_clusters():
    """Large moves follow large ones: the sizes of neighbouring minutes go together, over all stocks."""
    day = simulated()
    prices = {}
    for number in range(1, 300 * MINUTE_STEPS, MINUTE_STEPS):
        for offset in range(12):
            for tick in day.step(number + offset).ticks:
                prices.setdefault(tick.instrument_token, {})[number] = tick.price
    together = []
    for path in prices.values():
        moves = [abs(b / a - 1) for a, b in pairwise(path.values())]
        usual = mean(moves)
        together += [(a - usual) * (b - usual) / usual**2 for a, b in pairwise(moves)]
    assert mean(together) > 0.05


def test_a_day_begins_where_the_one_before_ended():
    """The closing prices are within a block of the last ticks, and the next day starts from them."""
    today = simulated()
    closing = today.closing_prices()
    before_close = today.steps - 30 * 60 * 4  # some names close at 15:15
    last = {
        t.instrument_token: t.price for n in range(before_close, today.steps) for t in today.step(n).ticks
    }
    infy = 408065
    assert abs(last[infy] / closing[infy] - 1) < 0.05  # its path goes on from 15:15 to the close
    first = {
        t.instrument_token: t.price for n in range(1, 20) for t in simulated(prices=closing).step(n).ticks
    }
    assert all(abs(first[token] / closing[token] - 1) < 0.01 for token in closing)


def test_stocks_with_a_closing_auction_stop_earlier():
    """From 15:15 IST only stocks without derivatives tick, until 15:30; the last step is the close, without ticks."""
    day = simulated()
    quarter_past_three = CALENDAR.sessions(DAY, "NSE_EQ_CAS")[0].close_ns
    late = {
        tick.instrument_token
        for number in range(day.steps - 3600, day.steps + 1)
        if day.step(number).market_time_ns >= quarter_past_three
        for tick in day.step(number).ticks
    }
    assert late == {shipped_instruments(DAY).by_symbol("NSE:SOUTHBANK").instrument_token}
    end = day.step(day.steps)
    assert end.market_time_ns == CALENDAR.sessions(DAY, "NSE_EQ")[0].close_ns
    assert list(end.ticks) == []


def test_steps_until_a_market_time_are_counted():
    """A time between two steps counts the earlier one; before the open there is none."""
    day = simulated()
    third = day.step(3).market_time_ns
    assert [day.steps_until(third + shift) for shift in (-1, 0, 1)] == [2, 3, 3]
    assert day.steps_until(0) == 0
    assert day.steps_until(2**62) == day.steps


def test_each_spell_of_a_day_is_played():
    """A special day of two sessions has a step at each open and each close."""
    day = date(2024, 3, 2)
    sessions = CALENDAR.sessions(day, "NSE_EQ")
    assert len(sessions) == 2
    made = simulated(day=day, interval_ns=60_000_000_000)
    times = [made.step(number).market_time_ns for number in range(1, made.steps + 1)]
    assert times == sorted(times)
    assert {edge for s in sessions for edge in (s.open_ns, s.close_ns)} <= set(times)
    assert all(any(s.open_ns <= t <= s.close_ns for s in sessions) for t in times)


def test_a_run_is_named_and_found_by_its_name():
    """Other names are no simulator's."""
    run = SimulatedRun(7, DAY, date(2026, 11, 25))
    assert SimulatedRun.of(run.feed_run) == run
    assert SimulatedRun.of("replay:0123456789abcdef") is None


@pytest.mark.parametrize(
    ("today", "first"),
    [
        (date(2026, 11, 21), date(2026, 11, 23)),
        (date(2026, 11, 23), date(2026, 11, 23)),
        (date(2030, 5, 5), date(2026, 1, 1)),
        (date(1999, 5, 5), date(2026, 1, 1)),
    ],
)
def test_the_first_day_is_today_or_the_next_one_that_trades(today, first):
    """Where the calendar has no data, it is the first trading day of its last year."""
    assert first_simulated_day(CALENDAR, today) == CALENDAR.trading_day_on_or_after(first)


def test_days_follow_each_other_across_gaps_to_the_calendars_end():
    """Where the calendar has a gap, it goes on after it; after the last day of all there is none."""
    document = shipped_calendar()
    document["covered"] = [
        {"from": "2000-01-01", "to": "2019-12-31"},
        {"from": "2024-01-01", "to": "2026-12-31"},
    ]
    document["holidays"] = []
    document["special_sessions"] = []
    assert following_day(parse_calendar(document), date(2019, 12, 31)) == date(2024, 1, 1)
    assert following_day(CALENDAR, CALENDAR.last_covered_day) is None
