"""Zerodha's books, over Kite's HTTP API. Only questions are asked: nothing here places, changes or cancels an order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from typing_extensions import override

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.kite.outcomes import KiteError, KiteReason
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import NoSession
from alphapanda.portfolio.brokers.reader import BooksUnreadable, BrokerReader
from alphapanda.portfolio.brokers.zerodha_rows import RowReader
from alphapanda.portfolio.core.reconciled_books import BrokerBooks
from alphapanda.portfolio.store.port import AccountName
from alphapanda.resilience.failures import in_one_line


class ZerodhaBooks(BrokerReader):
    """Reads orders, trades, positions, holdings and margins, all of them or nothing; and the orders that wait for a price.

    Args:
        rest: Kite's HTTP API by account.
        directory: today's instruments.
        today: returns the day in India.
    """

    is_live = True

    def __init__(
        self,
        rest: Mapping[str, KiteRest],
        directory: Callable[[], InstrumentDirectory],
        today: Callable[[], date],
    ) -> None:
        self._rest = rest
        self._directory = directory
        self._today = today

    @override
    async def read(self, name: AccountName) -> BrokerBooks:
        rest = self._rest.get(name.account)
        if rest is None:
            raise BooksUnreadable(f"zerodha.accounts has no account {name.account!r}")
        day = self._today()
        try:
            orders, trades, positions, holdings, margins = await asyncio.gather(
                rest.orders(), rest.trades(), rest.positions(), rest.holdings(), rest.margins()
            )
        except NoSession as nobody:
            raise BooksUnreadable(str(nobody)) from nobody
        except KiteError as error:
            login = "; run `alphapanda kite login`" if error.reason is KiteReason.SESSION_DEAD else ""
            raise BooksUnreadable(f"{error}{login}") from error
        gtts, unread = await self._gtts(rest)
        if self._today() != day:
            raise BooksUnreadable("the day has changed while the books were read")
        reader = RowReader(name.broker, name.account, self._directory(), day)
        try:
            books = reader.books(orders, trades, positions, holdings, margins, gtts)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise BooksUnreadable(f"a row of Kite's can't be read: {in_one_line(error)}") from error
        return replace(books, waiting=[*books.waiting, unread]) if unread else books

    async def _gtts(self, rest: KiteRest) -> tuple[Sequence[Mapping[str, Any]], str]:
        """The orders that wait for a price; and a line where they can't be read, which holds back no comparison."""
        try:
            return await rest.gtts(), ""
        except (KiteError, NoSession) as unread:
            return (
                (),
                f"orders that wait at the broker for a price (GTT) can't be read: {in_one_line(unread)}",
            )
