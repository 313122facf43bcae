"""The books of a broker that only simulates: trading compares its own with the exchange's journal, and says how they differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Protocol

import grpc
from typing_extensions import override

from alphapanda.contract.wire import exact
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.portfolio.brokers.reader import BooksUnreadable, BrokerReader
from alphapanda.portfolio.core.reconciled_books import BrokerBooks
from alphapanda.portfolio.store.port import AccountName, PortfolioStore
from panda.trading.v1 import trading_pb2 as trading


class Comparer(Protocol):
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def GetBrokerComparison(  # noqa: N802 - the contract's name
        self, request: trading.GetBrokerComparisonRequest, /
    ) -> Awaitable[trading.GetBrokerComparisonResponse]:
        """Compares the broker's own books with trading's."""


class SimulatedBooks(BrokerReader):
    """Asks trading, and compares the cash of the journal with portfolio's.

    Args:
        comparer: compares the broker's own books with trading's.
        store: portfolio's books.
        today: returns the day in India.
    """

    is_live = False

    def __init__(self, comparer: Comparer, store: PortfolioStore, today: Callable[[], date]) -> None:
        self._comparer = comparer
        self._store = store
        self._today = today

    @override
    async def read(self, name: AccountName) -> BrokerBooks:
        try:
            compared = await self._comparer.GetBrokerComparison(
                trading.GetBrokerComparisonRequest(broker=name.broker)
            )
        except grpc.aio.AioRpcError as error:
            raise BooksUnreadable(
                f"trading doesn't tell its books now: {describe_rpc_error(error)}"
            ) from error
        sentences = list(compared.differences)
        books = await self._store.books(name)
        told = {one.account: exact(one.traded.amount) for one in compared.cash}
        if told and books is not None:
            # The broker's trades don't have what only portfolio books: a day's rounding, DP charges and the like.
            traded = books.cash - books.starting_cash + books.day_charges
            theirs = told.get(name.account, Decimal(0))
            if traded != theirs:
                sentences.append(
                    f"cash of {name.account}: the broker's trades made {theirs}, portfolio's {traded}"
                )
        return BrokerBooks(self._today(), sentences=sentences, is_own=False)
