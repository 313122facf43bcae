"""Drops invalid ticks; everything after it relies on that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.core.data_account import DataAccount, counted
from alphapanda.marketdata.core.ticks import OFF_SCALE, Tick


class DropReason(StrEnum):
    """Why a tick was dropped."""

    UNKNOWN_INSTRUMENT = "unknown_instrument"
    NOT_POSITIVE = "not_positive"
    OFF_GRID = "off_grid"
    LATE = "late"
    DUPLICATE = "duplicate"


class Sanitiser:
    """Drops ticks that are of an unknown instrument, without a positive price, off the price grid, late, or duplicate.

    All four prices of a bar have to be positive and on the grid. A late tick is older than the instrument's last tick. A duplicate has the time, price and volume of the instrument's last
    tick; the same price at a later time is a new tick.

    Args:
        instruments: the known instruments.
        price_scale: units of a tick's price in one rupee.
        account: counts the ticks that passed and those that were dropped, by reason; None: an own one.

    Attributes:
        account: the counts.
    """

    def __init__(
        self, instruments: Iterable[Instrument], price_scale: int, account: DataAccount | None = None
    ) -> None:
        self._directory = (
            instruments if isinstance(instruments, InstrumentDirectory) else InstrumentDirectory(instruments)
        )
        self._price_scale = price_scale
        self._grids: dict[int, int] = {}
        self._last: dict[int, Tick] = {}
        self.account = account or DataAccount()

    def clean(self, ticks: Sequence[Tick]) -> list[Tick]:
        """Returns the ticks that passed, in order."""
        last, account = self._last, self.account
        kept = []
        for tick in ticks:
            token, price, time, _, _, _, _, low = tick
            grid = self._grids.get(token)
            if grid is None:
                grid = self._grid_of(token)
            if grid is None:
                account.unknown(DropReason.UNKNOWN_INSTRUMENT, token)
            elif price <= 0 or price % grid or (low is not None and not _on_grid(tick, grid)):
                account.drop(_why_off(tick))
            elif (before := last.get(token)) is not None and time <= before[2] and _repeats(tick, before):
                account.drop(DropReason.LATE if time < before[2] else DropReason.DUPLICATE)
            else:
                last[token] = tick
                kept.append(tick)
        account.passed_ticks(kept)
        return kept

    def _grid_of(self, token: int) -> int | None:
        """The price grid of an instrument that is met for the first time; None if it isn't known."""
        instrument = self._directory.by_token(token)
        if instrument is None:
            return None
        grid = self._grids[token] = _grid(instrument, self._price_scale)
        return grid

    @property
    def passed(self) -> int:
        """The number of ticks that passed."""
        return self.account.passed

    def counts(self) -> Mapping[str, int]:
        """The number of ticks dropped, by reason; zeros are left out."""
        return counted(self.account.dropped)


def _on_grid(bar: Tick, grid: int) -> bool:
    """Whether a bar's open, high and low are positive and on the price grid."""
    return all(price is not None and price > 0 and not price % grid for price in bar[5:])


def _why_off(tick: Tick) -> DropReason:
    prices = [price for price in (tick.price, *tick[5:]) if price is not None]
    negative = any(price <= 0 and price != OFF_SCALE for price in prices)
    return DropReason.NOT_POSITIVE if negative else DropReason.OFF_GRID


def _repeats(tick: Tick, before: Tick) -> bool:
    """Whether a tick that isn't newer than the last one is late or a duplicate."""
    return tick[2] < before[2] or (tick[1] == before[1] and tick[3] == before[3])


def _grid(instrument: Instrument, price_scale: int) -> int:
    """The instrument's tick size in units of a price; if that is no whole number, its smallest whole multiple."""
    return (Fraction(instrument.tick_size) * price_scale).numerator
