"""Which of a live feed's ticks pass: the rules one by one, and that columns decide as they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.contract.topics import shard_of
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import SECOND_NS, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.core.data_account import DataAccount
from alphapanda.marketdata.core.live.columns import (
    NEVER,
    NO_VOLUME,
    UNTIMED,
    LiveMessage,
    RawColumns,
    RawTick,
)
from alphapanda.marketdata.core.live.rules import LiveRules
from alphapanda.marketdata.core.ticks import Tick

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
STOCK, OTHER, OPTION, INDEX = 257, 513, 770, 265
CLOSE = 10_000
"""The previous close of everything, 100 rupees."""


def at(time: str, day: str = "2026-12-01") -> int:
    """A time in India, nanoseconds since the epoch."""
    return nanoseconds(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=IST))


def instrument(token: int, *, segment: str = "NSE", kind: str = "EQ", hours: str = "NSE_EQ") -> Instrument:
    """An instrument with steps of 5 paise."""
    exchange = "NFO" if kind == "CE" else "NSE"
    name = f"{exchange}:{token}"
    return Instrument(name, token, exchange, str(token), "", segment, kind, Decimal("0.05"), 1, 0, hours)


def directory() -> InstrumentDirectory:
    """Two stocks (one of them without a closing auction), an option and an index."""
    return InstrumentDirectory(
        [
            instrument(STOCK),
            instrument(OTHER, hours="NSE_EQ_CAS"),
            instrument(OPTION, segment="NFO-OPT", kind="CE", hours="NSE_FO"),
            instrument(INDEX, segment="INDICES"),
        ]
    )


class Live:
    """Rules that remember what passed."""

    def __init__(self, known: InstrumentDirectory | None = None) -> None:
        self.account = DataAccount()
        self.known = known or directory()
        self.rules = LiveRules(self.known, CALENDAR, shard_of, self.account)

    def tick(
        self,
        price: int,
        time: str,
        volume: int = NO_VOLUME,
        *,
        token: int = STOCK,
        traded: int | None = None,
        day: str = "2026-12-01",
        close: int = CLOSE,
    ) -> Sequence[Tick]:
        """What passes of one tick that comes at a time, traded then unless told otherwise."""
        now = at(time, day)
        raw = RawTick(token, price, now if traded is None else traded, volume, close)
        return self.rules.clean(LiveMessage(now, 0, [raw]), now).ticks

    @property
    def dropped(self) -> dict[str, int]:
        """Counts by reason."""
        return {str(reason): count for reason, count in self.account.dropped.items() if count}


def test_trades_pass_with_their_own_times() -> None:
    """A trade has the exchange's time of it, and the day's volume."""
    live = Live()
    assert live.tick(10_005, "10:00:05", 50, traded=at("10:00:01")) == [
        Tick(STOCK, 10_005, at("10:00:01"), 50)
    ]
    assert live.tick(10_010, "10:00:06", 60) == [Tick(STOCK, 10_010, at("10:00:06"), 60)]
    assert live.account.passed == 2


@pytest.mark.parametrize(
    ("price", "time", "traded", "reason"),
    [
        (0, "10:00", at("10:00"), "not_positive"),
        (10_000, "10:00", NEVER, "not_traded_yet"),
        (10_000, "09:16", at("15:29:59", "2026-11-30"), "earlier_day"),
        (10_000, "09:08", UNTIMED, "outside_session"),
        (10_000, "10:00", at("10:00:02"), "ahead_of_market"),
    ],
)
def test_what_is_no_trade_of_todays_session_is_dropped_by_its_reason(
    price: int, time: str, traded: int, reason: str
) -> None:
    """No price, nothing traded, yesterday's last trade, a quote of the pre-open, a time that hasn't come."""
    live = Live()
    assert not live.tick(price, time, 10, traded=traded)
    assert live.dropped == {reason: 1}


def test_an_indicative_price_of_an_auction_is_no_tick_and_its_match_is() -> None:
    """An auction shows prices at which nothing is traded: the volume stays; what it trades at its end is a price, of no bar."""
    live = Live()
    assert not live.tick(10_000, "09:05", 0, traded=NEVER, token=OTHER)
    assert live.tick(10_010, "09:09", 700, token=OTHER) == [Tick(OTHER, 10_010, at("09:09"), 700)]
    assert live.tick(10_000, "15:14:59", 900, token=OTHER)
    assert not live.tick(10_050, "15:20", 900, traded=at("15:14:59"), token=OTHER)
    assert live.tick(10_040, "15:31", 5_000, token=OTHER) == [Tick(OTHER, 10_040, at("15:31"), 5_000)]
    assert live.dropped == {"not_traded_yet": 1, "duplicate": 1}


def test_an_index_and_quotes_without_times_are_no_ticks_outside_of_the_session() -> None:
    """They move in auctions without a trade."""
    live = Live()
    assert not live.tick(2_500_000, "09:08", token=INDEX, close=2_500_000)
    assert not live.tick(10_000, "15:40", 10, traded=UNTIMED)
    assert live.dropped == {"outside_session": 2}


def test_after_the_close_the_days_last_trade_still_passes_once() -> None:
    """Who subscribes in the evening sees the close of the day, with its own time."""
    live = Live()
    assert live.tick(10_000, "18:00", 10, traded=at("15:29:58")) == [Tick(STOCK, 10_000, at("15:29:58"), 10)]
    assert not live.tick(10_000, "18:01", 10, traded=at("15:29:58"))


def test_a_packet_without_a_trade_is_no_tick() -> None:
    """Depth changes send packets, too; the same second may hold several trades."""
    live = Live()
    assert live.tick(10_000, "10:00:00", 10)
    assert not live.tick(10_000, "10:00:05", 10, traded=at("10:00:00"))
    assert not live.tick(10_005, "10:00:05", 10)
    assert live.tick(10_000, "10:00:00", 11)
    assert live.tick(10_005, "10:00:00", 12)
    assert live.dropped == {"duplicate": 2}


def test_what_is_older_by_time_or_by_volume_is_late() -> None:
    """Messages of two connections may overtake each other; a smaller volume of the same second is the older one."""
    live = Live()
    assert live.tick(10_000, "10:00:05", 100)
    assert not live.tick(10_005, "10:00:06", 90, traded=at("10:00:04"))
    assert not live.tick(10_005, "10:00:06", 90, traded=at("10:00:05"))
    assert not live.tick(10_005, "10:00:06", 90, traded=UNTIMED)
    assert live.dropped == {"late": 3}


def test_a_trade_that_the_exchange_takes_back_lowers_the_volume() -> None:
    """A later second with a smaller volume is newer: the instrument isn't stuck until its volume is reached again."""
    live = Live()
    assert live.tick(10_000, "10:00:05", 100_000)
    assert live.tick(10_000, "10:00:06", 90_000) == [Tick(STOCK, 10_000, at("10:00:06"), 90_000)]


