"""Which ticks of a live feed are trades of today's sessions; decided for all columns of a message at once.

What is plainly a new trade near the last one, or plainly no new trade, is decided in columns. All others, such as an instrument's
first price or one far from the last, are looked at one by one; a message of few ticks is, too. Both ways decide alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from math import inf
from typing import Final

import numpy as np

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import SECOND_NS
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.data_account import DataAccount, Unused
from alphapanda.marketdata.core.live.columns import (
    NEVER,
    NO_VOLUME,
    NOT_IN_PAISE,
    UNTIMED,
    Kept,
    KeptColumns,
    LiveMessage,
    RawColumns,
    RawTick,
    Whole,
)
from alphapanda.marketdata.core.live.table import (
    CLOSE,
    DISTANCE,
    HELD,
    HIGH,
    LOW,
    NO_SESSION,
    OPEN,
    PRICE,
    SEEN,
    SHARD,
    TIME,
    UNIT,
    UNKNOWN,
    UNTIL,
    VOLUME,
    InstrumentTable,
)
from alphapanda.marketdata.core.sanitiser import DropReason, Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE, Tick
from alphapanda.marketdata.core.wild_prints import DEFAULT_PERCENT

_AHEAD_NS: Final = SECOND_NS
"""A trade may be so far ahead of market time: timestamps are whole seconds."""
_WRAP: Final = 1 << 32
"""Volumes are sent in 32 bits and begin anew beyond."""


class LiveDrop(StrEnum):
    """Why a tick that the feed sent is no tick of the market, beside the sanitiser's reasons."""

    NOT_TRADED_YET = "not_traded_yet"
    EARLIER_DAY = "earlier_day"
    NOT_IN_PAISE = "not_in_paise"
    AHEAD_OF_MARKET = "ahead_of_market"


