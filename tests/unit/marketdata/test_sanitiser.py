import itertools
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.marketdata.data_files import ticks_of

from alphapanda.domain.frame import nanoseconds
from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.data_account import Noted
from alphapanda.marketdata.core.grids import InstrumentGrid
from alphapanda.marketdata.core.sanitiser import DropReason, Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE, Tick

SECOND = 1_000_000_000


def stock(token, tick="0.05", kind="EQ", exchange="NSE"):
    symbol = f"{exchange}:{token}"
    return Instrument(symbol, token, exchange, str(token), "", exchange, kind, Decimal(tick), 1, 0, "NSE_EQ")


def sanitiser(percent=0.0, *, live=False):
    """Of a stock with a grid by the rules, of a commodity with a step of 10 paise, and of an option."""
    known = [stock(1), stock(2, "0.10", "FUT", "MCX"), stock(3, kind="CE", exchange="NFO")]
    return Sanitiser(known, PRICE_SCALE, wild_print_percent=percent, doubts_firsts=live)


def at(day: str, time: str = "10:00") -> int:
    return nanoseconds(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=ZoneInfo("Asia/Kolkata")))


@pytest.mark.parametrize(
    ("tick", "reason"),
    [
        (Tick(9, 100, 10), DropReason.UNKNOWN_INSTRUMENT),
        (Tick(1, 0, 10), DropReason.NOT_POSITIVE),
        (Tick(1, -100, 10), DropReason.NOT_POSITIVE),
        (Tick(1, 100, 10, 9, 5, 100, 100, 0), DropReason.NOT_POSITIVE),
        (Tick(1, 100, 10, 9, 5, 100, 95, 90), DropReason.CONTRADICTORY),
        (Tick(1, 100, 10, 9, 5, 110, 105, 90), DropReason.CONTRADICTORY),
        (Tick(1, 100, 10, 9, 5, 100, 110, 105), DropReason.CONTRADICTORY),
        (Tick(1, 100, 4), DropReason.LATE),
        (Tick(1, 100, 5, 9), DropReason.DUPLICATE),
    ],
)
def test_a_tick_is_dropped_for_its_reason(tick, reason):
    """And is counted under it, alone."""
    clean = sanitiser()
    assert len(clean.clean([Tick(1, 100, 5, 9)])) == 1
    assert clean.clean([tick]) == []
    assert clean.counts() == {reason: 1}
    assert clean.passed == 1


@pytest.mark.parametrize(
    "tick",
    [Tick(1, 100, 6, 9), Tick(1, 105, 5, 9), Tick(1, 100, 5, 10), Tick(2, 100, 4, 9)],
)
def test_a_tick_that_says_something_new_is_kept(tick):
    """A repeated price at another time, another price or volume at the same time, another instrument's older time."""
    clean = sanitiser()
    clean.clean([Tick(1, 100, 5, 9)])
    assert clean.clean([tick]) == [tick]


@pytest.mark.parametrize(
    ("token", "day", "price", "kept"),
    [
        (1, "2024-01-02", 2083, 2085),
        (1, "2024-06-10", 2083, 2083),
        (1, "2024-06-10", 83173, 83175),
        (1, "2025-06-10", 150003, 150000),
        (1, "2025-06-10", 150005, 150010),
        (1, "2024-01-02", 1, 5),
        (2, "2025-06-10", 150007, 150010),
    ],
)
def test_a_price_off_the_grid_is_rounded_and_counted(token, day, price, kept):
    """The grid is the day's; nothing is dropped for it, and a price on the grid isn't counted."""
    clean = sanitiser()
    assert [tick.price for tick in clean.clean([Tick(token, price, at(day))])] == [kept]
    assert clean.counts() == {}
    assert clean.account.noted[Noted.ROUNDED] == (price != kept)


def test_all_prices_of_a_bar_are_rounded():
    """Open, high and low like the close; the row is counted once."""
    clean = sanitiser()
    bar = Tick(1, 9001, at("2024-01-02"), 9, 5, 9002, 9013, 8999)
    assert clean.clean([bar])[0] == bar._replace(price=9000, open=9000, high=9015, low=9000)
    assert clean.account.noted == {Noted.ROUNDED: 1}


def test_a_month_keeps_the_step_of_the_close_before_it():
    """A stock that rose from 240 to 280 rupees goes on in paise until the month ends; then its step is five paise."""
    clean = sanitiser()
    days = ("2025-06-30", "2025-07-01", "2025-07-31", "2025-08-01")
    ticks = [Tick(1, price, at(day)) for day, price in zip(days, (24000, 25003, 28003, 28003), strict=True)]
    assert [tick.price for tick in clean.clean(ticks)] == [24000, 25003, 28003, 28005]


