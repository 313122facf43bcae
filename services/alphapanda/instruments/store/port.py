"""The port (interface) of the instruments' store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.instruments.search import SearchKey

SortKey = tuple[str, str, str]
MAX_SUGGESTED: Final = 5_000
LENGTH_SLACK: Final = 2
"""How many characters longer or shorter a suggested symbol may be than the misspelt one."""


@dataclass(frozen=True, slots=True)
class TokenAssignment:
    """The days on which a token belongs to an instrument: [from_day, until_day); until_day None: it still does."""

    instrument_id: str
    instrument_token: int
    from_day: date
    until_day: date | None


@dataclass(frozen=True, slots=True)
class InstrumentFilter:
    """Which instruments to list.

    Attributes:
        exchange: only instruments of this exchange; empty: all.
        symbol_prefix: only symbols ("INFY" or "NSE:INFY") with this prefix; empty: all.
        changed_after: only instruments that changed after this revision, those that have lost their tokens among them, with
            token 0; 0: all with a token.
    """

    exchange: str = ""
    symbol_prefix: str = ""
    changed_after: int = 0


def sort_key(instrument: Instrument) -> SortKey:
    """The sort key of a list: exchange, symbol, id."""
    return instrument.exchange, instrument.tradingsymbol, instrument.instrument_id


class InstrumentStore(Protocol):
    """Stores instruments, and the tokens that they had.

    An instrument that has lost its token to another one (tokens are reused after expiry) is kept, but no query finds it
    any more.
    """

    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        """Stores a dump, all or nothing: instruments, and their tokens from `day` on.

        A token that belongs to a different instrument than before is reassigned on that day. Instruments that the dump
        doesn't list are kept. Storing the same dump again changes nothing.
        """

    async def by_id(self, instrument_id: str) -> Instrument | None:
        """The instrument with this id; None if there is none with a token."""

    async def by_token(self, instrument_token: int) -> Instrument | None:
        """The instrument that has this token now; None if there is none."""

    async def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        """The instrument with this symbol and a token; of several the one that expires last; None if there is none."""

    async def page(self, wanted: InstrumentFilter, after: SortKey | None, limit: int) -> Sequence[Instrument]:
        """Lists instruments, sorted by `sort_key`: the first `limit` after `after`."""

    async def revision(self) -> int:
        """The registry's revision, raised by each `upsert` that changes something; 0 while it is empty."""

    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        """Lists instruments with a token that match a normalised query, by `search_key`: the first `limit` after `after`.

        An empty exchange means all.
        """

    async def prepare_search(self) -> None:
        """Makes what searches look at, so that the next one doesn't have to."""

    async def symbols_like(self, exchange: str, tradingsymbol: str) -> Sequence[str]:
        """Symbols ("NSE:INFY") of about the same length, to suggest one for a misspelt symbol."""

    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        """The instruments to which a token has belonged, in order."""


async def directory_of(store: InstrumentStore) -> InstrumentDirectory:
    """Loads every instrument with a token; used by services in the same process as the store."""
    instruments: list[Instrument] = []
    after: SortKey | None = None
    while page := await store.page(InstrumentFilter(), after, MAX_SUGGESTED):
        instruments += page
        after = sort_key(page[-1])
    return InstrumentDirectory(instruments)
