"""Ranks instruments by how well they match a search."""

from __future__ import annotations

from alphapanda.domain.instrument import Instrument

SearchKey = tuple[int, str, str, str]


def normalised(query: str) -> str:
    """A query in upper case, without surrounding spaces."""
    return query.strip().upper()


def search_rank(query: str, instrument: Instrument) -> int | None:
    """The rank of an instrument for a normalised query, 0 is the best; None if it doesn't match.

    The ranks in order: the query is the symbol (with or without exchange), the symbol begins with it, the name begins with it, a
    word of the name begins with it, the symbol contains it, the name contains it.
    """
    symbol, full, name = instrument.tradingsymbol.upper(), instrument.symbol.upper(), instrument.name.upper()
    matches = (
        query in {symbol, full},
        symbol.startswith(query) or full.startswith(query),
        name.startswith(query),
        f" {query}" in name,
        query in symbol,
        query in name,
    )
    return next((rank for rank, matched in enumerate(matches) if matched), None)


def search_key(rank: int, instrument: Instrument) -> SearchKey:
    """The sort key of search results."""
    return rank, instrument.exchange, instrument.tradingsymbol, instrument.instrument_id