@given(st.integers(1, 3_000_000), st.dates(date(2000, 1, 1), date(2030, 1, 1)))
def test_the_remembered_step_is_that_of_the_price(price, day):
    """Within the prices that a step is remembered for, a fresh look gives the same step."""
    when = at(str(day))
    grid = InstrumentGrid(stock(1), PRICE_SCALE)
    unit = grid.moved(price, when, None)
    assert grid.low <= price < grid.high
    assert when < grid.until_ns
    for other in {grid.low or 1, min(grid.high - 1, 10**8), price}:
        assert InstrumentGrid(stock(1), PRICE_SCALE).moved(other, when, None) == unit


def prints(*prices, start=0, step=SECOND):
    return [Tick(1, price, start + n * step, n) for n, price in enumerate(prices)]


def passed(clean, ticks):
    return [tick.price for tick in ticks for tick in clean.clean([tick])]


def test_a_wild_print_alone_is_not_believed():
    """Ten times the price and a hundredth of it pass nowhere, and each is counted; what follows is as without them."""
    clean = sanitiser(20)
    assert passed(clean, prints(1000, 10000, 1005, 5, 1010)) == [1000, 1005, 1010]
    assert clean.counts() == {"wild": 2}


def test_a_second_one_that_agrees_is_believed_with_the_first():
    """A gap over night and a split pass with all their prices, and are not counted."""
    clean = sanitiser(20)
    assert passed(clean, prints(1000, 200, 205, 210)) == [1000, 200, 205, 210]
    assert clean.counts() == {}


def test_each_wild_print_waits_for_its_own_second():
    """Two wild prints that don't agree are both dropped; the same one again is no second; bars and ticks alike."""
    clean = sanitiser(20)
    first, wild, other = prints(1000, 10000, 5)
    assert passed(clean, [first, wild, wild, other, *prints(1000, start=9 * SECOND)]) == [1000, 1000]
    assert clean.counts() == {"wild": 2, "duplicate": 1}


@pytest.mark.parametrize(
    ("percent", "expected", "kept"),
    [
        (20, {1: 1000}, [1000, 1005, 1010]),
        (0, {1: 1000}, [10000, 1000, 1005, 1010]),
        (20, {1: 9990}, [10000, 1000, 1005, 1010]),
        (20, {2: 1000}, [10000, 1000, 1005, 1010]),
    ],
)
def test_a_first_price_is_wild_where_a_recording_knows_better(percent, expected, kept):
    """It is dropped and counted, as one later in the day is; live nothing is known beforehand."""
    clean = sanitiser(percent)
    clean.expect(expected)
    assert passed(clean, prints(10000, 1000, 1005, 1010)) == kept
    assert clean.counts() == ({} if len(kept) == 4 else {"wild": 1})


def test_all_first_prices_are_wild_until_one_is_near_what_is_known():
    """Whatever they are; one that is no farther than the limit by its own size is none."""
    clean = sanitiser(20)
    clean.expect({1: 1000})
    assert passed(clean, prints(10000, 5, 1000, 1005, 990)) == [1000, 1005, 990]
    assert clean.counts() == {"wild": 2}
    near = sanitiser(20)
    near.expect({1: 1000})
    assert passed(near, prints(1240, 1000, 1005)) == [1240, 1000, 1005]


@pytest.mark.parametrize(
    ("close", "seen", "kept", "wild"),
    [
        (None, [10000, 1000, 1005, 1010], [1000, 1005, 1010], 1),
        (None, [1000], [], 1),
        (None, [1000, 1005], [1000, 1005], 0),
        (1000, [1100, 1105], [1100, 1105], 0),
        (1000, [10000, 1005, 1010], [1005, 1010], 1),
        (1000, [1500, 1505], [1500, 1505], 0),
    ],
)
def test_a_live_first_price_waits_for_a_second_one_or_is_near_the_close(close, seen, kept, wild):
    """One alone is never believed: a second one that agrees, or the previous close, confirms it; a gap over night is two."""
    clean = sanitiser(20, live=True)
    if close is not None:
        clean.expect_near({1: close})
    assert passed(clean, prints(*seen)) == kept
    assert clean.counts() == ({"wild": wild} if wild else {})
    assert len(passed(sanitiser(0, live=True), prints(*seen))) == len(seen)


