"""The exchange's restricted instruments as a dated list: surveillance (ASM, GSM), trade to trade, the F&O ban (REAL_MONEY rule 22)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from alphapanda.domain.capability_question import Segment
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import Product


class Refuses(StrEnum):
    """What a restriction refuses."""

    MIS = "MIS"
    """Intraday positions in the share."""
    CONTRACTS = "contracts"
    """Entries in futures and options on the share, as in the F&O ban."""
    ENTRIES = "entries"
    """All entries in the share and in its futures and options."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """One line of the list.

    Attributes:
        symbol: the share, such as "NSE:INFY".
        refuses: what is refused.
        list_name: the exchange's list it is on, for people.
    """

    symbol: str
    refuses: Refuses
    list_name: str


@dataclass(frozen=True, slots=True)
class RestrictedList:
    """The restrictions of a day.

    Attributes:
        as_of: the exchange's day that the list is of.
        most_days: calendar days after which it is too old to trade by.
        restrictions: its lines.
    """

    as_of: date
    most_days: int
    restrictions: tuple[Restriction, ...]
    _by_name: Mapping[str, tuple[Restriction, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", _by_name(self.restrictions))

    def is_outdated(self, day: date) -> bool:
        """Whether the list is too old on a day."""
        return day - self.as_of > timedelta(days=self.most_days)

    def restriction(self, instrument: Instrument, segment: Segment, product: Product) -> Restriction | None:
        """What refuses entries in an instrument as a product; None if nothing on the list does."""
        if segment.is_cash:
            for one in self._by_name.get(instrument.tradingsymbol, ()):
                if one.symbol == instrument.symbol and (
                    one.refuses is Refuses.ENTRIES or (one.refuses is Refuses.MIS and product is Product.MIS)
                ):
                    return one
        elif segment.of_stocks:
            for one in self._by_name.get(instrument.name, ()):
                if one.refuses is not Refuses.MIS:
                    return one
        return None


def _by_name(restrictions: Iterable[Restriction]) -> Mapping[str, tuple[Restriction, ...]]:
    found: dict[str, tuple[Restriction, ...]] = {}
    for one in restrictions:
        name = one.symbol.partition(":")[2]
        found[name] = (*found.get(name, ()), one)
    return found
