"""Which instruments are streamed from Kite, and how much of each: what is traded in full, what is looked at as quotes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.kite.subscriptions import Mode

NIFTY_50: Final = 256265
"""Streamed always: an index has a timestamp every second, which market time follows."""


class StreamedInstruments:
    """Follows strategies, positions and watchers. The most important come first, should there be no room for all.

    What is traded is streamed in full, because only full packets have the times of trades.

    Args:
        directory: the known instruments; it may change.

    Attributes:
        watched: returns the tokens that somebody watches, or has asked for lately.
    """

    def __init__(self, directory: InstrumentDirectory) -> None:
        self.watched: Callable[[], Iterable[int]] = tuple
        self._directory = directory
        self._strategies: dict[str, Collection[str]] = {}
        self._positions: Collection[str] = ()

    def strategy(self, strategy_id: str, instrument_ids: Collection[str]) -> None:
        """Takes the instruments that a strategy trades; none where it doesn't run."""
        if instrument_ids:
            self._strategies[strategy_id] = instrument_ids
        else:
            self._strategies.pop(strategy_id, None)

    def positions(self, instrument_ids: Collection[str]) -> None:
        """Takes the instruments of which positions are held."""
        self._positions = instrument_ids

    def modes(self) -> Mapping[int, Mode]:
        """What is to be streamed now."""
        found: dict[int, Mode] = {}
        if self._directory.by_token(NIFTY_50) is not None:
            found[NIFTY_50] = Mode.FULL
        for instrument_id in self._positions:
            self._add(found, instrument_id)
        for instrument_ids in self._strategies.values():
            for instrument_id in instrument_ids:
                self._add(found, instrument_id)
        for token in self.watched():
            found.setdefault(token, Mode.QUOTE)
        return found

    def _add(self, found: dict[int, Mode], instrument_id: str) -> None:
        instrument = self._directory.by_id(instrument_id)
        if instrument is not None:
            found[instrument.instrument_token] = Mode.FULL
