"""Instruments, and the directory of the day's instruments."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

from alphapanda.domain.errors import UnknownName, shown

EXCHANGES: Final = ("NSE", "BSE", "NFO", "BFO")
"""The exchanges whose instruments can be known."""
MAKE_KNOWN: Final = (
    "`alphapanda instruments import FILE` or `alphapanda instruments add EXCHANGE:SYMBOL` makes it known"
)
_COMPARED: Final = 500
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument of an exchange.

    Attributes:
        instrument_id: our id, never reused: "NSE:INFY", or "NFO:NIFTY26NOVFUT@2026-11-24" if it expires.
        instrument_token: the broker's token, reused after expiry.
        exchange: such as "NSE".
        tradingsymbol: such as "INFY".
        name: company or underlying.
        segment: Kite's segment, such as "NSE" or "INDICES".
        instrument_type: Kite's type: EQ, FUT, CE, PE.
        tick_size: smallest price step, rupees, > 0.
        lot_size: units of one lot, > 0.
        freeze_quantity: most units in one order at the exchange; 0 if no limit is known.
        session_segment: segment of the trading calendar with its hours, such as "NSE_EQ_CAS".
        expiry: last trading day; None if it doesn't expire.
    """

    instrument_id: str
    instrument_token: int
    exchange: str
    tradingsymbol: str
    name: str
    segment: str
    instrument_type: str
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int
    session_segment: str
    expiry: date | None = None

    @property
    def symbol(self) -> str:
        """The symbol that users type, such as "NSE:INFY"."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def tradable(self) -> bool:
        """Whether it can be traded; False for indices."""
        return self.segment != "INDICES"


def instrument_id_of(exchange: str, tradingsymbol: str, expiry: date | None) -> str:
    """Our id of an instrument. The expiry is part of it, because symbols are reused after expiry."""
    return f"{exchange}:{tradingsymbol}" + (f"@{expiry.isoformat()}" if expiry else "")


@dataclass(frozen=True, slots=True)
class SymbolChange:
    """A symbol ("NSE:ZOMATO") that the exchange replaced by another one on a day."""

    old: str
    new: str
    since: date


class UnknownInstrument(UnknownName):
    """A symbol that no known instrument has; the message names similar ones, a newer one, and how to make it known.

    Args:
        field: name of the field.
        symbol: the unknown symbol.
        near: similar known symbols, the most similar one first.
        change: the change that replaced the symbol.
    """

    def __init__(
        self, field: str, symbol: str, near: Sequence[str] = (), change: SymbolChange | None = None
    ) -> None:
        super().__init__(field, symbol, ())
        hints = []
        if change is not None:
            hints.append(f"it has been {change.new!r} since {change.since}.")
        elif near:
            hints.append(f"did you mean {' or '.join(map(repr, near))}?")
        self.hint = " ".join([*hints, f"If there is such an instrument, {MAKE_KNOWN}"])
        self.allowed = self.hint if hints else f"no known instrument has this symbol. {self.hint}"
        self.args = (f"{field}: {shown(symbol)} is not allowed; {self.allowed}",)


class InstrumentDirectory:
    """The instruments of a day, by id, token or symbol. Changes only by `take`, between two decisions."""

    def __init__(self, instruments: Iterable[Instrument], changes: Iterable[SymbolChange] = ()) -> None:
        self._changes = {change.old: change for change in changes}
        self._by_id = {instrument.instrument_id: instrument for instrument in instruments}
        self._by_token = {instrument.instrument_token: instrument for instrument in self._by_id.values()}
        self._by_symbol = {instrument.symbol: instrument for instrument in self._by_id.values()}

    def take(self, changed: Iterable[Instrument]) -> None:
        """Takes instruments as they are now; one with token 0 has lost its token to another one, and is known no more."""
        taken = list(changed)
        for one in taken:
            before = self._by_id.pop(one.instrument_id, None)
            if before is None:
                continue
            if self._by_token.get(before.instrument_token) is before:
                del self._by_token[before.instrument_token]
            if self._by_symbol.get(before.symbol) is before:
                del self._by_symbol[before.symbol]
        for one in taken:
            if one.instrument_token:
                self._by_id[one.instrument_id] = one
                self._by_token[one.instrument_token] = one
                self._by_symbol[one.symbol] = one

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_id.values())

    def by_id(self, instrument_id: str) -> Instrument | None:
        """The instrument with this id; None if there is none."""
        return self._by_id.get(instrument_id)

    def by_token(self, instrument_token: int) -> Instrument | None:
        """The instrument with this token today; None if there is none."""
        return self._by_token.get(instrument_token)

    def by_symbol(self, symbol: str) -> Instrument | None:
        """The instrument with this symbol, such as "NSE:INFY"; None if there is none."""
        return self._by_symbol.get(symbol)

    def require_symbol(self, symbol: str, field: str) -> Instrument:
        """The instrument with this symbol, which a user typed into `field`.

        Raises:
            UnknownInstrument: there is none; the message suggests similar symbols and says how to make it known.
        """
        found = self.by_symbol(symbol)
        if found is None:
            raise self.unknown(symbol, field)
        return found

    def unknown(self, symbol: str, field: str) -> UnknownInstrument:
        """The error for a symbol that no known instrument has."""
        typed = symbol.strip().upper()
        exact = [f"{exchange}:{typed}" for exchange in EXCHANGES] if ":" not in typed else [typed]
        near = [name for name in exact if self.by_symbol(name) is not None]
        near = near or _similar(exact[0], self.symbols_near(exact[0]))
        change = next((self._changes[name] for name in exact if name in self._changes), None)
        return UnknownInstrument(field, symbol, near[:_NAMED], change)

    def symbols_near(self, symbol: str) -> list[str]:
        """Known symbols to compare with an unknown one; of many those beside it in sort order."""
        names = sorted(self._by_symbol)
        if len(names) > 2 * _COMPARED:
            at = bisect_left(names, symbol)
            names = names[max(0, at - _COMPARED) : at + _COMPARED]
        return names


def _similar(symbol: str, known: Iterable[str]) -> list[str]:
    """The known symbols whose names, without their exchanges, are most similar."""
    by_name: dict[str, list[str]] = {}
    for one in known:
        by_name.setdefault(one.partition(":")[2], []).append(one)
    names = get_close_matches(symbol.rpartition(":")[2], by_name, n=_NAMED)
    return [one for name in names for one in by_name[name]]