class LiveRules:
    """Sorts a live feed's ticks out, and remembers each instrument's last one.

    Dropped is what has no price; what hasn't traded today (the snapshot after a subscription has the last trade of an earlier
    day); a value outside of the session that is no trade (an index, a quote without a time); a tick older than the
    instrument's last one, by its time and the day's volume; one that brings no trade (a packet is sent whenever anything
    changes, such as the depth or an auction's indicative price); a wild print until a second one agrees. What the pre-open and
    the closing auction trade passes: no strategy sees it, but the day's volume begins there, and the close is a price.

    A feed's quotes without times happen at the market's time at which they came. An index has no volume.

    Args:
        directory: the known instruments; it may change.
        calendar: the sessions.
        shard_of: returns an instrument token's shard.
        account: counts the ticks that passed and those that were dropped, by reason.
        wild_print_percent: distance from the last price from which on a price waits for a second one; 0: never.
    """

    def __init__(
        self,
        directory: InstrumentDirectory,
        calendar: TradingCalendar,
        shard_of: Callable[[int], int],
        account: DataAccount,
        wild_print_percent: float = DEFAULT_PERCENT,
    ) -> None:
        self.table: Final = InstrumentTable(directory, calendar, PRICE_SCALE, shard_of)
        self._account = account
        self._sanitiser = Sanitiser(directory, PRICE_SCALE, account, wild_print_percent, doubts_firsts=True)
        self._limit = wild_print_percent / 100 or inf
        self._order: Whole = np.zeros(0, dtype=np.int64)
        self._place: Whole = np.zeros(0, dtype=np.int64)

    def clean(self, message: LiveMessage, now: int) -> Kept:
        """What passes of a message that came at a market time (nanoseconds since the epoch)."""
        self.table.at(now)
        while self.table.changed:
            self._sanitiser.forget(self.table.changed.pop())
        ticks: list[Tick] = []
        columns: list[KeptColumns] = []
        self._one_by_one(message.few, now, ticks)
        for many in message.many:
            kept = self._columns(many, now, ticks)
            if kept is not None:
                columns.append(kept)
        return Kept(columns, ticks)

    def open_at(self, market_time_ns: int) -> bool:
        """Whether a session of any instrument that has been met is on."""
        return self.table.opens_ns <= market_time_ns < self.table.closes_ns

    # -- one by one ----------------------------------------------------------------------------------------------------

    def _one_by_one(self, raw: Iterable[RawTick], now: int, kept: list[Tick]) -> None:
        for tick in raw:
            row = self.table.row(tick[0])
            if row == UNKNOWN:
                self._account.unknown(DropReason.UNKNOWN_INSTRUMENT, tick[0])
                continue
            self.table.state[row, SEEN] = now
            decided = self._placed(row, tick, now)
            if isinstance(decided, str):
                self._account.drop(decided)
            else:
                kept += self._judged(row, decided, tick[4])

    def _placed(self, row: int, raw: RawTick, now: int) -> Tick | str:
        """The tick with its time and volume as they count, or why it is none."""
        token, price, traded, volume, _ = raw
        state: list[int] = self.table.state[row].tolist()
        time = now if traded == UNTIMED else traded
        reason = self._unusable(price, traded, time, now, state, trades=traded != UNTIMED and volume > 0)
        if reason:
            return reason
        if volume == NO_VOLUME:
            return _old_value(state, price, time) or Tick(token, price, time)
        first = state[TIME] < self.table.day_begin_ns
        if first or state[VOLUME] == NO_VOLUME:
            return _old_value(state, price, time) or Tick(token, price, time, volume)
        volume = _unwrapped(volume, state[VOLUME])
        reason = _old_trade(state, time, volume, untimed=traded == UNTIMED)
        return reason or Tick(token, price, max(time, state[TIME]), volume)

    def _unusable(
        self, price: int, traded: int, time: int, now: int, state: list[int], *, trades: bool
    ) -> str:
        """Why a tick is none of today's session, whatever came before it; empty if it is one."""
        if price <= 0:
            return LiveDrop.NOT_IN_PAISE if price == NOT_IN_PAISE else DropReason.NOT_POSITIVE
        if traded == NEVER:
            return LiveDrop.NOT_TRADED_YET
        if time > now + _AHEAD_NS:
            return LiveDrop.AHEAD_OF_MARKET
        if state[OPEN] <= time < state[CLOSE]:
            return ""
        if trades and state[CLOSE] > NO_SESSION and time >= self.table.day_begin_ns:
            return ""
        return self._outside(time)

    def _outside(self, time: int) -> str:
        if time < self.table.day_begin_ns:
            return LiveDrop.EARLIER_DAY
        return Unused.DAY_NOT_COVERED if self.table.not_covered else Unused.OUTSIDE_SESSION

    def _judged(self, row: int, tick: Tick, close: int) -> Iterable[Tick]:
        """What passes of a tick whose place in time is right: it, nothing, or a held one and it; on the price grid."""
        state = self.table.state[row]
        sanitiser = self._sanitiser
        price, time, volume = (int(state[at]) for at in (PRICE, TIME, VOLUME))
        if price and time:
            sanitiser.remember(Tick(tick[0], price, time, None if volume == NO_VOLUME else volume))
        elif close > 0:
            sanitiser.expect_near({tick[0]: close})
        kept = sanitiser.clean([tick])
        state[HELD] = sanitiser.holds(tick[0])
        for last in kept:
            self.table.step(row, last[1], last[2])
            state[PRICE], state[TIME] = last[1], last[2]
            state[VOLUME] = NO_VOLUME if last[3] is None else last[3]
        return kept

    # -- in columns ----------------------------------------------------------------------------------------------------

    def _columns(self, raw: RawColumns, now: int, ticks: list[Tick]) -> KeptColumns | None:
        """Decides what is plain, and adds to `ticks` what passes of the rest."""
        rows = self.table.rows(raw.token)
        if not self._each_once(rows):
            self._one_by_one(_tuples(raw), now, ticks)
            return None
        self.table.state[rows, SEEN] = now
        price, traded, volume = raw.price, raw.traded_ns, raw.volume
        last = self.table.state[rows]
        last_price, last_time, last_volume = last[:, PRICE], last[:, TIME], last[:, VOLUME]
        untimed = traded == UNTIMED
        time = np.where(untimed, now, traded)
        begun = (
            (price > 0)
            & (time <= now + _AHEAD_NS)
            & (time >= last[:, OPEN])
            & (time < last[:, CLOSE])
            & (last_time >= self.table.day_begin_ns)
            & (traded != NEVER)
        )
        with_volume = bool(volume[0] != NO_VOLUME)
        if with_volume:
            begun &= last_volume != NO_VOLUME
            same = begun & (volume == last_volume)
            newer = volume > last_volume
            newer &= (volume < _WRAP // 2) & (last_volume < _WRAP // 2)
        else:
            same = begun & (time == last_time) & (price == last_price)
            newer = time >= last_time
        unit = last[:, UNIT]
        plain = (
            begun
            & newer
            & ~same
            & (np.abs(price - last_price) * last[:, DISTANCE] <= self._limit * last_price)
            & (last[:, HELD] == 0)
            & (price >= last[:, LOW])
            & (price < last[:, HIGH])
            & (time < last[:, UNTIL])
            & (price % np.maximum(unit, 1) == 0)
        )
        kept = int(np.count_nonzero(plain))
        unchanged = int(np.count_nonzero(same))
        if unchanged:
            self._account.drop(DropReason.DUPLICATE, unchanged)
        if kept + unchanged < len(rows):
            self._one_by_one(_tuples(raw, ~(plain | same)), now, ticks)
        if not kept:
            return None
        if kept < len(rows):
            rows, price, time, volume = rows[plain], price[plain], time[plain], volume[plain]
            last_time, last = last_time[plain], last[plain]
        time = np.maximum(time, last_time)
        state = self.table.state
        state[rows, PRICE] = price
        state[rows, TIME] = time
        state[rows, VOLUME] = volume
        self._account.passed += kept
        token = raw.token if kept == len(plain) else raw.token[plain]
        return KeptColumns(token, price, time, volume if with_volume else None, last[:, SHARD])

    def _each_once(self, rows: Whole) -> bool:
        """Whether all rows are known, and none comes twice."""
        if rows.min() < 0:
            return False
        count = len(rows)
        if len(self._place) < len(self.table.state):
            self._place = np.zeros(len(self.table.state), dtype=np.int64)
        if len(self._order) < count:
            self._order = np.arange(max(count, 256), dtype=np.int64)
        order = self._order[:count]
        self._place[rows] = order
        return bool((self._place[rows] == order).all())


def _old_value(state: list[int], price: int, time: int) -> str:
    """Why a tick without a volume, or the first with one, brings nothing new; empty if it does."""
    if time < state[TIME]:
        return DropReason.LATE
    return DropReason.DUPLICATE if time == state[TIME] and price == state[PRICE] else ""


def _old_trade(state: list[int], time: int, volume: int, *, untimed: bool) -> str:
    """Why a tick brings no trade after the last one of the day; empty if it does.

    The day's volume tells more than times do, which are whole seconds. But it may fall, where the exchange takes a trade back.
    """
    if volume == state[VOLUME]:
        return DropReason.DUPLICATE
    late = time < state[TIME] and volume <= state[VOLUME]
    return DropReason.LATE if late or (volume < state[VOLUME] and (untimed or time == state[TIME])) else ""


def _unwrapped(volume: int, last: int) -> int:
    """A day's volume of 32 bits, continued from the last one."""
    volume += last - last % _WRAP
    return volume + _WRAP if volume < last - _WRAP // 2 else volume


def _tuples(
    raw: RawColumns, which: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
) -> Iterable[RawTick]:
    """The ticks of columns one by one, in order."""
    columns = raw if which is None else [column[which] for column in raw]
    return map(RawTick, *(column.tolist() for column in columns))
