"""Instruments and the tokens they had, in PostgreSQL or in memory.

An instrument that has lost its token to another one (tokens are reused after expiry) is kept, and not found any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.instruments.search import SearchKey, search_key, search_rank

SortKey = tuple[str, str, str]
_MOST_SUGGESTED: Final = 5_000


@dataclass(frozen=True, slots=True)
class TokenAssignment:
    """A token belongs to an instrument from a day up to, not including, another; `until_day` None: still."""

    instrument_id: str
    instrument_token: int
    from_day: date
    until_day: date | None


@dataclass(frozen=True, slots=True)
class InstrumentFilter:
    """Which instruments are asked for.

    Attributes:
        exchange: only of this one; empty: all.
        symbol_prefix: only symbols ("INFY" or "NSE:INFY") that begin so; empty: all.
    """

    exchange: str = ""
    symbol_prefix: str = ""


def sort_key(instrument: Instrument) -> SortKey:
    """The order of a list: exchange, symbol, id."""
    return instrument.exchange, instrument.tradingsymbol, instrument.instrument_id


class InstrumentStore(Protocol):
    """The registry's memory."""

    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        """Takes a dump, all or nothing: instruments as they are now, and their tokens from `day` on.

        A token that belongs to another instrument in the dump than before changes hands on that day. Instruments
        that the dump doesn't name stay. The same dump once more changes nothing.
        """

    async def by_id(self, instrument_id: str) -> Instrument | None:
        """The instrument of our id, if it has a token."""

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
        """Symbols ("NSE:INFY") of about this length, among which somebody may have meant one."""

    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        """Whom a token belonged to, in order."""


class MemoryInstrumentStore:
    """Keeps them in memory, for replay and simulation."""

    def __init__(self) -> None:
        self._instruments: dict[str, Instrument] = {}
        self._assignments: list[TokenAssignment] = []

    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        """See InstrumentStore."""
        tokens = {i.instrument_id: i.instrument_token for i in instruments}
        owners = {i.instrument_token: i.instrument_id for i in instruments}
        kept: list[TokenAssignment] = []
        for held in self._assignments:
            lost = held.until_day is None and (
                tokens.get(held.instrument_id, held.instrument_token) != held.instrument_token
                or owners.get(held.instrument_token, held.instrument_id) != held.instrument_id
            )
            kept.append(
                TokenAssignment(
                    held.instrument_id, held.instrument_token, held.from_day, max(held.from_day, day)
                )
                if lost
                else held
            )
        still = {held.instrument_id for held in kept if held.until_day is None}
        self._assignments = kept + [
            TokenAssignment(i.instrument_id, i.instrument_token, day, None)
            for i in instruments
            if i.instrument_id not in still
        ]
        self._instruments |= {i.instrument_id: i for i in instruments}

    async def by_id(self, instrument_id: str) -> Instrument | None:
        """See InstrumentStore."""
        return next((i for i in self._current() if i.instrument_id == instrument_id), None)

    async def by_token(self, instrument_token: int) -> Instrument | None:
        """See InstrumentStore."""
        return next((i for i in self._current() if i.instrument_token == instrument_token), None)

    async def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        """See InstrumentStore."""
        found = [i for i in self._current() if (i.exchange, i.tradingsymbol) == (exchange, tradingsymbol)]
        return max(found, key=lambda i: (i.expiry or date.max, i.instrument_id), default=None)

    async def page(self, wanted: InstrumentFilter, after: SortKey | None, limit: int) -> Sequence[Instrument]:
        """See InstrumentStore."""
        found = [
            i
            for i in self._current()
            if wanted.exchange in {"", i.exchange}
            and (
                i.tradingsymbol.startswith(wanted.symbol_prefix) or i.symbol.startswith(wanted.symbol_prefix)
            )
            and (after is None or sort_key(i) > after)
        ]
        return sorted(found, key=sort_key)[:limit]

    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        """See InstrumentStore."""
        found = [
            (search_key(rank, i), i)
            for i in self._current()
            if exchange in {"", i.exchange} and (rank := search_rank(query, i)) is not None
        ]
        return [i for key, i in sorted(found, key=lambda each: each[0]) if after is None or key > after][
            :limit
        ]

    async def symbols_like(self, exchange: str, tradingsymbol: str) -> Sequence[str]:
        """See InstrumentStore."""
        near = [
            i.symbol
            for i in sorted(self._current(), key=sort_key)
            if i.exchange == exchange and abs(len(i.tradingsymbol) - len(tradingsymbol)) <= _LENGTH_SLACK
        ]
        return near[:_MOST_SUGGESTED]

    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        """See InstrumentStore."""
        return [held for held in self._assignments if held.instrument_token == instrument_token]

    def _current(self) -> list[Instrument]:
        return [self._instruments[held.instrument_id] for held in self._assignments if held.until_day is None]


