"""Puts prices on the grid and drops invalid ticks; everything after it relies on that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import inf

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.price_grid import Kind, kind_of
from alphapanda.marketdata.core.data_account import DataAccount, Noted, counted
from alphapanda.marketdata.core.grids import InstrumentGrid, rounded
from alphapanda.marketdata.core.ticks import Tick, new_tick
from alphapanda.marketdata.core.wild_prints import DEFAULT_PERCENT, WildPrints


class DropReason(StrEnum):
    """Why a tick was dropped."""

    UNKNOWN_INSTRUMENT = "unknown_instrument"
    NOT_POSITIVE = "not_positive"
    CONTRADICTORY = "contradictory"
    LATE = "late"
    DUPLICATE = "duplicate"
    WILD = "wild"


_FREE: frozenset[Kind | None] = frozenset({Kind.STOCK_OPTION, Kind.INDEX_OPTION})
"""Kinds whose prices jump: an option at 5 paise doubles with one step."""


class Sanitiser:
    """Rounds prices to the instrument's grid; drops ticks that can't be right.

    Dropped is a tick of an unknown instrument, one without a positive price, a bar that contradicts itself (its high below its
    open or close, or its low above), a late tick, a duplicate, and a wild print until a second one agrees. A late tick is
    older than the instrument's last tick. A duplicate has the time, price and volume of the instrument's last tick; the same
    price at a later time is a new tick. A price off the grid is rounded to it and counted.

    Args:
        instruments: the known instruments.
        price_scale: units of a tick's price in one rupee.
        account: counts the ticks that passed and those that were dropped, by reason; None: an own one.
        wild_print_percent: distance from the last price from which on a price waits for a second one; 0: never.
        doubts_firsts: whether an instrument's first price waits, too, unless it is near the previous close: of a live feed, where
            nobody can look at the prices after it.

    Attributes:
        account: the counts.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        price_scale: int,
        account: DataAccount | None = None,
        wild_print_percent: float = DEFAULT_PERCENT,
        *,
        doubts_firsts: bool = False,
    ) -> None:
        self._doubts_firsts = doubts_firsts
        self._closes: dict[int, int] = {}
        self._directory = (
            instruments if isinstance(instruments, InstrumentDirectory) else InstrumentDirectory(instruments)
        )
        self._price_scale = price_scale
        self._grids: dict[int, InstrumentGrid] = {}
        self._free: set[int] = set()
        self._wild = WildPrints(wild_print_percent)
        self._judges = self._wild.limit > 0
        self._limit = self._wild.limit or inf
        self._last: dict[int, Tick] = {}
        self._expected: dict[int, int] = {}
        self.account = account or DataAccount()

    def clean(self, ticks: Sequence[Tick]) -> list[Tick]:
        """Returns the ticks that passed, in order; a held wild print before the one that agreed with it."""
        kept: list[Tick] = []
        for tick in ticks:
            grid = self._grids.get(tick[0])
            if grid is None:
                grid = self._grid_of(tick[0])
            if grid is None:
                self.account.unknown(DropReason.UNKNOWN_INSTRUMENT, tick[0])
            else:
                kept += self._cleaned(tick, grid, self._last.get(tick[0]))
        self.account.passed_ticks(kept)
        return kept

    def expect(self, prices: Mapping[int, int]) -> None:
        """Tells what is known beforehand of instruments' first prices: those far from this are wild until one is near it.

        Args:
            prices: by instrument token, in units of a tick's price.
        """
        self._expected.update(prices)

    def expect_near(self, closes: Mapping[int, int]) -> None:
        """Tells instruments' previous closes: a first price that is near isn't doubted.

        Args:
            closes: by instrument token, in units of a tick's price.
        """
        self._closes.update(closes)

    def remember(self, tick: Tick) -> None:
        """Takes a tick as its instrument's last one, where somebody else has let it pass."""
        self._last[tick[0]] = tick

    def forget(self, token: int) -> None:
        """Takes an instrument as one that has had no tick yet, and looks its price grid up anew."""
        self._last.pop(token, None)
        self._grids.pop(token, None)
        self._free.discard(token)
        self._wild.held.pop(token, None)

    def holds(self, token: int) -> bool:
        """Whether a wild print of an instrument waits for a second one."""
        return token in self._wild.held

    def _grid_of(self, token: int) -> InstrumentGrid | None:
        """The price grid of an instrument that is met for the first time; None if it isn't known."""
        instrument = self._directory.by_token(token)
        if instrument is None:
            return None
        if kind_of(instrument) in _FREE:
            self._free.add(token)
        grid = self._grids[token] = InstrumentGrid(instrument, self._price_scale)
        return grid

    @property
    def passed(self) -> int:
        """The number of ticks that passed."""
        return self.account.passed

    def counts(self) -> Mapping[str, int]:
        """The number of ticks dropped, by reason; zeros are left out."""
        return counted(self.account.dropped)

    def _cleaned(self, tick: Tick, grid: InstrumentGrid, before: Tick | None) -> Sequence[Tick]:
        """What passes now of a known instrument's tick: the tick, nothing, or a held one and the tick."""
        token, price, time, _, _, _, _, low = tick
        if price <= 0 or (low is not None and low <= 0):
            self.account.drop(DropReason.NOT_POSITIVE)
            return ()
        if before is not None and time < before[2]:
            self.account.drop(DropReason.LATE)
            return ()
        if grid.low <= price < grid.high and time < grid.until_ns:
            unit = grid.unit
        else:
            unit = grid.moved(price, time, None if before is None else before[1])
        if unit > 1 and price % unit:
            tick = self._rounded(tick, unit)
            price = tick[1]
        if before is None and (self._expected or self._doubts_firsts):
            doubted = self._doubted(tick, unit)
            if doubted is not None:
                return doubted
        if low is not None:
            checked = self._checked_bar(tick, unit, before)
            if checked is None:
                return ()
            tick = checked
        if before is not None and (
            time == before[2] or abs(price - before[1]) > self._limit * before[1] or self._wild.held
        ):
            return self._compared(tick, before, unit)
        self._last[token] = tick
        return (tick,)

    def _doubted(self, tick: Tick, unit: int) -> Sequence[Tick] | None:
        """What passes of an instrument's first price that is doubted; None of one that isn't."""
        token, price = tick[0], tick[1]
        if not self._judges or token in self._free:
            return None
        expected = self._expected.get(token)
        if expected is not None:
            if abs(price - expected) <= self._limit * price or not self._wild.is_wild(tick, expected, unit):
                return None
            self.account.drop(DropReason.WILD)
            return ()
        if not self._doubts_firsts:
            return None
        close = self._closes.get(token)
        if close is None or self._wild.is_wild(tick, close, unit):
            return self._judged(tick)
        self._wild.held.pop(token, None)
        return None

    def _compared(self, tick: Tick, before: Tick, unit: int) -> Sequence[Tick]:
        """What passes of a tick at the time of the one before, far from it, or while a wild one is held."""
        if tick[2] == before[2] and tick[1] == before[1] and tick[3] == before[3]:
            self.account.drop(DropReason.DUPLICATE)
            return ()
        if self._judges and tick[0] not in self._free and self._wild.is_wild(tick, before[1], unit):
            return self._judged(tick)
        self._wild.held.pop(tick[0], None)
        self._last[tick[0]] = tick
        return (tick,)

    def _checked_bar(self, bar: Tick, unit: int, before: Tick | None) -> Tick | None:
        """A bar with all prices on the grid and none of them wild; None for one that contradicts itself."""
        _, close, _, _, _, first, high, low = bar
        if first is None or high is None or low is None:
            return bar
        if unit > 1 and (first % unit or high % unit or low % unit):
            bar = self._rounded(bar, unit)
            first, high, low = rounded(first, unit), rounded(high, unit), rounded(low, unit)
        if high < first or high < close or low > first or low > close:
            self.account.drop(DropReason.CONTRADICTORY)
            return None
        if high - low <= self._limit * low or bar[0] in self._free:
            return bar
        tamed = self._wild.tamed(bar, None if before is None else before[1], unit)
        if tamed != bar:
            self.account.note(Noted.WILD_IN_BAR)
        return tamed

    def _rounded(self, tick: Tick, unit: int) -> Tick:
        self.account.note(Noted.ROUNDED)
        prices = [None if price is None else rounded(price, unit) for price in tick[5:]]
        return new_tick((tick[0], rounded(tick[1], unit), *tick[2:5], *prices))

    def _judged(self, tick: Tick) -> Sequence[Tick]:
        """A wild tick: held back and counted, or believed with the held one."""
        if self._wild.repeats(tick):
            self.account.drop(DropReason.DUPLICATE)
            return ()
        believed = self._wild.believed(tick)
        if believed:
            self.account.drop(DropReason.WILD, -1)
            self._last[tick[0]] = tick
        else:
            self.account.drop(DropReason.WILD)
        return believed
