"""Reads of which instruments positions are held: those are streamed, whether a strategy runs on them or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import grpc
import structlog

from alphapanda.mesh.status import describe_rpc_error
from panda.portfolio.v1 import portfolio_pb2 as api

_PORTFOLIOS: Final = 100
_PAGE: Final = 1_000

_log = structlog.get_logger(__name__)


class Books(Protocol):
    """The part of PortfolioService that is called here; PortfolioServiceStub implements it."""

    def ListPortfolios(  # noqa: N802 - the contract's name
        self, request: api.ListPortfoliosRequest, /
    ) -> Awaitable[api.ListPortfoliosResponse]:
        """The accounts."""

    def ListPositions(  # noqa: N802 - the contract's name
        self, request: api.ListPositionsRequest, /
    ) -> Awaitable[api.ListPositionsResponse]:
        """An account's positions."""


class HeldInstruments:
    """Reads the instruments of all open positions. Where portfolio is away, those of before go on.

    Args:
        books: portfolio's books.
        take: takes their ids.
    """

    def __init__(self, books: Books, take: Callable[[Collection[str]], None]) -> None:
        self._books = books
        self._take = take
        self._failures = 0

    async def read(self) -> None:
        """Reads them once."""
        try:
            self._take(await self._held())
        except grpc.aio.AioRpcError as error:
            self._failures += 1
            if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                _log.warning(
                    "feed.positions_unread", error=describe_rpc_error(error), failures=self._failures
                )
        else:
            self._failures = 0

    async def _held(self) -> Collection[str]:
        held: dict[str, None] = {}
        request = api.ListPortfoliosRequest(page_size=_PORTFOLIOS)
        while True:
            answer = await self._books.ListPortfolios(request)
            for one in answer.portfolios:
                held |= await self._of_account(one.broker, one.account)
            if not answer.next_page_token:
                return held
            request.page_token = answer.next_page_token

    async def _of_account(self, broker: str, account: str) -> dict[str, None]:
        held: dict[str, None] = {}
        request = api.ListPositionsRequest(broker=broker, account=account, page_size=_PAGE)
        while True:
            answer = await self._books.ListPositions(request)
            held |= dict.fromkeys(one.instrument_id for one in answer.positions)
            if not answer.next_page_token:
                return held
            request.page_token = answer.next_page_token
