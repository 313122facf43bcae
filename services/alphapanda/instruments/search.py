"""How well an instrument answers to what somebody typed."""

from __future__ import annotations

from alphapanda.domain.instrument import Instrument

SearchKey = tuple[int, str, str, str]


def normalised(query: str) -> str:
    """What is compared: upper case, without spaces around it."""
    return query.strip().upper()


def search_rank(query: str, instrument: Instrument) -> int | None:
    """How well an instrument matches a normalised query, 0 is best; None where it doesn't.

    The symbol itself (with its exchange or without), a symbol that begins so, a name that begins so, a name with a
    word that begins so, a symbol that holds it, a name that holds it.
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
    """The order of what is found."""
    return rank, instrument.exchange, instrument.tradingsymbol, instrument.instrument_id
