"""PortfolioService: questions on the books, answered from the store and the marks in memory."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.mesh.errors import NotFound
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.portfolio.core.profit import ValuedPosition
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.router import PortfolioRouter
from alphapanda.portfolio.store.port import AccountName, PortfolioStore, PositionCursor
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceServicer

POSITIONS_PAGE = (100, 1000)
FILLS_PAGE = (50, 500)
LEDGER_PAGE = (100, 1000)

Context = grpc.aio.ServicerContext[Any, Any]


class PortfolioApi(PortfolioServiceServicer):
    """The servicer.

    Args:
        store: the books.
        router: has the marks.
        messages: makes the answers.
        account: whose books an empty account means.
    """

    def __init__(
        self, store: PortfolioStore, router: PortfolioRouter, messages: PortfolioMessages, account: str
    ) -> None:
        self._store = store
        self._router = router
        self._messages = messages
        self._account = account

    @override
    async def GetPortfolio(
        self, request: portfolio.GetPortfolioRequest, context: Context
    ) -> portfolio.GetPortfolioResponse:
        name = self._name(request)
        books = await self._store.books(name)
        if books is None:
            raise _no_account(name)
        held = {position.key.instrument_id for position in books.positions if position.quantity}
        answer = self._messages.account(books, self._router.prices(name.broker, held))
        return portfolio.GetPortfolioResponse(portfolio=answer)

    @override
    async def ListPositions(
        self, request: portfolio.ListPositionsRequest, context: Context
    ) -> portfolio.ListPositionsResponse:
        name = await self._open_account(request)
        filters = f"positions {name} {request.strategy_id} {request.include_flat}"
        after = _after(request.page_token, filters, str, str, int)
        size = _page_size(request.page_size, POSITIONS_PAGE)
        found = await self._store.positions(
            name,
            strategy_id=request.strategy_id,
            include_flat=request.include_flat,
            after=PositionCursor(*after) if after else None,
            limit=size + 1,
        )
        page = found[:size]
        prices = self._router.prices(name.broker, {position.key.instrument_id for position in page})
        lines = [
            ValuedPosition(position, last.price if (last := prices.get(position.key.instrument_id)) else None)
            for position in page
        ]
        token = ""
        if len(found) > size:
            key = page[-1].key
            token = encode_page_token((key.strategy_id, key.instrument_id, int(key.product)), filters)
        return portfolio.ListPositionsResponse(
            positions=[self._messages.position(line) for line in lines], next_page_token=token
        )

    @override
    async def ListFills(
        self, request: portfolio.ListFillsRequest, context: Context
    ) -> portfolio.ListFillsResponse:
        name = await self._open_account(request)
        filters = f"fills {name} {request.strategy_id} {request.order_id}"
        before = _after(request.page_token, filters, int)
        size = _page_size(request.page_size, FILLS_PAGE)
        found = await self._store.fills(
            name,
            strategy_id=request.strategy_id,
            order_id=_order_id(request.order_id),
            before=before[0] if before else None,
            limit=size + 1,
        )
        page = found[:size]
        return portfolio.ListFillsResponse(
            fills=[self._messages.fill(fill) for fill in page],
            next_page_token=encode_page_token((page[-1].revision,), filters) if len(found) > size else "",
        )

    @override
    async def ListLedgerEntries(
        self, request: portfolio.ListLedgerEntriesRequest, context: Context
    ) -> portfolio.ListLedgerEntriesResponse:
        name = await self._open_account(request)
        filters = f"ledger {name} {request.strategy_id}"
        after = _after(request.page_token, filters, int)
        size = _page_size(request.page_size, LEDGER_PAGE)
        found = await self._store.ledger(
            name, strategy_id=request.strategy_id, after=after[0] if after else 0, limit=size + 1
        )
        page = found[:size]
        return portfolio.ListLedgerEntriesResponse(
            entries=[self._messages.entry(line) for line in page],
            next_page_token=encode_page_token((page[-1].sequence,), filters) if len(found) > size else "",
        )

    def _name(
        self,
        request: portfolio.GetPortfolioRequest
        | portfolio.ListPositionsRequest
        | portfolio.ListFillsRequest
        | portfolio.ListLedgerEntriesRequest,
    ) -> AccountName:
        return AccountName(request.broker or DEFAULT_BROKER, request.account or self._account)

    async def _open_account(
        self,
        request: portfolio.ListPositionsRequest
        | portfolio.ListFillsRequest
        | portfolio.ListLedgerEntriesRequest,
    ) -> AccountName:
        name = self._name(request)
        if name not in await self._store.accounts(name.broker):
            raise _no_account(name)
        return name


def _no_account(name: AccountName) -> NotFound:
    return NotFound(
        "NO_ACCOUNT",
        f"broker {name.broker!r} has no open account {name.account!r}; an account opens with its first fill",
        broker=name.broker,
        account=name.account,
    )


def _page_size(wanted: int, page: tuple[int, int]) -> int:
    default, most = page
    return min(wanted, most) or default


def _after(token: str, filters: str, *kinds: type) -> list[Any] | None:
    """The sort key of a page token, its parts of these types."""
    after = decode_page_token(token, filters)
    if after is not None and [type(part) for part in after] != list(kinds):
        raise InvalidInput(
            "page_token", token, "next_page_token of an answer to a request with the same filters"
        )
    return after


def _order_id(order_id: str) -> str:
    if not order_id:
        return ""
    try:
        return str(UUID(order_id))
    except ValueError:
        raise InvalidInput("order_id", order_id, "an order's id (a UUID), or nothing for all") from None
