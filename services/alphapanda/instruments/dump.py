"""Reads files with instruments: Kite's dump and NSE's list of securities, recognised by their headers.

A row that can't be used is refused and counted, the others are read. Rows of exchanges that the platform doesn't know
(commodities, currencies) are left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import EXCHANGES, Instrument, instrument_id_of
from alphapanda.instruments.core import (
    CLOSING_AUCTION_SEGMENT,
    INDICES,
    KITE_COLUMNS,
    DatedFacts,
    MalformedInstruments,
    Row,
    hours_of,
    kite_instrument,
)

NSE_COLUMNS: Final = (
    "SYMBOL", "NAME OF COMPANY", "SERIES", "DATE OF LISTING", "PAID UP VALUE", "MARKET LOT", "ISIN NUMBER", "FACE VALUE",
)  # fmt: skip
FORMS: Final = (
    "Kite's instruments dump (https://api.kite.trade/instruments) or NSE's EQUITY_L.csv, plain, .gz or .zip"
)
LARGEST_BYTES: Final = 256 * 1024 * 1024
"""Most bytes of an unpacked file; Kite's dump has 12 MB."""

_PLAIN_SERIES: Final = frozenset({"EQ"})
_FINEST_TICK: Final = Decimal("0.01")
_MEMBER_SUFFIXES: Final = (".csv", ".txt")


@dataclass(slots=True)
class InstrumentFile:
    """What a file with instruments holds.

    Attributes:
        form: what it was recognised as.
        instruments: the rows that were read, each once; token 0 where the file has none.
        refused: the rows that can't be used.
        left_out: rows of other exchanges, by exchange.
    """

    form: str
    instruments: list[Instrument] = field(default_factory=list)
    refused: list[MalformedInstruments] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def read_instrument_file(file: Path, day: date, facts: DatedFacts) -> InstrumentFile:
    """Reads a file with instruments as of a day.

    Raises:
        InvalidInput: the file can't be read, or is of no known form.
    """
    return parse_instruments(file.name, unpacked(file), day, facts)


def parse_instruments(name: str, text: str, day: date, facts: DatedFacts) -> InstrumentFile:
    """Parses a file with instruments as of a day.

    Args:
        name: name of the file, for errors.
        text: its content.
        day: the day for freeze quantities and session hours.
        facts: facts that the file doesn't have.

    Raises:
        InvalidInput: it is of no known form.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    header = [cell.strip() for cell in next(rows, [])]
    lowered = [cell.lower() for cell in header]
    if set(lowered) >= set(KITE_COLUMNS):
        found = InstrumentFile("Kite's instruments dump")
        _read(found, name, rows, lowered, lambda row: _kite(row, day, facts, found.left_out))
        _mark_underlyings(found)
        return found
    upper = [cell.upper() for cell in header]
    if set(upper) >= {"SYMBOL", "SERIES", "NAME OF COMPANY"}:
        found = InstrumentFile("NSE's list of securities")
        _read(found, name, rows, upper, lambda row: _nse(row, day, facts))
        return found
    raise InvalidInput(f"{name}, header", ",".join(header), FORMS)


def unpacked(file: Path) -> str:
    """The text of a file, also of a .gz, or of a .zip with one CSV file in it.

    Raises:
        InvalidInput: it can't be read, or is larger than LARGEST_BYTES.
    """
    try:
        content = file.expanduser().read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput("file", file, f"a readable file: {FORMS} ({why})") from None
    return text_of(file, content)


def text_of(file: Path | str, content: bytes, most_bytes: int = LARGEST_BYTES) -> str:
    """The text of a file's content, packed as .gz or .zip or not.

    Args:
        file: the file, for errors.
        content: its bytes.
        most_bytes: most bytes of it unpacked.

    Raises:
        InvalidInput: it can't be unpacked, or is larger.
    """
    try:
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(most_bytes + 1)
        elif content.startswith(b"PK\x03\x04"):
            content = _member(file, content, most_bytes)
        if len(content) > most_bytes:
            raise InvalidInput("file", file, f"at most {most_bytes:,} bytes")
        return _decoded(content)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput("file", file, f"a readable file: {FORMS} ({why})") from None


def _decoded(content: bytes) -> str:
    """The text of a file: UTF-8, else the bytes of Western Windows, which older lists of the exchange have."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _member(file: Path | str, content: bytes, most_bytes: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(_MEMBER_SUFFIXES)]
        if len(names) != 1:
            raise InvalidInput("file", file, f"a .zip with one CSV file, not {len(names)}")
        with archive.open(names[0]) as packed:
            return packed.read(most_bytes + 1)


