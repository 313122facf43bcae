"""Parses Kite's instrument dump (CSV) and the dated facts that it doesn't have (data/README.md)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib import resources
from typing import Final, TypeVar

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument, InstrumentDirectory, SymbolChange, instrument_id_of

KITE_COLUMNS: Final = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike", "tick_size",
    "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
INDICES: Final = "INDICES"
PLAIN_SEGMENT: Final = "NSE_EQ"
CLOSING_AUCTION_SEGMENT: Final = "NSE_EQ_CAS"
SEGMENTS: Final = {"NFO": "NSE_FO", "BFO": "BSE_FO", "BSE": "BSE_EQ"}
"""Segments with the session hours of exchanges other than NSE; any other has those of NSE's stocks."""
EVERY_STOCK: Final = "*"

MOST_UNITS: Final = 10_000_000
"""Units of a lot, at most."""
_INDEX_TICK: Final = Decimal("0.01")  # an index is published in paise; Kite's dump says 0
_T = TypeVar("_T")


class MalformedInstruments(InvalidInput):
    """A cell of an instrument file can't be used; the error has file, line, column, value and what is allowed."""

    def __init__(self, file: str, line: int, column: str, value: str, allowed: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        super().__init__(f"{file}, line {line}, column {column}", value, allowed)


@dataclass(frozen=True, slots=True)
class FreezeQuantity:
    """The maximum quantity of an order at the exchange in units, from a day on."""

    symbol: str
    since: date
    quantity: int


@dataclass(frozen=True, slots=True)
class DerivativePeriod:
    """A period, both days inclusive, in which a stock has derivatives; `until` None: it still has."""

    symbol: str
    since: date
    until: date | None


@dataclass(frozen=True, slots=True)
class DatedFacts:
    """Facts about instruments that the dump doesn't have, each with its days."""

    freeze_quantities: Sequence[FreezeQuantity] = ()
    derivative_periods: Sequence[DerivativePeriod] = ()

    def freeze_quantity(self, symbol: str, day: date) -> int:
        """The freeze quantity on a day: the stock's latest, else the latest for all stocks, else 0 (none)."""
        for wanted in (symbol, EVERY_STOCK):
            rows = [row for row in self.freeze_quantities if row.symbol == wanted and row.since <= day]
            if rows:
                return max(rows, key=lambda row: row.since).quantity
        return 0

    def session_segment(self, symbol: str, day: date) -> str:
        """The segment with a stock's session hours on a day; stocks with derivatives have a closing auction."""
        listed = any(
            period.symbol == symbol and period.since <= day and (period.until is None or day <= period.until)
            for period in self.derivative_periods
        )
        return CLOSING_AUCTION_SEGMENT if listed else PLAIN_SEGMENT


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file with instruments: the file's name, the line, and the cells by column."""

    file: str
    line: int
    cells: Mapping[str, str]

    def read(self, column: str, reader: Callable[[str], _T], allowed: str) -> _T:
        """Parses a cell.

        Raises:
            MalformedInstruments: `reader` raised.
        """
        text = self.cells[column]
        try:
            return reader(text)
        except (ValueError, InvalidOperation):
            raise MalformedInstruments(self.file, self.line, column, text, allowed) from None

    def text(self, column: str) -> str:
        """A text that isn't empty."""
        return self.read(column, _not_empty, "a text that isn't empty")

    def whole(self, column: str) -> int:
        """A whole number from 1 on."""
        return self.read(column, _positive, "1 or more")

    def lot(self, column: str) -> int:
        """Units of a lot."""
        return self.read(column, _lot, f"1 to {MOST_UNITS:,}")

    def day(self, column: str) -> date:
        """A day."""
        return self.read(column, date.fromisoformat, "a day as YYYY-MM-DD")

    def optional_day(self, column: str) -> date | None:
        """A day; None where the cell is empty."""
        return self.read(column, _optional_day, "a day as YYYY-MM-DD, or nothing")

    def twice(self, column: str) -> MalformedInstruments:
        """The error for a value that another row has, too."""
        return MalformedInstruments(
            self.file, self.line, column, self.cells[column], "each only once in a dump"
        )


def parse_kite_csv(file: str, text: str, day: date, facts: DatedFacts) -> list[Instrument]:
    """Parses Kite's dump; returns the instruments as of a day, in the dump's order.

    An index has tick size and lot size 0 in the dump; it gets 0.01 and 1, and is not tradable.

    Args:
        file: name of the file, for errors.
        text: the dump.
        day: the day for freeze quantities and session hours.
        facts: facts that the dump doesn't have.

    Raises:
        MalformedInstruments: a cell can't be used, or a token or an instrument is listed twice.
    """
    instruments = []
    tokens: set[int] = set()
    names: set[str] = set()
    for row in _rows(file, text, KITE_COLUMNS):
        instrument = kite_instrument(row, day, facts)
        if instrument.instrument_token in tokens:
            raise row.twice("instrument_token")
        if instrument.instrument_id in names:
            raise row.twice("tradingsymbol")
        tokens.add(instrument.instrument_token)
        names.add(instrument.instrument_id)
        instruments.append(instrument)
    return instruments


def parse_freeze_quantities(file: str, text: str) -> list[FreezeQuantity]:
    """Parses a file with the columns `symbol,from,quantity,source`."""
    return [
        FreezeQuantity(row.text("symbol"), row.day("from"), row.whole("quantity"))
        for row in _rows(file, text, ("symbol", "from", "quantity", "source"))
    ]


def parse_derivative_periods(file: str, text: str) -> list[DerivativePeriod]:
    """Parses a file with the columns `symbol,from,to,source`."""
    return [
        DerivativePeriod(row.text("symbol"), row.day("from"), row.optional_day("to"))
        for row in _rows(file, text, ("symbol", "from", "to", "source"))
    ]


def parse_reference_prices(file: str, text: str) -> dict[str, Decimal]:
    """Parses a file with the columns `tradingsymbol,price`; returns rupees by tradingsymbol."""
    return {
        row.text("tradingsymbol"): row.read("price", _above_zero, "rupees above 0")
        for row in _rows(file, text, ("tradingsymbol", "price"))
    }


def parse_symbol_changes(file: str, text: str) -> list[SymbolChange]:
    """Parses a file with the columns `old,new,from,source`."""
    return [
        SymbolChange(row.text("old"), row.text("new"), row.day("from"))
        for row in _rows(file, text, ("old", "new", "from", "source"))
    ]


def shipped_symbol_changes() -> list[SymbolChange]:
    """Symbols that the exchange replaced by others."""
    return parse_symbol_changes("symbol_changes.csv", _shipped("symbol_changes.csv"))


def shipped_facts() -> DatedFacts:
    """The dated facts shipped with the package."""
    return DatedFacts(
        parse_freeze_quantities("freeze_quantities.csv", _shipped("freeze_quantities.csv")),
        parse_derivative_periods("derivative_underlyings.csv", _shipped("derivative_underlyings.csv")),
    )


def shipped_instruments(day: date) -> InstrumentDirectory:
    """The instruments shipped with the package, as of a day."""
    instruments = parse_kite_csv("nse_eq.csv", _shipped("nse_eq.csv"), day, shipped_facts())
    return InstrumentDirectory(instruments, shipped_symbol_changes())


def shipped_reference_prices() -> dict[str, Decimal]:
    """Start prices of simulated stocks, rupees by tradingsymbol."""
    return parse_reference_prices("reference_prices.csv", _shipped("reference_prices.csv"))


def hours_of(exchange: str) -> str:
    """The segment with the session hours of an exchange's instruments, apart from stocks with a closing auction."""
    return SEGMENTS.get(exchange, PLAIN_SEGMENT)


def kite_instrument(row: Row, day: date, facts: DatedFacts) -> Instrument:
    """An instrument of Kite's dump as of a day.

    Raises:
        MalformedInstruments: a cell can't be used.
    """
    index = row.cells["segment"] == INDICES
    exchange, symbol = row.text("exchange"), row.text("tradingsymbol")
    expiry = row.optional_day("expiry")
    stock = not index and expiry is None
    return Instrument(
        instrument_id=instrument_id_of(exchange, symbol, expiry),
        instrument_token=row.read("instrument_token", _token, "1 to 4294967295"),
        exchange=exchange,
        tradingsymbol=symbol,
        name=row.cells["name"] or symbol,
        segment=row.text("segment"),
        instrument_type=row.text("instrument_type"),
        tick_size=_INDEX_TICK if index else row.read("tick_size", _above_zero, "rupees above 0"),
        lot_size=1 if index else row.lot("lot_size"),
        freeze_quantity=facts.freeze_quantity(symbol, day) if stock else 0,
        session_segment=facts.session_segment(symbol, day)
        if stock and exchange == "NSE"
        else hours_of(exchange),
        expiry=expiry,
    )


def _rows(file: str, text: str, columns: Sequence[str]) -> Iterator[Row]:
    reader: Iterable[list[str]] = csv.reader(text.splitlines())
    for line, cells in enumerate(reader, 1):
        if line == 1:
            if cells != list(columns):
                raise MalformedInstruments(file, 1, "header", ",".join(cells), ",".join(columns))
        elif len(cells) != len(columns):
            allowed = f"{len(columns)} cells: {','.join(columns)}"
            raise MalformedInstruments(file, line, "all", ",".join(cells), allowed)
        else:
            yield Row(file, line, dict(zip(columns, cells, strict=True)))


def _shipped(name: str) -> str:
    return resources.files("alphapanda.instruments").joinpath("data", name).read_text(encoding="utf-8")


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _optional_day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _lot(text: str) -> int:
    units = _positive(text)
    if units > MOST_UNITS:
        raise ValueError(text)
    return units


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _token(text: str) -> int:
    number = _positive(text)
    if number >= 2**32:
        raise ValueError
    return number


def _above_zero(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite() or number <= 0:
        raise ValueError
    return number
