"""The instruments' store in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import override

from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.search import SearchKey
from alphapanda.instruments.store.port import (
    LENGTH_SLACK,
    MAX_SUGGESTED,
    InstrumentFilter,
    InstrumentStore,
    SortKey,
    TokenAssignment,
)
from alphapanda.instruments.store.tables import INSTRUMENTS, TOKEN_ASSIGNMENTS

_INCOMING: Final = (
    "unnest(CAST(:ids AS text[]), CAST(:tokens AS bigint[])) AS incoming (instrument_id, instrument_token)"
)
_LOCK: Final = text("LOCK TABLE instruments.token_assignments IN SHARE ROW EXCLUSIVE MODE")
_insert: Final = insert(INSTRUMENTS)
# Exchange, symbol and expiry never change: with other values it would be another instrument.
_CHANGING: Final = (
    "name", "segment", "instrument_type", "tick_size", "lot_size", "freeze_quantity", "session_segment",
)  # fmt: skip
_UPSERT: Final = _insert.on_conflict_do_update(
    index_elements=[INSTRUMENTS.c.instrument_id],
    set_={name: _insert.excluded[name] for name in _CHANGING},
    where=or_(*(INSTRUMENTS.c[name].is_distinct_from(_insert.excluded[name]) for name in _CHANGING)),
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
    """  # two joins: one with OR would be a nested loop, minutes for a dump of 100,000 rows
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

_PLACE: Final = (INSTRUMENTS.c.exchange, INSTRUMENTS.c.tradingsymbol, INSTRUMENTS.c.instrument_id)
_CURRENT: Final = select(INSTRUMENTS, TOKEN_ASSIGNMENTS.c.instrument_token).join_from(
    INSTRUMENTS,
    TOKEN_ASSIGNMENTS,
    and_(
        TOKEN_ASSIGNMENTS.c.instrument_id == INSTRUMENTS.c.instrument_id,
        TOKEN_ASSIGNMENTS.c.until_day.is_(None),
    ),
)


class PostgresInstrumentStore(InstrumentStore):
    """The instruments' store on the schema `instruments`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @override
    async def upsert(self, instruments: Sequence[Instrument], day: date) -> None:
        if not instruments:
            return
        incoming = {
            "ids": [i.instrument_id for i in instruments],
            "tokens": [i.instrument_token for i in instruments],
            "day": day,
        }
        rows = [{column.name: getattr(i, column.name) for column in INSTRUMENTS.c} for i in instruments]
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK)
            await connection.execute(_UPSERT, rows)
            await connection.execute(_CLOSE, incoming)
            await connection.execute(_OPEN, incoming)

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
        query = _CURRENT.order_by(*_PLACE).limit(limit)
        if wanted.exchange:
            query = query.where(INSTRUMENTS.c.exchange == wanted.exchange)
        if wanted.symbol_prefix:
            query = query.where(_has_prefix(wanted.symbol_prefix))
        if after is not None:
            query = query.where(_comes_after(_PLACE, after))
        return await self._all(query)

    @override
    async def search(
        self, query: str, exchange: str, after: SearchKey | None, limit: int
    ) -> Sequence[Instrument]:
        listed = _CURRENT if not exchange else _CURRENT.where(INSTRUMENTS.c.exchange == exchange)
        ranked = listed.add_columns(_rank(query).label("rank")).subquery()
        place = (ranked.c.rank, ranked.c.exchange, ranked.c.tradingsymbol, ranked.c.instrument_id)
        found = select(ranked).where(ranked.c.rank.is_not(None)).order_by(*place).limit(limit)
        return await self._all(found if after is None else found.where(_comes_after(place, after)))

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


def _rank(query: str) -> ColumnElement[int | None]:
    """`search.search_rank` in SQL, without LIKE, so that no character of a query is a wildcard."""
    symbol = func.upper(INSTRUMENTS.c.tradingsymbol)
    full = func.upper(INSTRUMENTS.c.exchange + ":" + INSTRUMENTS.c.tradingsymbol)
    name = func.upper(INSTRUMENTS.c.name)
    return case(
        (or_(symbol == query, full == query), 0),
        (or_(func.starts_with(symbol, query), func.starts_with(full, query)), 1),
        (func.starts_with(name, query), 2),
        (func.strpos(name, " " + query) > 0, 3),
        (func.strpos(symbol, query) > 0, 4),
        (func.strpos(name, query) > 0, 5),
        else_=None,
    )


def _instrument(row: Row[Any]) -> Instrument:
    columns = {column.name: getattr(row, column.name) for column in INSTRUMENTS.c}
    return Instrument(instrument_token=row.instrument_token, **columns)
