"""What the rules know of each instrument of a live feed, as a table of whole numbers: a row an instrument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import SECOND_NS, instant
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.price_grid import Kind, kind_of
from alphapanda.marketdata.core.grids import InstrumentGrid
from alphapanda.marketdata.core.live.columns import Whole

FREE_KINDS: Final[frozenset[Kind | None]] = frozenset({Kind.STOCK_OPTION, Kind.INDEX_OPTION})
"""Kinds whose prices jump, so that none of them is wild."""

PRICE, TIME, VOLUME = 0, 1, 2
"""Of the last tick; price 0: there was none. Time in nanoseconds since the epoch."""
UNIT, LOW, HIGH, UNTIL = 3, 4, 5, 6
"""The price grid: its step, the prices and the time for which it holds; step 0: not looked at yet."""
OPEN, CLOSE = 7, 8
"""The first open and the last close of the day's sessions, nanoseconds since the epoch."""
NO_SESSION = 1
"""The close on a day without a session."""
DISTANCE = 9
"""Whether a price far from the last one is wild: 1, or 0 for what is free."""
HELD = 10
"""Whether a wild price waits for a second one."""
SHARD = 11
SEEN = 12
"""Market time of the last packet, whether it told of a trade or not, nanoseconds since the epoch; 0: none yet."""
COLUMNS = 13
UNKNOWN: Final = -1

_FIRST_ROWS: Final = 256
_REFRESHED_NS: Final = 10 * SECOND_NS
_DAY_NS: Final = 86_400 * SECOND_NS
_IST_NS: Final = 19_800 * SECOND_NS


