"""Imports files with instruments into the registry, and adds single ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import EXCHANGES, Instrument, instrument_id_of
from alphapanda.instruments.core import INDICES, MOST_UNITS, DatedFacts, hours_of
from alphapanda.instruments.dump import InstrumentFile, read_instrument_file, stock
from alphapanda.instruments.merging import Entry, Merge, merged
from alphapanda.instruments.registry import InstrumentRegistry

MOST_REFUSED: Final = 0.01
"""Fraction of a file's rows that may be refused; beyond it nothing is imported."""
MOST_RUPEES: Final = 100_000
"""Rupees of a price step, at most."""
_SYMBOL: Final = re.compile(r"(?P<exchange>[A-Z]+):(?P<name>[A-Z0-9][A-Z0-9&_. -]{0,63})")
_DERIVATIVES: Final = ("NFO", "BFO")
_KINDS: Final = ("FUT", "CE", "PE")


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import."""

    file: InstrumentFile
    merge: Merge

    @property
    def in_one_line(self) -> str:
        """How many instruments were added, changed, ended, unchanged and refused."""
        found, merge = self.file, self.merge
        counts = (
            f"{merge.added:,} added, {merge.changed:,} changed, {merge.ended:,} ended,"
            f" {merge.unchanged:,} unchanged, {len(found.refused):,} refused"
        )
        others = ", ".join(f"{exchange} {rows:,}" for exchange, rows in sorted(found.left_out.items()))
        return f"{found.form}: {counts}" + (f"; left out: {others}" if others else "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instrument to add; what is None is as it was, or as is usual."""

    symbol: str
    name: str | None = None
    lot_size: int | None = None
    tick_size: Decimal | None = None
    expiry: date | None = None
    index: bool = False


def import_file(
    registry: InstrumentRegistry,
    shipped: Iterable[Instrument],
    file: Path,
    day: date,
    facts: DatedFacts,
    *,
    allow_refusals: bool = False,
) -> Imported:
    """Imports a file, all or nothing but for rows that can't be used.

    Args:
        registry: where the instruments are stored.
        shipped: the instruments that are known without it.
        file: Kite's dump or NSE's list of securities.
        day: the day of the file.
        facts: facts that the file doesn't have.
        allow_refusals: import it even where more than MOST_REFUSED of its rows can't be used.

    Raises:
        InvalidInput: the file or the registry can't be read, or too few of the rows can be used.
    """
    found = read_instrument_file(file, day, facts)
    return import_read(registry, shipped, found, file, day, allow_refusals=allow_refusals)


def import_read(
    registry: InstrumentRegistry,
    shipped: Iterable[Instrument],
    found: InstrumentFile,
    file: Path,
    day: date,
    *,
    allow_refusals: bool = False,
    at: datetime | None = None,
) -> Imported:
    """Imports what was read of a file.

    Args:
        registry: where the instruments are stored.
        shipped: the instruments that are known without it.
        found: what the file holds.
        file: its name, for messages.
        day: the day of the file.
        allow_refusals: import it even where more than MOST_REFUSED of its rows can't be used.
        at: record the import as of this time, even where it changes nothing; None: now, where it changes something.

    Raises:
        InvalidInput: the registry can't be used, or too few of the rows can.
    """
    rows = len(found.instruments) + len(found.refused)
    if not found.instruments:
        why = f"; the first: {found.refused[0]}" if found.refused else ""
        raise InvalidInput("file", file, f"a file with a row that can be used{why}")
    if len(found.refused) > rows * MOST_REFUSED and not allow_refusals:
        raise InvalidInput(
            "file",
            file,
            f"at most 1 % of rows that can't be used, {len(found.refused):,} of {rows:,} can't; the first:"
            f" {found.refused[0]}; nothing was imported; --allow-drops (allow_refusals) imports the others",
        )
    refused = len(found.refused)
    return Imported(found, _stored(registry, shipped, found.instruments, day, file.name, refused, at=at))


