"""Finds instruments by the names that data files give them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.core.recorded.cells import BETWEEN
from alphapanda.marketdata.core.recorded.columns import plain

LEFT_OUT: Final = 0
"""Token of rows that aren't used: of another series, or of an unknown instrument in a file of the whole market."""

_MOST_LEFT_OUT: Final = 5
_SUFFIXES: Final = {".NS": "NSE", ".BO": "BSE", ".NSE": "NSE", ".BSE": "BSE"}
_SERIES: Final = ("", "EQ", "BE", "BZ")
_EXCHANGES: Final = {
    "NSE_EQ": "NSE",
    "NSE_INDEX": "NSE",
    "BSE_EQ": "BSE",
    "BSE_INDEX": "BSE",
    "NSE_FO": "NFO",
    "IDX_I": "NSE",
}
_INDICES: Final = {
    "^NSEI": "NSE:NIFTY 50",
    "NIFTY": "NSE:NIFTY 50",
    "^NSEBANK": "NSE:NIFTY BANK",
    "BANKNIFTY": "NSE:NIFTY BANK",
}


class InstrumentFinder:
    """Finds the token of a name, with or without exchange.

    Args:
        directory: the instruments.
        given: the instrument that the user named; taken for the one unknown name of a file.
        whole_market: whether the file lists all instruments of an exchange, so that unknown ones are left out.
    """

    def __init__(
        self, directory: InstrumentDirectory, given: Instrument | None, *, whole_market: bool = False
    ) -> None:
        self._directory = directory
        self._given = given
        self._whole_market = whole_market
        self._plain: dict[str, Instrument] | None = None
        self._seen: set[str] = set()
        self.taken_for: str | None = None
        """The unknown name that was taken for the given instrument."""
        self.left_out: list[str] = []
        """The first unknown names that were left out."""

    def token(self, cells: str) -> int:
        """The token of "NSE:INFY", "INFY", "INFY.NS", "INFY-EQ", or of a name, exchange and series joined by BETWEEN.

        Raises:
            ValueError: there is no such instrument; the text says what is allowed.
        """
        name, exchange, series = ([part.strip() for part in cells.split(BETWEEN)] + ["", ""])[:3]
        if series.upper() not in _SERIES:
            return LEFT_OUT
        found = next(
            (one for symbol in _spellings(name, exchange) if (one := self._directory.by_symbol(symbol))), None
        )
        found = found or self._by_plain_name(name, exchange)
        self._seen.add(name)
        if self.taken_for is not None and self._seen != {self.taken_for}:
            raise ValueError(
                f"a known instrument; {self.taken_for!r} isn't, and the file names others besides it"
            )
        if found is not None:
            return found.instrument_token
        if self._whole_market:
            if len(self.left_out) < _MOST_LEFT_OUT:
                self.left_out.append(name)
            return LEFT_OUT
        if self._given is not None and self._seen == {name}:
            self.taken_for = name
            return self._given.instrument_token
        raise ValueError(self._directory.unknown(name, "symbol").allowed)

    def _by_plain_name(self, name: str, exchange: str) -> Instrument | None:
        if self._plain is None:
            self._plain = {plain(one.symbol): one for one in self._directory}
            names = Counter(plain(one.tradingsymbol) for one in self._directory)
            self._plain |= {
                own: one for one in self._directory if names[own := plain(one.tradingsymbol)] == 1
            }
        spellings = [*_spellings(name, exchange), *([] if exchange else [name])]
        return next((found for symbol in spellings if (found := self._plain.get(plain(symbol)))), None)


def _spellings(name: str, exchange: str) -> Iterator[str]:
    """The symbols that a name may stand for."""
    yield name
    upper = name.upper()
    venue, _, rest = upper.rpartition(":")
    for suffix, of_suffix in _SUFFIXES.items():
        if rest.endswith(suffix):
            venue, rest = of_suffix, rest.removesuffix(suffix)
    venue = venue or exchange.upper() or "NSE"
    venue = _EXCHANGES.get(venue, venue)
    if rest in _INDICES:
        yield _INDICES[rest]
    yield f"{venue}:{rest}"
    yield f"{venue}:{rest.removesuffix('-EQ')}"