_LENGTH_SLACK: Final = 2

_INCOMING: Final = (
    "unnest(CAST(:ids AS text[]), CAST(:tokens AS bigint[])) AS incoming (instrument_id, instrument_token)"
)
_LOCK: Final = text("LOCK TABLE instruments.token_assignments IN SHARE ROW EXCLUSIVE MODE")
_UPSERT: Final = text(
    """
    INSERT INTO instruments.instruments AS kept
        (instrument_id, exchange, tradingsymbol, name, segment, instrument_type, tick_size, lot_size,
         freeze_quantity, session_segment, expiry)
    VALUES (:instrument_id, :exchange, :tradingsymbol, :name, :segment, :instrument_type, :tick_size, :lot_size,
            :freeze_quantity, :session_segment, :expiry)
    ON CONFLICT (instrument_id) DO UPDATE SET
        name = excluded.name, segment = excluded.segment, instrument_type = excluded.instrument_type,
        tick_size = excluded.tick_size, lot_size = excluded.lot_size, freeze_quantity = excluded.freeze_quantity,
        session_segment = excluded.session_segment
    WHERE (kept.name, kept.segment, kept.instrument_type, kept.tick_size, kept.lot_size, kept.freeze_quantity,
           kept.session_segment)
        IS DISTINCT FROM (excluded.name, excluded.segment, excluded.instrument_type, excluded.tick_size,
           excluded.lot_size, excluded.freeze_quantity, excluded.session_segment)
    """
)
_CLOSE: Final = text(
    f"""
    UPDATE instruments.token_assignments AS ended SET until_day = greatest(ended.from_day, :day)
    FROM (
        SELECT held.assignment FROM instruments.token_assignments AS held
        JOIN {_INCOMING} ON held.instrument_token = incoming.instrument_token
        WHERE held.until_day IS NULL AND held.instrument_id <> incoming.instrument_id
        UNION
        SELECT held.assignment FROM instruments.token_assignments AS held
        JOIN {_INCOMING} ON held.instrument_id = incoming.instrument_id
        WHERE held.until_day IS NULL AND held.instrument_token <> incoming.instrument_token
    ) AS lost
    WHERE ended.assignment = lost.assignment
    """  # one join on either column can only be a nested loop: minutes for a dump of 100,000
)
_OPEN: Final = text(
    f"""
    INSERT INTO instruments.token_assignments (instrument_id, instrument_token, from_day)
    SELECT incoming.instrument_id, incoming.instrument_token, :day FROM {_INCOMING}
    WHERE NOT EXISTS (
        SELECT FROM instruments.token_assignments AS held
        WHERE held.instrument_id = incoming.instrument_id AND held.until_day IS NULL)
    """
)
_CURRENT: Final = """
    SELECT i.*, held.instrument_token FROM instruments.instruments AS i
    JOIN instruments.token_assignments AS held ON held.instrument_id = i.instrument_id AND held.until_day IS NULL
"""
_BY_ID: Final = text(f"{_CURRENT} WHERE i.instrument_id = :instrument_id")
_BY_TOKEN: Final = text(f"{_CURRENT} WHERE held.instrument_token = :instrument_token")
_BY_SYMBOL: Final = text(
    f"{_CURRENT} WHERE i.exchange = :exchange AND i.tradingsymbol = :tradingsymbol"
    " ORDER BY i.expiry DESC NULLS FIRST, i.instrument_id DESC LIMIT 1"
)
_PAGE: Final = text(
    f"""{_CURRENT}
    WHERE (:exchange = '' OR i.exchange = :exchange)
      AND (starts_with(i.tradingsymbol, :prefix) OR starts_with(i.exchange || ':' || i.tradingsymbol, :prefix))
      AND (i.exchange, i.tradingsymbol, i.instrument_id) > (:exchange_after, :symbol_after, :id_after)
    ORDER BY i.exchange, i.tradingsymbol, i.instrument_id LIMIT :limit
    """
)
# The ranks of search.search_rank; nothing is a pattern here, so no character of a query means more than itself.
_SEARCH: Final = text(
    f"""
    SELECT * FROM (
        SELECT listed.*, CASE
            WHEN :wanted IN (upper(tradingsymbol), upper(exchange || ':' || tradingsymbol)) THEN 0
            WHEN starts_with(upper(tradingsymbol), :wanted)
                OR starts_with(upper(exchange || ':' || tradingsymbol), :wanted) THEN 1
            WHEN starts_with(upper(name), :wanted) THEN 2
            WHEN strpos(upper(name), ' ' || :wanted) > 0 THEN 3
            WHEN strpos(upper(tradingsymbol), :wanted) > 0 THEN 4
            WHEN strpos(upper(name), :wanted) > 0 THEN 5
        END AS rank
        FROM ({_CURRENT}) AS listed
        WHERE :exchange = '' OR exchange = :exchange
    ) AS ranked
    WHERE rank IS NOT NULL AND (rank, exchange, tradingsymbol, instrument_id)
        > (CAST(:rank_after AS integer), :exchange_after, :symbol_after, :id_after)
    ORDER BY rank, exchange, tradingsymbol, instrument_id LIMIT :limit
    """
)
_LIKE: Final = text(
    f"""
    SELECT exchange || ':' || tradingsymbol FROM ({_CURRENT}) AS listed
    WHERE exchange = :exchange AND abs(length(tradingsymbol) - :length) <= {_LENGTH_SLACK}
    ORDER BY tradingsymbol LIMIT {_MOST_SUGGESTED}
    """
)
_HISTORY: Final = text(
    "SELECT instrument_id, instrument_token, from_day, until_day FROM instruments.token_assignments"
    " WHERE instrument_token = :instrument_token ORDER BY assignment"
)
_COLUMNS: Final = (
    "instrument_id", "exchange", "tradingsymbol", "name", "segment", "instrument_type", "tick_size", "lot_size",
    "freeze_quantity", "session_segment", "expiry",
)  # fmt: skip


