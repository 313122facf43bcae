"""The instruments' store in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import override

from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.index import SearchIndex
from alphapanda.instruments.search import SearchKey
from alphapanda.instruments.store.port import (
    LENGTH_SLACK,
    MAX_SUGGESTED,
    InstrumentFilter,
    InstrumentStore,
    SortKey,
    TokenAssignment,
    directory_of,
)
from alphapanda.instruments.store.tables import INSTRUMENTS, TOKEN_ASSIGNMENTS

LOOK_EVERY_SECONDS: Final = 1.0
"""How often a search looks whether another process has stored instruments."""
_INCOMING: Final = (
    "unnest(CAST(:ids AS text[]), CAST(:tokens AS bigint[])) AS incoming (instrument_id, instrument_token)"
)
_LOCK: Final = text("LOCK TABLE instruments.token_assignments IN SHARE ROW EXCLUSIVE MODE")
# Exchange, symbol and expiry never change: with other values it would be another instrument.
_CHANGING: Final = (
    "name", "segment", "instrument_type", "tick_size", "lot_size", "freeze_quantity", "session_segment",
)  # fmt: skip
_ARRAYS: Final = {
    "tick_size": "numeric[]",
    "lot_size": "bigint[]",
    "freeze_quantity": "bigint[]",
    "expiry": "date[]",
}
_NAMES: Final = [column.name for column in INSTRUMENTS.c if column.name != "revision"]
_REVISION: Final = select(func.max(INSTRUMENTS.c.revision))
_NEXT_REVISION: Final = select(func.coalesce(func.max(INSTRUMENTS.c.revision), 0) + 1)
_UPSERT: Final = text(
    f"""
    INSERT INTO instruments.instruments AS known ({", ".join(_NAMES)}, revision)
    SELECT *, CAST(:revision AS bigint) FROM unnest({", ".join(f"CAST(:{name} AS {_ARRAYS.get(name, 'text[]')})" for name in _NAMES)})
    ON CONFLICT (instrument_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in _CHANGING)}, revision = excluded.revision
    WHERE ({", ".join(f"known.{name}" for name in _CHANGING)})
        IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _CHANGING)})
    """  # arrays: 120,000 rows of parameters take half a minute
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
    RETURNING ended.instrument_id
    """  # two joins: one with OR would be a nested loop, minutes for a dump of 100,000 rows
)
_OPEN: Final = text(
    f"""
    INSERT INTO instruments.token_assignments (instrument_id, instrument_token, from_day)
    SELECT incoming.instrument_id, incoming.instrument_token, :day FROM {_INCOMING}
    WHERE NOT EXISTS (
        SELECT FROM instruments.token_assignments AS held
        WHERE held.instrument_id = incoming.instrument_id AND held.until_day IS NULL)
    RETURNING instrument_id
    """
)
_MARK: Final = text(
    """
    UPDATE instruments.instruments SET revision = :revision
    WHERE instrument_id = ANY(CAST(:changed AS text[])) AND revision <> :revision
    """
)

_PLACE: Final = (INSTRUMENTS.c.exchange, INSTRUMENTS.c.tradingsymbol, INSTRUMENTS.c.instrument_id)
_VALUES: Final = [INSTRUMENTS.c[name] for name in _NAMES]
_ITS_TOKEN: Final = and_(
    TOKEN_ASSIGNMENTS.c.instrument_id == INSTRUMENTS.c.instrument_id,
    TOKEN_ASSIGNMENTS.c.until_day.is_(None),
)
_CURRENT: Final = select(*_VALUES, TOKEN_ASSIGNMENTS.c.instrument_token).join_from(
    INSTRUMENTS, TOKEN_ASSIGNMENTS, _ITS_TOKEN
)
_CHANGED: Final = select(
    *_VALUES, func.coalesce(TOKEN_ASSIGNMENTS.c.instrument_token, 0).label("instrument_token")
).join_from(INSTRUMENTS, TOKEN_ASSIGNMENTS, _ITS_TOKEN, isouter=True)


