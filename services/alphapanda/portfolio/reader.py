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
    """Reads portfolios.

    Args:
        store: the revision of an account.
        cache: its books.
        manager: has the last prices.
        messages: makes the answers.
        trading_day: the market's day; None where market time is unknown.
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
        """The account now; None where it isn't open."""
        day = self._trading_day()
        state = await self._store.state(name, day)
        books = await self._cache.books(name, state) if state else None
        if state is None or books is None:
            return None
        held = {position.key.instrument_id for position in books.positions}
        answer = self._messages.account(books, self._manager.prices(held))
        self._messages.add_day(answer, day, state.day_base)
        return answer
