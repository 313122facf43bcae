"""Caches books in Redis. The key contains the revision, so a cached copy is never out of date.

Key: `portfolio:books:2:{broker}:{account}:{opened_at, microseconds}:{revision}`; 2 is the form of the copy. The opening time
is part of it, so that a new database doesn't find copies of an old one.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from alphapanda.domain.charges import charges_from_text, charges_text
from alphapanda.domain.frame import EPOCH
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import StrategyTotals
from alphapanda.portfolio.store.port import AccountBooks, AccountName, AccountState, PortfolioStore

KEY: Final = "portfolio:books:2:"
KEPT: Final = timedelta(minutes=10)
"""Expiry of a cached copy."""


class BooksCache:
    """Reads books from Redis, or from the store if Redis has no copy or can't be reached.

    Args:
        store: the books.
        redis: opened with `decode_responses=True` or without.
    """

    def __init__(self, store: PortfolioStore, redis: Redis) -> None:
        self._store = store
        self._redis = redis

    async def books(self, name: AccountName, state: AccountState) -> AccountBooks | None:
        """The account's books at the revision of `state` or a later one; None if the account isn't open."""
        try:
            cached = await self._redis.get(_key(name, state, state.revision))
        except (RedisError, OSError):
            return await self._store.books(name)
        if cached is not None:
            return _from_text(name, state.revision, cached)
        books = await self._store.books(name)
        if books is not None:
            await self._cache(books, state)
        return books

    async def _cache(self, books: AccountBooks, state: AccountState) -> None:
        try:
            await self._redis.set(_key(books.name, state, books.revision), _to_text(books), ex=KEPT)
        except (RedisError, OSError):
            return


def _key(name: AccountName, state: AccountState, revision: int) -> str:
    opened_at = (state.opened_at - EPOCH) // timedelta(microseconds=1)
    return f"{KEY}{name.broker}:{name.account}:{opened_at}:{revision}"


def _to_text(books: AccountBooks) -> str:
    lines = [
        (
            held.key.strategy_id,
            held.key.instrument_id,
            int(held.key.product),
            held.quantity,
            str(held.cost),
            str(held.realised),
            str(held.charges),
            _moment(held.changed_at),
        )
        for held in books.positions
    ]
    strategies = [
        (one.strategy_id, str(one.realised), str(one.charges), charges_text(one.lines))
        for one in books.strategies
    ]
    cash = (
        str(books.starting_cash),
        str(books.cash),
        str(books.day_charges),
        _moment(books.changed_at),
    )
    return json.dumps((cash, strategies, lines))


def _from_text(name: AccountName, revision: int, text: bytes | str) -> AccountBooks:
    (starting_cash, cash, day_charges, changed_at), totals, lines = json.loads(text)
    positions = tuple(
        Position(
            PositionKey(*name, strategy_id, instrument_id, Product(product)),
            quantity,
            Decimal(cost),
            Decimal(realised),
            Decimal(charges),
            _instant(changed),
        )
        for strategy_id, instrument_id, product, quantity, cost, realised, charges, changed in lines
    )
    strategies = tuple(
        StrategyTotals(strategy_id, Decimal(realised), Decimal(charges), charges_from_text(by_line))
        for strategy_id, realised, charges, by_line in totals
    )
    return AccountBooks(
        name,
        Decimal(starting_cash),
        Decimal(cash),
        revision,
        strategies,
        positions,
        Decimal(day_charges),
        _instant(changed_at),
    )


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.isoformat()


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