class PostgresInstrumentStore(InstrumentStore):
    """The instruments' store on the schema `instruments`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._index = SearchIndex(())
        self._indexed = -1
        self._looked_at = 0.0
        self._indexing = asyncio.Lock()

    @override
    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        if not instruments:
            return
        incoming = {
            "ids": [i.instrument_id for i in instruments],
            "tokens": [i.instrument_token for i in instruments],
            "day": day,
        }
        columns = {name: [getattr(i, name) for i in instruments] for name in _NAMES}
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK)
            revision = (await connection.execute(_NEXT_REVISION)).scalar_one()
            await connection.execute(_UPSERT, {**columns, "revision": revision})
            lost = (await connection.execute(_CLOSE, incoming)).scalars()
            given = (await connection.execute(_OPEN, incoming)).scalars()
            await connection.execute(_MARK, {"revision": revision, "changed": [*lost, *given]})
        self._looked_at = 0.0  # the next search looks at once

    @override
    async def by_id(self, instrument_id: str) -> Instrument | None:
        return await self._one(_CURRENT.where(INSTRUMENTS.c.instrument_id == instrument_id))

    @override
    async def by_token(self, instrument_token: int) -> Instrument | None:
        return await self._one(_CURRENT.where(TOKEN_ASSIGNMENTS.c.instrument_token == instrument_token))

    @override
    async def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        expiry, instrument_id = INSTRUMENTS.c.expiry, INSTRUMENTS.c.instrument_id
        return await self._one(
            _CURRENT.where(INSTRUMENTS.c.exchange == exchange, INSTRUMENTS.c.tradingsymbol == tradingsymbol)
            .order_by(expiry.desc().nulls_first(), instrument_id.desc())
            .limit(1)
        )

    @override
    async def page(self, wanted: InstrumentFilter, after: SortKey | None, limit: int) -> Sequence[Instrument]:
        changed = INSTRUMENTS.c.revision > wanted.changed_after
        query = (_CHANGED.where(changed) if wanted.changed_after else _CURRENT).order_by(*_PLACE).limit(limit)
        if wanted.exchange:
            query = query.where(INSTRUMENTS.c.exchange == wanted.exchange)
        if wanted.symbol_prefix:
            query = query.where(_has_prefix(wanted.symbol_prefix))
        if after is not None:
            query = query.where(_comes_after(_PLACE, after))
        return await self._all(query)

    @override
    async def revision(self) -> int:
        async with self._engine.connect() as connection:
            return (await connection.execute(_REVISION)).scalar() or 0

    @override
    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        return (await self._searched()).find(query, exchange, after, limit)

    @override
    async def prepare_search(self) -> None:
        await self._searched()

    async def _searched(self) -> SearchIndex:
        """The index of what is stored now; made anew where something changed since, also by another process."""
        async with self._indexing:
            now = asyncio.get_running_loop().time()
            if self._indexed >= 0 and now < self._looked_at + LOOK_EVERY_SECONDS:
                return self._index
            version = await self.revision()
            if version != self._indexed:
                listed = list(await directory_of(self))
                self._index = await asyncio.to_thread(SearchIndex, listed)
                self._indexed = version
            self._looked_at = now
        return self._index

    @override
    async def symbols_like(self, exchange: str, tradingsymbol: str) -> Sequence[str]:
        symbol = INSTRUMENTS.c.tradingsymbol
        length = len(tradingsymbol)
        query = (
            _CURRENT.with_only_columns(INSTRUMENTS.c.exchange + ":" + symbol)
            .where(INSTRUMENTS.c.exchange == exchange)
            .where(func.length(symbol).between(length - LENGTH_SLACK, length + LENGTH_SLACK))
            .order_by(symbol)
            .limit(MAX_SUGGESTED)
        )
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    @override
    async def token_history(self, instrument_token: int) -> Sequence[TokenAssignment]:
        held = TOKEN_ASSIGNMENTS.c
        query = (
            select(held.instrument_id, held.instrument_token, held.from_day, held.until_day)
            .where(held.instrument_token == instrument_token)
            .order_by(held.assignment)
        )
        async with self._engine.connect() as connection:
            return [TokenAssignment(*row) for row in await connection.execute(query)]

    async def _one(self, query: Select[Any]) -> Instrument | None:
        found = await self._all(query)
        return found[0] if found else None

    async def _all(self, query: Select[Any]) -> list[Instrument]:
        async with self._engine.connect() as connection:
            return [_instrument(row) for row in await connection.execute(query)]


def _comes_after(place: Sequence[ColumnElement[Any]], key: SortKey | SearchKey) -> ColumnElement[bool]:
    return tuple_(*place).op(">", is_comparison=True)(tuple_(*key))


def _has_prefix(prefix: str) -> ColumnElement[bool]:
    symbol, exchange = INSTRUMENTS.c.tradingsymbol, INSTRUMENTS.c.exchange
    return or_(func.starts_with(symbol, prefix), func.starts_with(exchange + ":" + symbol, prefix))


def _instrument(row: Row[Any]) -> Instrument:
    columns = {name: getattr(row, name) for name in _NAMES}
    return Instrument(instrument_token=row.instrument_token, **columns)