def add_instrument(
    registry: InstrumentRegistry,
    shipped: Iterable[Instrument],
    wanted: Wanted,
    day: date,
    facts: DatedFacts,
) -> Instrument:
    """Adds an instrument that no file has, or changes what a known one is given anew; returns it as stored.

    Raises:
        InvalidInput: the symbol or a value isn't allowed, or the registry can't be used.
    """
    parts = _SYMBOL.fullmatch(wanted.symbol)
    if parts is None or parts["exchange"] not in EXCHANGES:
        allowed = f"EXCHANGE:SYMBOL in capitals, such as NSE:INFY; exchanges: {', '.join(EXCHANGES)}"
        raise InvalidInput("symbol", wanted.symbol, allowed)
    if wanted.lot_size is not None and not 0 < wanted.lot_size <= MOST_UNITS:
        raise InvalidInput("--lot", wanted.lot_size, f"units of a lot, 1 to {MOST_UNITS:,}")
    if wanted.tick_size is not None and not (
        wanted.tick_size.is_finite() and 0 < wanted.tick_size <= MOST_RUPEES
    ):
        raise InvalidInput("--tick", wanted.tick_size, f"rupees above 0 and at most {MOST_RUPEES:,}")
    shipped = list(shipped)
    instrument_id = instrument_id_of(parts["exchange"], parts["name"], wanted.expiry)
    before = registry.by_id(instrument_id)
    before = before or next((one for one in shipped if one.instrument_id == instrument_id), None)
    made = before or _made(parts["exchange"], parts["name"], wanted, day, facts)
    made = replace(
        made,
        name=made.name if wanted.name is None else wanted.name,
        lot_size=made.lot_size if wanted.lot_size is None else wanted.lot_size,
        tick_size=made.tick_size if wanted.tick_size is None else wanted.tick_size,
    )
    # A contract that has expired may be added, too: for a replay of its time. It has no token that another one got.
    _stored(registry, shipped, [made], min(day, made.expiry or day), wanted.symbol, 0)
    return registry.by_id(instrument_id) or made


def _stored(
    registry: InstrumentRegistry,
    shipped: Iterable[Instrument],
    listed: Iterable[Instrument],
    day: date,
    source: str,
    refused: int,
    *,
    at: datetime | None = None,
) -> Merge:
    before = registry.state()
    known = {one.instrument_id: Entry(one) for one in shipped} | registry.entries()
    merge = merged(known, listed, before.own_tokens, day)
    if merge.stored or at is not None:
        registry.store(merge, before, source, refused, at or datetime.now(UTC))
    return merge


def _made(exchange: str, name: str, wanted: Wanted, day: date, facts: DatedFacts) -> Instrument:
    made = stock(exchange, name, day, facts)
    if wanted.index:
        return replace(made, segment=INDICES, freeze_quantity=0, session_segment=hours_of(exchange))
    if exchange not in _DERIVATIVES:
        if wanted.expiry is not None:
            raise InvalidInput(
                "--expiry", wanted.expiry, f"a day for futures and options; {exchange} has none"
            )
        return made
    kind = next((kind for kind in _KINDS if name.endswith(kind)), None)
    if kind is None:
        raise InvalidInput("symbol", wanted.symbol, f"a future or option, which ends in {', '.join(_KINDS)}")
    if wanted.expiry is None:
        raise InvalidInput("--expiry", "", f"the day on which {wanted.symbol} expires, as YYYY-MM-DD")
    return replace(
        made,
        instrument_id=instrument_id_of(exchange, name, wanted.expiry),
        instrument_type=kind,
        segment=f"{exchange}-{'FUT' if kind == 'FUT' else 'OPT'}",
        tick_size=Decimal("0.05"),
        freeze_quantity=0,
        session_segment=hours_of(exchange),
        expiry=wanted.expiry,
    )