def test_an_instrument_that_changes_its_mode_keeps_its_order() -> None:
    """Quotes come without times, at the market's; the first trade in full mode has the exchange's, which may be earlier."""
    live = Live()
    assert live.tick(10_000, "10:00:05", 100, traded=UNTIMED) == [Tick(STOCK, 10_000, at("10:00:05"), 100)]
    passed = live.tick(10_005, "10:00:06", 120, traded=at("10:00:04"))
    assert passed == [Tick(STOCK, 10_005, at("10:00:05"), 120)]


def test_an_index_has_values_without_volume() -> None:
    """The same value a second later says that it is still so; a repeated one says nothing."""
    live = Live()
    assert live.tick(2_500_000, "10:00:01", token=INDEX, close=2_500_000) == [
        Tick(INDEX, 2_500_000, at("10:00:01"))
    ]
    assert live.tick(2_500_000, "10:00:02", token=INDEX)
    assert not live.tick(2_500_000, "10:00:02", token=INDEX)
    assert not live.tick(2_500_100, "10:00:03", token=INDEX, traded=at("10:00:01"))
    assert live.dropped == {"duplicate": 1, "late": 1}


def test_a_first_price_near_the_previous_close_passes_and_one_far_away_waits() -> None:
    """The packet has the close, so that nothing else needs to be known; a second price that agrees makes it believed."""
    live = Live()
    assert live.tick(11_000, "09:15:01", 10)
    assert not live.tick(15_000, "09:15:01", 10, token=OTHER)
    assert live.dropped == {"wild": 1}
    assert len(live.tick(15_000, "09:15:02", 20, token=OTHER)) == 2
    assert not live.dropped


def test_a_wild_print_is_dropped_and_the_next_price_passes() -> None:
    """One price at the tenth part is no crash; an option may do that."""
    live = Live()
    for volume, price in enumerate([10_000, 1_000, 10_005], 1):
        live.tick(price, f"10:00:0{volume}", volume)
        live.tick(price, f"10:00:0{volume}", volume, token=OPTION)
    assert live.dropped == {"wild": 1}
    assert live.account.passed == 5


def test_a_price_off_the_grid_is_rounded() -> None:
    """The exchange's steps hold, whatever the feed sends."""
    assert Live().tick(30_001, "10:00:00", 1, close=30_000)[0].price == 30_000


def test_the_next_day_begins_with_a_volume_of_its_own() -> None:
    """A smaller volume on a new day isn't late."""
    live = Live()
    assert live.tick(10_000, "15:29:59", 1_000_000)
    assert live.tick(10_000, "09:15:00", 5, day="2026-12-02")