def test_nothing_is_wild_where_it_is_off_or_an_option():
    """0 percent turns it off; an option may double with one step."""
    assert passed(sanitiser(0), prints(1000, 10000, 1005)) == [1000, 10000, 1005]
    option = [tick._replace(instrument_token=3) for tick in prints(5, 10, 5)]
    assert passed(sanitiser(20), option) == [5, 10, 5]


def test_a_few_steps_of_the_grid_are_never_wild():
    """A stock at 35 paise goes to 45 and back without losing a tick."""
    prices = [35, 45, 35, 50, 35]
    assert passed(sanitiser(20), prints(*prices)) == prices


def test_days_that_fall_by_half_are_believed():
    """A daily bar may be further away than a minute, and the range of the next one agrees where its close doesn't."""
    hours = 6.25 * 3600 * SECOND
    days = [(3680, 3700, 3600), (1620, 3300, 560), (2130, 2200, 1900), (390, 400, 380), (450, 460, 370)]
    bars = [
        Tick(1, close, int(n * 24 * 3600 * SECOND + hours), n, n * 24 * 3600 * SECOND, close, high, low)
        for n, (close, high, low) in enumerate(days)
    ]
    clean = sanitiser(20)
    assert passed(clean, bars) == [close for close, _, _ in days]
    absurd = bars[4]._replace(
        price=90_000, open=90_000, high=90_000, low=90_000, exchange_time=bars[4][2] + 1
    )
    assert passed(clean, [absurd]) == []


@pytest.mark.parametrize(
    ("bar", "tamed"),
    [
        ((1000, 10000, 995, 1005), (1000, 1005, 995, 1005)),
        ((1000, 1010, 5, 1005), (1000, 1010, 1000, 1005)),
        ((10000, 10000, 995, 1005), (1000, 1005, 995, 1005)),
        ((1000, 1150, 900, 1005), (1000, 1150, 900, 1005)),
        ((1000, 1300, 990, 1290), (1000, 1300, 990, 1290)),
    ],
)
def test_a_wild_price_inside_a_bar_is_not_believed(bar, tamed):
    """A high, low or open far from everything else gives way; a wide range that the bar itself confirms stays."""
    clean = sanitiser(30)
    clean.clean([Tick(1, 1000, 1, 0, 0, 1000, 1000, 1000)])
    first, high, low, close = bar
    out = clean.clean([Tick(1, close, SECOND, 9, 5, first, high, low)])[0]
    assert (out.open, out.high, out.low, out.price) == tamed
    assert clean.account.noted[Noted.WILD_IN_BAR] == (bar != tamed)


TICKS = st.builds(
    Tick,
    st.integers(1, 4),
    st.sampled_from([-5, 0, 5, 7, 10, 15, 20, 1000]),
    st.integers(0, 6),
    st.none() | st.integers(0, 2),
)


@given(st.lists(TICKS), st.integers(1, 5), st.sampled_from([0, 20]))
def test_what_passes_is_clean_and_what_does_not_is_counted(ticks, size, percent):
    """Per instrument: on the grid, never back in time, no two neighbours the same; nothing vanishes uncounted."""
    clean = sanitiser(percent)
    kept = [tick for at in range(0, len(ticks), size) for tick in clean.clean(ticks[at : at + size])]
    assert len(kept) == clean.passed
    assert len(kept) + sum(clean.counts().values()) == len(ticks)
    for token, step in ((1, 5), (2, 10), (3, 5)):
        own = [tick for tick in kept if tick.instrument_token == token]
        assert all(tick.price > 0 and tick.price % step == 0 for tick in own)
        assert all(a.exchange_time <= b.exchange_time for a, b in itertools.pairwise(own))
        assert all(a != b for a, b in itertools.pairwise(own))


@given(st.lists(TICKS))
def test_cleaning_what_is_clean_drops_nothing(ticks):
    """The sanitiser agrees with itself."""
    once = sanitiser().clean(ticks)
    assert sanitiser().clean(once) == once


def test_the_recorded_year_is_clean(nse_data):
    """Every bar of the YESBANK year is on the grid of 2019, contradicts nothing, and is new; no price is wild."""
    ticks = ticks_of(nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz", "NSE:YESBANK")
    clean = Sanitiser(shipped_instruments(date(2019, 1, 1)), PRICE_SCALE)
    assert clean.clean(ticks) == ticks
    assert clean.counts() == clean.account.noted == {}
