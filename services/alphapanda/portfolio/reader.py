"""Reads an account: its books, valued at the last prices, with the profit of the day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from alphapanda.portfolio.cache import BooksCache
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.store.port import AccountName, PortfolioStore
from panda.portfolio.v1 import portfolio_pb2 as portfolio


class PortfolioReader:
    """Reads the portfolios of accounts.

    Args:
        store: revisions of accounts.
        cache: books of accounts.
        manager: last prices.
        messages: converts books to messages.
        trading_day: returns the market's day; None if market time is unknown.
    """

    def __init__(
        self,
        store: PortfolioStore,
        cache: BooksCache,
        manager: PortfolioManager,
        messages: PortfolioMessages,
        trading_day: Callable[[], date | None],
    ) -> None:
        self._store = store
        self._cache = cache
        self._manager = manager
        self._messages = messages
        self._trading_day = trading_day

    async def portfolio(self, name: AccountName) -> portfolio.Portfolio | None:
        """The account now; None if it isn't open."""
        day = self._trading_day()
        state = await self._store.state(name, day)
        books = await self._cache.books(name, state) if state else None
        if state is None or books is None:
            return None
        held = {position.key.instrument_id for position in books.positions}
        answer = self._messages.account(books, self._manager.prices(held))
        self._messages.add_day(answer, day, state.day_base)
        return answer
