import itertools
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.marketdata.data_files import ticks_of

from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.sanitiser import DropReason, Sanitiser
from alphapanda.marketdata.core.ticks import OFF_SCALE, PRICE_SCALE, Tick


def stock(token, tick="0.05"):
    return Instrument(
        f"NSE:{token}", token, "NSE", str(token), "", "NSE", "EQ", Decimal(tick), 1, 0, "NSE_EQ"
    )


def sanitiser():
    return Sanitiser([stock(1), stock(2, "0.10")], PRICE_SCALE)


@pytest.mark.parametrize(
    ("tick", "reason"),
    [
        (Tick(3, 100, 10), DropReason.UNKNOWN_INSTRUMENT),
        (Tick(1, 0, 10), DropReason.NOT_POSITIVE),
        (Tick(1, -100, 10), DropReason.NOT_POSITIVE),
        (Tick(1, 101, 10), DropReason.OFF_GRID),
        (Tick(2, 105, 10), DropReason.OFF_GRID),
        (Tick(1, OFF_SCALE, 10), DropReason.OFF_GRID),
        (Tick(1, 100, 10, 9, 5, 100, 101, 95), DropReason.OFF_GRID),
        (Tick(1, 100, 10, 9, 5, OFF_SCALE, 100, 95), DropReason.OFF_GRID),
        (Tick(1, 100, 10, 9, 5, 100, 100, 0), DropReason.NOT_POSITIVE),
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
    ("tick_size", "price", "kept"), [("0.0025", 1, True), ("0.125", 25, True), ("0.125", 15, False)]
)
def test_a_grid_finer_than_the_scale_is_kept_exactly(tick_size, price, kept):
    """A step of a quarter paisa lets every paisa pass; one of 12.5 paise every 25."""
    clean = Sanitiser([stock(1, tick_size)], PRICE_SCALE)
    assert bool(clean.clean([Tick(1, price, 1)])) is kept


TICKS = st.builds(
    Tick,
    st.integers(1, 3),
    st.sampled_from([-5, 0, 5, 7, 10, 15, 20, OFF_SCALE]),
    st.integers(0, 6),
    st.none() | st.integers(0, 2),
)


@given(st.lists(TICKS), st.integers(1, 5))
def test_what_passes_is_clean_and_what_does_not_is_counted(ticks, size):
    """Per instrument: on the grid, never back in time, no two neighbours the same; nothing vanishes uncounted."""
    clean = sanitiser()
    kept = [tick for at in range(0, len(ticks), size) for tick in clean.clean(ticks[at : at + size])]
    assert len(kept) == clean.passed
    assert len(kept) + sum(clean.counts().values()) == len(ticks)
    for token, step in ((1, 5), (2, 10)):
        own = [tick for tick in kept if tick.instrument_token == token]
        assert all(tick.price > 0 and tick.price % step == 0 for tick in own)
        assert all(a.exchange_time <= b.exchange_time for a, b in itertools.pairwise(own))
        assert all(a != b for a, b in itertools.pairwise(own))


@given(st.lists(TICKS))
def test_cleaning_what_is_clean_drops_nothing(ticks):
    """The sanitiser agrees with itself."""
    once = sanitiser().clean(ticks)
    assert sanitiser().clean(once) == once


def test_the_recorded_year_is_clean_or_counted(nse_data):
    """Every bar of the YESBANK year is on the 5-paise grid and new."""
    ticks = ticks_of(nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz", "NSE:YESBANK")
    clean = Sanitiser(shipped_instruments(date(2019, 1, 1)), PRICE_SCALE)
    off_grid = sum(tick.price % 5 != 0 for tick in ticks)
    assert len(clean.clean(ticks)) + off_grid == 92_017
    assert clean.account.dropped[DropReason.OFF_GRID] == off_grid
    assert sum(clean.counts().values()) == off_grid