def _read(
    found: InstrumentFile,
    name: str,
    rows: Iterator[list[str]],
    columns: Sequence[str],
    read: Callable[[Row], Instrument | None],
) -> None:
    """Reads all rows; a token or an instrument that is there twice is refused the second time."""
    tokens: set[int] = set()
    ids: set[str] = set()
    for number, cells in enumerate(rows, 2):
        if not cells:
            continue
        try:
            row = _row(name, number, columns, cells)
            instrument = read(row)
            if instrument is None:
                continue
            if instrument.instrument_token and instrument.instrument_token in tokens:
                raise row.twice("instrument_token")
            if instrument.instrument_id in ids:
                raise row.twice("tradingsymbol" if "tradingsymbol" in columns else "SYMBOL")
        except MalformedInstruments as refusal:
            found.refused.append(refusal)
            continue
        if instrument.instrument_token:
            tokens.add(instrument.instrument_token)
        ids.add(instrument.instrument_id)
        found.instruments.append(instrument)


def _row(name: str, line: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        raise MalformedInstruments(
            name, line, "all", ",".join(cells), f"{len(columns)} cells: {','.join(columns)}"
        )
    return Row(name, line, dict(zip(columns, cells, strict=True)))


def _kite(row: Row, day: date, facts: DatedFacts, left_out: Counter[str]) -> Instrument | None:
    exchange = row.text("exchange")
    if exchange not in EXCHANGES:
        left_out[exchange] += 1
        return None
    one = kite_instrument(row, day, facts)
    # An expired contract's token may be another's already.
    return replace(one, instrument_token=0) if one.expiry is not None and one.expiry < day else one


def _nse(row: Row, day: date, facts: DatedFacts) -> Instrument:
    """A stock of NSE's list. It has no token and no tick size; the finest is taken, so that no price is off it."""
    series = row.text("SERIES").strip()
    symbol = row.text("SYMBOL").strip()
    name = symbol if series in _PLAIN_SERIES else f"{symbol}-{series}"  # as Kite writes it
    lot = row.lot("MARKET LOT") if "MARKET LOT" in row.cells else 1
    return stock("NSE", name, day, facts, name=row.cells["NAME OF COMPANY"].strip(), lot_size=lot)


def stock(
    exchange: str,
    symbol: str,
    day: date,
    facts: DatedFacts,
    *,
    name: str = "",
    tick_size: Decimal = _FINEST_TICK,
    lot_size: int = 1,
) -> Instrument:
    """A stock without a broker's token."""
    return Instrument(
        instrument_id=instrument_id_of(exchange, symbol, None),
        instrument_token=0,
        exchange=exchange,
        tradingsymbol=symbol,
        name=name or symbol,
        segment=exchange,
        instrument_type="EQ",
        tick_size=tick_size,
        lot_size=lot_size,
        freeze_quantity=facts.freeze_quantity(symbol, day),
        session_segment=facts.session_segment(symbol, day) if exchange == "NSE" else hours_of(exchange),
    )


def _mark_underlyings(found: InstrumentFile) -> None:
    """NSE's stocks with futures have a closing auction: the dump itself says which they are."""
    underlyings = {
        one.name for one in found.instruments if one.exchange == "NFO" and one.instrument_type == "FUT"
    }
    if not underlyings:
        return
    for at, one in enumerate(found.instruments):
        if one.exchange == "NSE" and one.segment != INDICES and one.tradingsymbol in underlyings:
            found.instruments[at] = replace(one, session_segment=CLOSING_AUCTION_SEGMENT)