class InstrumentTable:
    """Rows of state by instrument token. Rows are added as instruments are met, and begin anew where a token changes hands.

    Args:
        directory: the known instruments; it may change.
        calendar: the sessions.
        price_scale: units of a price in one rupee.
        shard_of: returns an instrument token's shard.

    Attributes:
        state: the table; a row is found by `rows` or `row`.
        day_begin_ns: midnight in India of the market's day, nanoseconds since the epoch.
        opens_ns: the day's first open of any instrument's segment; 0: no trading today.
        closes_ns: its last close.
        changed: tokens whose instrument has changed, or is another one now; whoever looks at them clears it.
        not_covered: whether the calendar doesn't cover the day, so that no session is known.
    """

    def __init__(
        self,
        directory: InstrumentDirectory,
        calendar: TradingCalendar,
        price_scale: int,
        shard_of: Callable[[int], int],
    ) -> None:
        self.state: Whole = np.zeros((_FIRST_ROWS, COLUMNS), dtype=np.int64)
        self.day_begin_ns = 0
        self.opens_ns = self.closes_ns = 0
        self.not_covered = False
        self.changed: set[int] = set()
        self._directory = directory
        self._calendar = calendar
        self._scale = price_scale
        self._shard_of = shard_of
        self._by_token: dict[int, int] = {}
        self._instruments: list[Instrument] = []
        self._grids: list[InstrumentGrid] = []
        self._tokens: Whole = np.zeros(0, dtype=np.int64)
        self._rows: Whole = np.zeros(0, dtype=np.int64)
        self._sessions: dict[str, tuple[int, int]] = {}
        self._refresh_at = 0

    def row(self, token: int) -> int:
        """The row of an instrument; UNKNOWN if none has this token."""
        found = self._by_token.get(token)
        return self._add(token) if found is None else found

    def rows(self, tokens: Whole) -> Whole:
        """The rows of instruments; UNKNOWN where none has the token."""
        if len(self._tokens) != len(self._by_token):
            self._tokens = np.array(sorted(self._by_token), dtype=np.int64)
            self._rows = np.array([self._by_token[int(token)] for token in self._tokens], dtype=np.int64)
        if len(self._tokens):
            places = np.minimum(self._tokens.searchsorted(tokens), len(self._tokens) - 1)
            if (self._tokens[places] == tokens).all():
                return self._rows[places]
        return np.array([self.row(token) for token in tokens.tolist()], dtype=np.int64)

    def seen(self, token: int) -> int:
        """Market time of the last packet about an instrument, nanoseconds since the epoch; 0: none came."""
        row = self._by_token.get(token)
        return 0 if row is None else int(self.state[row, SEEN])

    def instrument(self, row: int) -> Instrument:
        """The instrument of a row."""
        return self._instruments[row]

    def step(self, row: int, price: int, time_ns: int) -> int:
        """The step of the price grid at a price and a time, remembered in the row."""
        grid = self._grids[row]
        state = self.state[row]
        if not (grid.low <= price < grid.high and time_ns < grid.until_ns):
            last = int(state[PRICE])
            grid.moved(price, time_ns, last or None)
            state[UNIT], state[LOW], state[HIGH], state[UNTIL] = grid.unit, grid.low, grid.high, grid.until_ns
        return grid.unit

    def at(self, market_time_ns: int) -> None:
        """Moves to a market time: on a new day to its sessions, and now and then to what the directory says by now."""
        if market_time_ns >= self.day_begin_ns + _DAY_NS or not self.day_begin_ns:
            self.day_begin_ns = (market_time_ns + _IST_NS) // _DAY_NS * _DAY_NS - _IST_NS
            self._sessions.clear()
            self.not_covered = False
            self.opens_ns = self.closes_ns = 0
            for row in range(len(self._instruments)):
                self._open_row(row)
        if market_time_ns >= self._refresh_at:
            self._refresh_at = market_time_ns + _REFRESHED_NS
            for token, row in self._by_token.items():
                current = self._directory.by_token(token)
                if current is not None and current is not self._instruments[row]:
                    self._set(row, token, current)
                    self.changed.add(token)

    def _add(self, token: int) -> int:
        instrument = self._directory.by_token(token)
        if instrument is None:
            return UNKNOWN
        row = len(self._instruments)
        if row == len(self.state):
            self.state = np.concatenate([self.state, np.zeros_like(self.state)])
        self._by_token[token] = row
        self._instruments.append(instrument)
        self._grids.append(InstrumentGrid(instrument, self._scale))
        self._set(row, token, instrument)
        return row

    def _set(self, row: int, token: int, instrument: Instrument) -> None:
        """Writes what is known of an instrument into its row; another instrument's last price goes."""
        state = self.state[row]
        if self._instruments[row].instrument_id != instrument.instrument_id or not state[CLOSE]:
            state[:] = 0
            state[VOLUME] = -1
        self._instruments[row] = instrument
        self._grids[row] = InstrumentGrid(instrument, self._scale)
        state[UNIT] = state[LOW] = state[HIGH] = state[UNTIL] = 0
        state[DISTANCE] = kind_of(instrument) not in FREE_KINDS
        state[SHARD] = self._shard_of(token)
        self._open_row(row)

    def _open_row(self, row: int) -> None:
        self.state[row, OPEN], self.state[row, CLOSE] = self._session(self._instruments[row].session_segment)

    def _session(self, segment: str) -> tuple[int, int]:
        found = self._sessions.get(segment)
        if found is None:
            found = self._sessions[segment] = self._looked_up(segment)
            if found[1] > NO_SESSION:
                self.opens_ns = min(self.opens_ns or found[0], found[0])
                self.closes_ns = max(self.closes_ns, found[1])
        return found

    def _looked_up(self, segment: str) -> tuple[int, int]:
        """First open and last close of the day; an empty time at its begin where there is none."""
        nothing = (self.day_begin_ns, NO_SESSION)
        if segment not in self._calendar.segments:
            return nothing
        try:
            day = self._calendar.trading_day(instant(self.day_begin_ns))
            sessions = self._calendar.sessions(day, segment)
        except CalendarNotCovered:
            self.not_covered = True
            return nothing
        return (sessions[0].open_ns, sessions[-1].close_ns) if sessions else nothing
