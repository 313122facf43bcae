"""Instruments, and the directory of the day's instruments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from alphapanda.domain.errors import UnknownName


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


class InstrumentDirectory:
    """The instruments of a day, by id, token or symbol. Immutable; the next day gets a new directory."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_id = {instrument.instrument_id: instrument for instrument in instruments}
        self._by_token = {instrument.instrument_token: instrument for instrument in self._by_id.values()}
        self._by_symbol = {instrument.symbol: instrument for instrument in self._by_id.values()}

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
            UnknownName: there is none; the message suggests the most similar symbol.
        """
        found = self._by_symbol.get(symbol)
        if found is None:
            raise UnknownName(field, symbol, self._by_symbol)
        return found
