"""The port of the registry's store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.instruments.search import SearchKey

SortKey = tuple[str, str, str]
MOST_SUGGESTED: Final = 5_000
LENGTH_SLACK: Final = 2
"""How many characters longer or shorter a symbol may be to be suggested for another."""


@dataclass(frozen=True, slots=True)
class TokenAssignment:
    """A token belongs to an instrument from `from_day` up to, not including, `until_day`; None: until today."""

    instrument_id: str
    instrument_token: int
    from_day: date
    until_day: date | None


@dataclass(frozen=True, slots=True)
class InstrumentFilter:
    """A filter of instruments.

    Attributes:
        exchange: only this one's; empty: all.
        symbol_prefix: only symbols ("INFY" or "NSE:INFY") that begin so; empty: all.
    """

    exchange: str = ""
    symbol_prefix: str = ""


def sort_key(instrument: Instrument) -> SortKey:
    """The sort key of a list: exchange, symbol, id."""
    return instrument.exchange, instrument.tradingsymbol, instrument.instrument_id


class InstrumentStore(Protocol):
    """The registry: instruments, and the tokens they had.

    An instrument that has lost its token to another one (tokens are reused after expiry) is kept, and not found any
    more.
    """

    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        """Stores a dump, all or nothing: instruments, and their tokens from `day` on.

        A token that belongs to another instrument than before changes hands on that day. Instruments that the dump doesn't
        have stay. Storing the same dump again changes nothing.
        """

    async def by_id(self, instrument_id: str) -> Instrument | None:
        """The instrument of this id, if it has a token."""

    async def by_token(self, instrument_token: int) -> Instrument | None:
        """The instrument that has this token."""

    async def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        """The instrument of this symbol that has a token; of several the one that expires last."""

    async def page(self, wanted: InstrumentFilter, after: SortKey | None, limit: int) -> Sequence[Instrument]:
        """Those with a token, in order of `sort_key`, the first `limit` after `after`."""

    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        """Those with a token that match a normalised query, in order of `search_key`, the first `limit` after `after`.

        An empty exchange means all.
        """

    async def symbols_like(self, exchange: str, tradingsymbol: str) -> Sequence[str]:
        """Symbols ("NSE:INFY") of about this length, to suggest one for a misspelt symbol."""

    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        """The instruments that a token belonged to, in order."""


async def directory_of(store: InstrumentStore) -> InstrumentDirectory:
    """Every instrument that has a token now, for services in the registry's own process."""
    instruments: list[Instrument] = []
    after: SortKey | None = None
    while page := await store.page(InstrumentFilter(), after, MOST_SUGGESTED):
        instruments += page
        after = sort_key(page[-1])
    return InstrumentDirectory(instruments)