def test_a_volume_beyond_32_bits_goes_on() -> None:
    """Index options trade more units in a day than the packet has room for."""
    live = Live()
    most = (1 << 32) - 10
    assert live.tick(10_000, "10:00:00", most)[0].volume == most
    assert live.tick(10_000, "10:00:01", 40)[0].volume == most + 50
    assert not live.tick(10_005, "10:00:01", 30)


def test_an_unknown_token_is_counted_and_known_as_soon_as_the_directory_has_it() -> None:
    """What an import adds while it runs is streamed at once; a token that changes hands begins anew."""
    live = Live()
    assert not live.tick(10_000, "10:00:00", 1, token=999_937)
    live.known.take([instrument(999_937)])
    assert live.tick(10_000, "10:00:01", 1, token=999_937)
    other = instrument(999_937)
    live.known.take(
        [Instrument("NSE:new", 999_937, *(getattr(other, name) for name in Instrument.__slots__[2:]))]
    )
    assert live.tick(50_000, "10:00:30", 1, token=999_937, close=50_000)
    assert live.dropped == {"unknown_instrument": 1}


def test_a_token_that_changes_hands_is_judged_as_what_it_is_now() -> None:
    """An option's price may double; the stock that has its token tomorrow mayn't, and its prices have steps of their own."""
    live = Live()
    assert live.tick(10_000, "10:00:00", 1, token=OPTION)
    assert live.tick(30_000, "10:00:01", 2, token=OPTION)
    now = instrument(OPTION)
    live.known.take([replace(live.known.by_token(OPTION), instrument_token=0), now])
    assert live.tick(30_000, "10:00:30", 1, token=OPTION, close=30_000)
    assert not live.tick(60_000, "10:00:31", 2, token=OPTION)
    assert live.dropped == {"wild": 1}


def test_a_day_that_the_calendar_does_not_cover_has_no_session() -> None:
    """Nothing is traded on prices of a day whose hours nobody knows."""
    live = Live()
    assert not live.tick(10_000, "10:00:00", 1, day="2029-12-03")
    assert live.dropped == {"day_not_covered": 1}


def test_a_holiday_has_no_session() -> None:
    """What is sent on Christmas is no trade."""
    live = Live()
    assert not live.tick(10_000, "10:00:00", 100, day="2026-12-25")
    assert live.dropped == {"outside_session": 1}
    assert not live.rules.open_at(at("10:00", "2026-12-25"))


BASE = at("10:00:00")
TRADES = st.lists(
    st.lists(
        st.builds(
            lambda token, price, second, volume: RawTick(
                token,
                price,
                second if second < 1 else BASE + second * SECOND_NS,
                NO_VOLUME if token == INDEX else volume,
                30_000,
            ),
            st.sampled_from([STOCK, OTHER, OPTION, INDEX, 999]),
            st.sampled_from([0, 6_000, 29_995, 30_000, 30_001, 30_005, 90_000]),
            st.sampled_from([UNTIMED, NEVER, 1, 2, 3, 4, 5, 99, -3_600, -86_400]),
            st.integers(0, 6) | st.just((1 << 32) - 1),
        ),
        min_size=1,
        max_size=8,
    ),
    max_size=12,
)


@given(TRADES)
@settings(max_examples=300, deadline=None)
def test_columns_decide_as_the_rules_do_one_by_one(messages: list[list[RawTick]]) -> None:
    """Whatever comes, the same ticks pass, the same counts are kept, and the next message meets the same state."""
    singly, together = Live(), Live()
    for number, ticks in enumerate(messages):
        now = BASE + number * SECOND_NS
        groups = [[one for one in ticks if (one.token == INDEX) is index] for index in (False, True)]
        few = [one for group in groups for one in group]
        one_by_one = singly.rules.clean(LiveMessage(now, 0, few), now).ticks
        columns = [
            RawColumns(*(np.array(column, dtype=np.int64) for column in zip(*group, strict=True)))
            for group in groups
            if group
        ]
        kept = together.rules.clean(LiveMessage(now, 0, (), columns), now)
        passed = list(kept.ticks)
        for one in kept.columns:
            volumes = [None] * len(one.token) if one.volume is None else one.volume.tolist()
            passed += map(Tick, one.token.tolist(), one.price.tolist(), one.time_ns.tolist(), volumes)
            assert one.shard.tolist() == [shard_of(token) for token in one.token.tolist()]
        # The order among instruments is free; of each instrument it isn't.
        assert sorted(passed, key=lambda tick: tick[0]) == sorted(one_by_one, key=lambda tick: tick[0])
    assert singly.dropped == together.dropped
    assert singly.account.passed == together.account.passed
