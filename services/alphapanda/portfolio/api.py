"""PortfolioService: answers queries from the store, at the last prices in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import grpc
from typing_extensions import override

from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.contract.charges_wire import charge_lines
from alphapanda.contract.wire import optional_moment
from alphapanda.domain.errors import InvalidInput, UnknownName, nearest
from alphapanda.domain.frame import instant, nanoseconds
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.mesh.errors import NotFound
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.portfolio.core.profit import ValuedPosition
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.reader import PortfolioReader
from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.reconciliation_api import ReconciliationApi
from alphapanda.portfolio.reconciliation_messages import funds_message
from alphapanda.portfolio.slippage import SlippageReports
from alphapanda.portfolio.snapshots import snapshot_message
from alphapanda.portfolio.store.contract_notes import ContractNotes
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import AccountName, PortfolioStore, PositionCursor, SnapshotCursor
from alphapanda.portfolio.watching import PortfolioWatches
from panda.portfolio.v1 import portfolio_pb2 as portfolio

POSITIONS_PAGE = 100
FILLS_PAGE = 50
LEDGER_PAGE = 100
PORTFOLIOS_PAGE = 20
POINTS_PAGE = 500
"""Items on a page if the request has no page_size."""

Context = grpc.aio.ServicerContext[Any, Any]
OfAccount = (
    portfolio.GetPortfolioRequest
    | portfolio.WatchPortfolioRequest
    | portfolio.GetEquityCurveRequest
    | portfolio.ListPositionsRequest
    | portfolio.ListFillsRequest
    | portfolio.ListLedgerEntriesRequest
)


class PortfolioApi(ReconciliationApi):
    """The gRPC servicer of PortfolioService.

    Args:
        store: the books.
        manager: last prices.
        reader: reads accounts.
        watches: watches on accounts.
        messages: converts books to messages.
        brokers: the active brokers.
        strategies: the strategies that there are.
        account: the default account, used if a request names none.
        reconciler: compares accounts with their broker.
        discrepancies: what differs.
        wall_clock: returns the aware wall time.
        slippage: compares the fills of two brokers.
        notes: books corrections by contract notes.
    """

    def __init__(
        self,
        store: PortfolioStore,
        manager: PortfolioManager,
        reader: PortfolioReader,
        watches: PortfolioWatches,
        messages: PortfolioMessages,
        brokers: Sequence[str],
        strategies: KnownStrategies,
        account: str,
        reconciler: Reconciler,
        discrepancies: DiscrepancyStore,
        wall_clock: Callable[[], datetime],
        slippage: SlippageReports,
        notes: ContractNotes,
    ) -> None:
        super().__init__(store, reconciler, discrepancies, wall_clock, notes, account)
        self._store = store
        self._manager = manager
        self._reader = reader
        self._watches = watches
        self._messages = messages
        self._brokers = tuple(brokers)
        self._strategies = strategies
        self._account = account
        self._slippage = slippage

    @override
    async def GetPortfolio(
        self, request: portfolio.GetPortfolioRequest, context: Context
    ) -> portfolio.GetPortfolioResponse:
        return portfolio.GetPortfolioResponse(portfolio=await self._portfolio(self._name(request)))

    @override
    async def ListPortfolios(
        self, request: portfolio.ListPortfoliosRequest, context: Context
    ) -> portfolio.ListPortfoliosResponse:
        filters = f"portfolios {request.broker}"
        after = decode_page_token(request.page_token, filters, str, str)
        size = request.page_size or PORTFOLIOS_PAGE
        brokers = [request.broker] if request.broker else self._brokers
        names = sorted([name for broker in brokers for name in await self._store.accounts(broker)])
        if not names and request.broker and request.broker not in self._brokers:
            raise UnknownName("broker", request.broker, self._brokers)
        wanted = [name for name in names if after is None or name > tuple(after)]
        page = wanted[:size]
        answer = portfolio.ListPortfoliosResponse(
            next_page_token=encode_page_token(page[-1], filters) if len(wanted) > size else ""
        )
        for name in page:
            one = await self._portfolio(name)
            one.ClearField("positions")
            answer.portfolios.append(one)
        return answer

    @override
    async def WatchPortfolio(
        self, request: portfolio.WatchPortfolioRequest, context: Context
    ) -> AsyncIterator[portfolio.WatchPortfolioResponse]:
        name = self._name(request)
        now = await self._portfolio(name)
        interval = request.mark_interval_ms / 1000 or None
        async for message in self._watches.watch(name, now, request.after_revision, interval):
            yield message

    @override
    async def GetEquityCurve(
        self, request: portfolio.GetEquityCurveRequest, context: Context
    ) -> portfolio.GetEquityCurveResponse:
        name = await self._open_account(request)
        start, end = optional_moment(request, "start_time"), optional_moment(request, "end_time")
        filters = f"equity {name} {start} {end}"
        after = decode_page_token(request.page_token, filters, int, int)
        size = request.page_size or POINTS_PAGE
        found = await self._store.snapshots(
            name,
            start=start,
            end=end,
            after=SnapshotCursor(instant(after[0]), after[1]) if after else None,
            limit=size + 1,
        )
        page = found[:size]
        token = ""
        if len(found) > size:
            last = page[-1]
            token = encode_page_token((nanoseconds(last.snapshot.market_time), last.number), filters)
        points = [snapshot_message(one.snapshot) for one in page]
        return portfolio.GetEquityCurveResponse(points=points, next_page_token=token)

    @override
    async def ListPositions(
        self, request: portfolio.ListPositionsRequest, context: Context
    ) -> portfolio.ListPositionsResponse:
        name = await self._open_account(request)
        filters = f"positions {name} {request.strategy_id} {request.include_flat}"
        after = decode_page_token(request.page_token, filters, str, str, int)
        size = request.page_size or POSITIONS_PAGE
        found = await self._store.positions(
            name,
            strategy_id=request.strategy_id,
            include_flat=request.include_flat,
            after=PositionCursor(*after) if after else None,
            limit=size + 1,
        )
        if not found and after is None:
            await self._strategies.verify("strategy_id", request.strategy_id)
        page = found[:size]
        prices = self._manager.prices({position.key.instrument_id for position in page})
        charges = await self._store.charges(name, strategy_id=request.strategy_id)
        lines = [
            ValuedPosition(position, last.price if (last := prices.get(position.key.instrument_id)) else None)
            for position in page
        ]
        token = ""
        if len(found) > size:
            key = page[-1].key
            token = encode_page_token((key.strategy_id, key.instrument_id, int(key.product)), filters)
        return portfolio.ListPositionsResponse(
            positions=[self._messages.position(line) for line in lines],
            next_page_token=token,
            charge_lines=charge_lines(charges.lines),
        )

    @override
    async def ListFills(
        self, request: portfolio.ListFillsRequest, context: Context
    ) -> portfolio.ListFillsResponse:
        name = await self._open_account(request)
        filters = f"fills {name} {request.strategy_id} {request.order_id}"
        before = decode_page_token(request.page_token, filters, int)
        size = request.page_size or FILLS_PAGE
        found = await self._store.fills(
            name,
            strategy_id=request.strategy_id,
            order_id=_order_id(request.order_id),
            before=before[0] if before else None,
            limit=size + 1,
        )
        if not found and before is None:
            await self._strategies.verify("strategy_id", request.strategy_id)
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
        order_id = request.order_id.lower()
        filters = f"ledger {name} {request.strategy_id} {order_id}"
        after = decode_page_token(request.page_token, filters, int)
        size = request.page_size or LEDGER_PAGE
        found = await self._store.ledger(
            name,
            strategy_id=request.strategy_id,
            order_id=order_id,
            after=after[0] if after else 0,
            limit=size + 1,
        )
        if not found and after is None:
            await self._strategies.verify("strategy_id", request.strategy_id)
        page = found[:size]
        return portfolio.ListLedgerEntriesResponse(
            entries=[self._messages.entry(line) for line in page],
            next_page_token=encode_page_token((page[-1].sequence,), filters) if len(found) > size else "",
        )

    @override
    async def ReportSlippage(
        self, request: portfolio.ReportSlippageRequest, context: Context
    ) -> portfolio.ReportSlippageResponse:
        shadow_broker = request.shadow_broker or DEFAULT_BROKER
        others = [broker for broker in self._brokers if broker != shadow_broker]
        broker = request.broker or (others[0] if len(others) == 1 else "")
        for field, name in (("broker", broker), ("shadow_broker", shadow_broker)):
            if name not in self._brokers:
                raise UnknownName(field, name, self._brokers)
        if broker == shadow_broker:
            raise InvalidInput("shadow_broker", shadow_broker, "another broker than the one that is measured")
        account = request.account or self._account
        live, shadow = (
            AccountName(broker, account),
            AccountName(shadow_broker, request.shadow_account or account),
        )
        for one in (live, shadow):
            if one not in (accounts := await self._store.accounts(one.broker)):
                raise _no_account(one, accounts)
        answer = await self._slippage.report(live, shadow, request)
        if not (answer.pair_count or answer.only_live or answer.only_shadow):
            await self._strategies.verify("strategy_id", request.strategy_id)
        return answer

    async def _portfolio(self, name: AccountName) -> portfolio.Portfolio:
        found = await self._reader.portfolio(name)
        if found is None:
            raise _no_account(name, await self._store.accounts(name.broker))
        if name.broker in self._reconciler.live_brokers:
            told = await self._discrepancies.money(name)
            if told is not None:
                found.broker_funds.CopyFrom(funds_message(told.money, told.read_at))
        return found

    def _name(self, request: OfAccount) -> AccountName:
        return AccountName(request.broker or DEFAULT_BROKER, request.account or self._account)

    async def _open_account(self, request: OfAccount) -> AccountName:
        name = self._name(request)
        if name not in (accounts := await self._store.accounts(name.broker)):
            raise _no_account(name, accounts)
        return name


def _no_account(name: AccountName, there_are: Iterable[AccountName]) -> NotFound:
    near = nearest(name.account, sorted(one.account for one in there_are))
    hint = f"did you mean {near!r}? " if near else ""
    return NotFound(
        "NO_ACCOUNT",
        f"broker {name.broker!r} has no open account {name.account!r}; {hint}an account opens with its first fill",
        broker=name.broker,
        account=name.account,
    )


def _order_id(order_id: str) -> str:
    if not order_id:
        return ""
    try:
        return str(UUID(order_id))
    except ValueError:
        raise InvalidInput("order_id", order_id, "an order's id (a UUID), or empty for all") from None