class PostgresInstrumentStore:
    """Keeps them in the schema `instruments`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        """See InstrumentStore."""
        if not instruments:
            return
        incoming = {
            "ids": [i.instrument_id for i in instruments],
            "tokens": [i.instrument_token for i in instruments],
            "day": day,
        }
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK)
            await connection.execute(
                _UPSERT, [{column: getattr(i, column) for column in _COLUMNS} for i in instruments]
            )
            await connection.execute(_CLOSE, incoming)
            await connection.execute(_OPEN, incoming)

    async def by_id(self, instrument_id: str) -> Instrument | None:
        """See InstrumentStore."""
        return await self._one(_BY_ID, instrument_id=instrument_id)

    async def by_token(self, instrument_token: int) -> Instrument | None:
        """See InstrumentStore."""
        return await self._one(_BY_TOKEN, instrument_token=instrument_token)

    async def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        """See InstrumentStore."""
        return await self._one(_BY_SYMBOL, exchange=exchange, tradingsymbol=tradingsymbol)

    async def page(self, wanted: InstrumentFilter, after: SortKey | None, limit: int) -> Sequence[Instrument]:
        """See InstrumentStore."""
        exchange_after, symbol_after, id_after = after or ("", "", "")
        return await self._all(
            _PAGE,
            exchange=wanted.exchange,
            prefix=wanted.symbol_prefix,
            exchange_after=exchange_after,
            symbol_after=symbol_after,
            id_after=id_after,
            limit=limit,
        )

    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        """See InstrumentStore."""
        rank_after, exchange_after, symbol_after, id_after = after or (-1, "", "", "")
        return await self._all(
            _SEARCH,
            wanted=query,
            exchange=exchange,
            rank_after=rank_after,
            exchange_after=exchange_after,
            symbol_after=symbol_after,
            id_after=id_after,
            limit=limit,
        )

    async def symbols_like(self, exchange: str, tradingsymbol: str) -> Sequence[str]:
        """See InstrumentStore."""
        async with self._engine.connect() as connection:
            found = await connection.execute(_LIKE, {"exchange": exchange, "length": len(tradingsymbol)})
            return [str(symbol) for (symbol,) in found]

    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        """See InstrumentStore."""
        async with self._engine.connect() as connection:
            found = await connection.execute(_HISTORY, {"instrument_token": instrument_token})
            return [TokenAssignment(*row) for row in found]

    async def _one(self, query: Any, **values: object) -> Instrument | None:
        found = await self._all(query, **values)
        return found[0] if found else None

    async def _all(self, query: Any, **values: object) -> list[Instrument]:
        async with self._engine.connect() as connection:
            return [_instrument(row) for row in await connection.execute(query, values)]


def _instrument(row: Row[Any]) -> Instrument:
    return Instrument(
        instrument_token=row.instrument_token, **{column: getattr(row, column) for column in _COLUMNS}
    )


async def directory_of(store: InstrumentStore) -> InstrumentDirectory:
    """Every instrument that has a token now, for rooms in the registry's own process."""
    instruments: list[Instrument] = []
    after: SortKey | None = None
    while page := await store.page(InstrumentFilter(), after, _MOST_SUGGESTED):
        instruments += page
        after = sort_key(page[-1])
    return InstrumentDirectory(instruments)
