from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import nanoseconds
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.session_opens import with_session_opens
from alphapanda.marketdata.core.ticks import Tick, batches_by_time

IST = ZoneInfo("Asia/Kolkata")
INFY, SBIN = 408065, 779521
DIRECTORY, CALENDAR = shipped_instruments(date(2024, 3, 4)), load_nse_calendar()


def at(text):
    return nanoseconds(datetime.fromisoformat(text).replace(tzinfo=IST))


def bar(start, minutes=1, token=INFY):
    end = at(start) + minutes * 60 * 10**9
    return Tick(token, 1000, end, 1, at(start), 1000, 1000, 1000)


def opens(*ticks):
    """The times of the batches without ticks, and whether the batches' times rise."""
    batches = list(with_session_opens(batches_by_time(ticks), DIRECTORY, CALENDAR))
    times = [batch.market_time_ns for batch in batches]
    assert times == sorted(times)
    assert [tick for batch in batches for tick in batch.ticks] == list(ticks)
    return [
        datetime.fromtimestamp(batch.market_time_ns / 10**9, IST).strftime("%d %H:%M")
        for batch in batches
        if not batch.ticks
    ]


def test_each_session_with_bars_is_opened_once():
    """A Saturday with two sessions, a Monday of daily bars: before their first bars, whenever these begin."""
    assert opens(
        bar("2024-03-02T09:15"),
        bar("2024-03-02T09:15", token=SBIN),
        bar("2024-03-02T09:16"),
        bar("2024-03-02T10:05"),
        bar("2024-03-02T11:40"),
        bar("2024-03-04T09:15", 375),
    ) == ["02 09:15", "02 11:30", "04 09:15"]


def test_trades_and_what_lies_in_no_session_open_nothing():
    """A feed of trades has its own first tick; a bar of a Sunday belongs to no session; an open that has passed is past."""
    trade = Tick(INFY, 1000, at("2024-03-04T09:15") + int(timedelta(seconds=5).total_seconds()) * 10**9)
    assert opens(trade) == []
    assert (
        opens(bar("2024-03-03T10:00"), bar("1990-01-01T10:00")._replace(exchange_time=at("2024-03-03T11:00")))
        == []
    )
    assert opens(trade, bar("2024-03-04T09:15")) == []
