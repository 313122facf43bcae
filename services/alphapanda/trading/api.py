"""TradingService: manual orders, order queries and watches, square-off, and risk's calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import grpc
from redis.exceptions import RedisError
from typing_extensions import override

from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.contract.wire import protection_from, terms_from
from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderStatus, Product, Side, TradingState
from alphapanda.domain.price_grid import grid_rule
from alphapanda.domain.routing import DEFAULT_BROKER, ExecutionRouter
from alphapanda.domain.signal import MANUAL, PositionKey
from alphapanda.domain.terms import check_protection, check_terms
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.deadlines import seconds_to_answer
from alphapanda.mesh.errors import FailedPrecondition, NotFound, Unavailable
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.storage.group_commit import GroupCommit
from alphapanda.storage.price_cache import MarketViews
from alphapanda.storage.requests import CommandKey
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.spans import placed
from alphapanda.telemetry.tracing import current_span
from alphapanda.trading.change_commands import ChangeCommands, ChangeRpcs
from alphapanda.trading.comparison import comparison
from alphapanda.trading.core.intent import PRODUCER
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.core.square_off import SquareOffCommand
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.manual import ManualOrders
from alphapanda.trading.messages import change_message, copies_message, order_message
from alphapanda.trading.order_spans import subject
from alphapanda.trading.protection_commands import ProtectionCommands, ProtectionRpcs
from alphapanda.trading.routing import BrokerRoutings
from alphapanda.trading.routing_api import RoutingApi
from alphapanda.trading.square_off import SquareOffs
from alphapanda.trading.store.port import Account, OrderFilter, PositionFilter, TradingStore
from alphapanda.trading.traders.trader import Trader
from alphapanda.trading.watching import OrderWatches
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading

MANUAL_ORDER_LIFE = timedelta(seconds=60)
DEFAULT_PAGE = 50
_READ_TOGETHER = 1000
_CHANGES_SHOWN = 100
"""Newest changes of an order that GetOrder shows."""
_ANSWER_RESERVE = 0.25
"""Seconds of the caller's deadline reserved for sending the answer."""
_DEFAULT_WAIT = 10.0
"""Seconds that PlaceOrder waits for the order's end if the caller sets no deadline."""

Context = grpc.aio.ServicerContext[Any, Any]


class TradingApi(ChangeRpcs, ProtectionRpcs, RoutingApi):
    """The gRPC servicer of TradingService.

    Args:
        store: orders and copies of the kill switches.
        executor: executes orders.
        manual: stores manual orders and gets risk's verdict on them.
        changes: the commands that change orders.
        protections: the questions about protections.
        square_offs: squares positions off.
        watches: watches on orders.
        traders: one for each active broker, by name.
        router: which brokers are enabled.
        market: market time.
        calendar: sessions.
        instruments: today's instruments.
        strategies: the strategies that there are, and their accounts.
        account: the default account, used if a request names none.
        wall_clock: aware wall time; used if market time is unknown.
        routings: which brokers orders go to.
    """

    def __init__(
        self,
        store: TradingStore,
        executor: OrderExecutor,
        manual: ManualOrders,
        changes: ChangeCommands,
        protections: ProtectionCommands,
        square_offs: SquareOffs,
        watches: OrderWatches,
        traders: Mapping[str, Trader],
        router: ExecutionRouter,
        market: MarketViews,
        calendar: TradingCalendar,
        instruments: Instruments,
        strategies: KnownStrategies,
        account: str,
        wall_clock: Callable[[], datetime],
        routings: BrokerRoutings,
    ) -> None:
        self._store = store
        self._executor = executor
        self._manual = manual
        self._changes = changes
        self._protections = protections
        self._square_offs = square_offs
        self._watches = watches
        self._traders = traders
        self._router = router
        self._market = market
        self._calendar = calendar
        self._instruments = instruments
        self._strategies = strategies
        self._account = account
        self._wall_clock = wall_clock
        self._routings = routings
        self._market_times = GroupCommit(self._read_market_time, _READ_TOGETHER)

    @override
    async def PlaceOrder(
        self, request: trading.PlaceOrderRequest, context: Context
    ) -> trading.PlaceOrderResponse:
        order = await self._requested_order(request)
        key = CommandKey(current_caller.get(), "PlaceOrder", request.request_id)
        is_new = await self._manual.place(order, key, request)
        told = current_span.get()
        if told is not None:
            told.attributes |= subject(order)
            if is_new and not told.ended:  # its span is the one that all others of the order are under
                told.span_id = placed(order.signal_id)
        left = seconds_to_answer()
        seconds = (_DEFAULT_WAIT if left is None else left) - _ANSWER_RESERVE
        # No other task has run since `place` returned, so a new order can't have ended before this wait begins.
        await self._executor.driver.wait_for_end(
            order.order_id, max(seconds, 0.0), is_new=is_new, or_rests=True
        )
        await self._executor.driver.protections.at_rest(order.key)
        return trading.PlaceOrderResponse(order=await self._order_message(order.order_id))

    @override
    async def CancelAllOrders(
        self, request: trading.CancelAllOrdersRequest, context: Context
    ) -> trading.CancelAllOrdersResponse:
        if request.broker:
            self._trader(request.broker)
        instrument_id = ""
        if request.symbol:
            instrument_id = self._instruments().require_symbol(request.symbol, "symbol").instrument_id
        unverified = ""
        if not request.even_if_unknown:
            unverified = await self._check_filter(request.broker, request.account, request.strategy_id)
        answer = await self._changes.cancel_all(request, instrument_id)
        answer.unverified = unverified
        return answer

    @override
    async def GetOrder(self, request: trading.GetOrderRequest, context: Context) -> trading.GetOrderResponse:
        order = await self._order_message(request.order_id)
        changes = await self._store.changes.of_order(request.order_id, _CHANGES_SHOWN)
        return trading.GetOrderResponse(order=order, changes=map(change_message, changes))

    @override
    async def GetBrokerComparison(
        self, request: trading.GetBrokerComparisonRequest, context: Context
    ) -> trading.GetBrokerComparisonResponse:
        trader = self._traders.get(request.broker)
        if trader is None:
            raise UnknownName("broker", request.broker, self._traders)
        return await comparison(self._store, trader)

    @override
    async def RecheckOrder(
        self, request: trading.RecheckOrderRequest, context: Context
    ) -> trading.RecheckOrderResponse:
        found = await self._executor.recheck(request.order_id.lower(), request.intent_id.lower())
        order = await self._order_message(request.order_id)
        return trading.RecheckOrderResponse(order=order, found=found)

    @override
    async def AdjustPositions(
        self, request: trading.AdjustPositionsRequest, context: Context
    ) -> trading.AdjustPositionsResponse:
        return trading.AdjustPositionsResponse(order_ids=await self._executor.adjust(request))

    @override
    async def ListOrders(
        self, request: trading.ListOrdersRequest, context: Context
    ) -> trading.ListOrdersResponse:
        wanted = OrderFilter(
            request.broker,
            request.account,
            request.strategy_id,
            frozenset(OrderStatus(status) for status in request.statuses if status),
            request.signal_id.lower(),
            request.correlation_id.lower(),
        )
        filters = (
            f"orders {request.broker} {request.account} {request.strategy_id} {sorted(request.statuses)}"
            f" {wanted.signal_id} {wanted.correlation_id}"
        )
        before = decode_page_token(request.page_token, filters, int)
        size = request.page_size or DEFAULT_PAGE
        found = await self._store.newest(wanted, before[0] if before else None, size + 1)
        if not found and before is None:
            await self._check_filter(request.broker, request.account, request.strategy_id)
        page = found[:size]
        more = len(found) > size
        return trading.ListOrdersResponse(
            orders=[order_message(stored, self._instruments) for stored in page],
            next_page_token=encode_page_token((page[-1].sequence,), filters) if more else "",
        )

    @override
    async def WatchOrders(
        self, request: trading.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[trading.WatchOrdersResponse]:
        account = Account(request.broker or DEFAULT_BROKER, request.account or self._account)
        try:
            await self._check_filter(account.broker, account.account, request.strategy_id)
        except UnknownName:
            if not await self._store.newest(OrderFilter(*account, request.strategy_id), None, 1):
                raise
        async for message in self._watches.watch(account, request.strategy_id, request.after_revision):
            yield message

    @override
    async def SquareOff(
        self, request: trading.SquareOffRequest, context: Context
    ) -> trading.SquareOffResponse:
        if not (request.strategy_id or request.symbol or request.broker):
            raise InvalidInput(
                "strategy_id",
                "",
                "name at least one of strategy_id, symbol and broker",
            )
        if request.broker:
            self._trader(request.broker)
        instrument_id = ""
        if request.symbol:
            instrument_id = self._instruments().require_symbol(request.symbol, "symbol").instrument_id
        key = CommandKey(current_caller.get(), "SquareOff", request.request_id)
        command_id = ids.command_id(key.caller, key.method, key.request_id)
        command = SquareOffCommand(command_id, current_correlation_id.get() or command_id, request.reason)
        wanted = PositionFilter(request.strategy_id, instrument_id, request.broker, request.account)
        unverified = ""
        if not request.even_if_unknown:
            try:
                unverified = await self._check_filter(request.broker, request.account, request.strategy_id)
            except UnknownName:
                async with self._store.transaction() as transaction:
                    if not await transaction.exposures(wanted):
                        raise
        answer = await self._square_offs.square_off(command, wanted, key, request)
        answer.unverified = unverified
        return answer

    @override
    async def ApplyKillSwitch(
        self, request: trading.ApplyKillSwitchRequest, context: Context
    ) -> trading.ApplyKillSwitchResponse:
        self._trader(request.broker)
        async with self._store.transaction() as transaction:
            held = await transaction.apply_kill_switch(
                request.broker,
                TradingState(request.state),
                request.revision,
                request.strategy_id,
                request.replaces,
            )
        return trading.ApplyKillSwitchResponse(
            revision=held.revision, state=common.TradingState.ValueType(held.state)
        )

    @override
    async def GetKillSwitchCopies(
        self, request: trading.GetKillSwitchCopiesRequest, context: Context
    ) -> trading.GetKillSwitchCopiesResponse:
        self._trader(request.broker)
        return copies_message(await self._store.kill_switch_copies(request.broker))

    @override
    async def ConfirmNoOrder(
        self, request: trading.ConfirmNoOrderRequest, context: Context
    ) -> trading.ConfirmNoOrderResponse:
        async with self._store.transaction() as transaction:
            return trading.ConfirmNoOrderResponse(never=await transaction.add_tombstone(request.signal_id))

    # -- a manual order -----------------------------------------------------------------------------------------------

    async def _requested_order(self, request: trading.PlaceOrderRequest) -> Order:
        broker = request.broker or DEFAULT_BROKER
        self._trader(broker)
        if not self._router.is_enabled(broker):
            raise FailedPrecondition(
                "BROKER_OFF", f"broker {broker!r} is off: `alphapanda risk routing` says why", broker=broker
            )
        if not request.even_if_unknown:
            await self._check_filter(broker, request.account, "")
        instrument = self._instruments().require_symbol(request.symbol, "symbol")
        if not instrument.tradable:
            raise InvalidInput("symbol", request.symbol, "an instrument that is traded, not an index")
        slices(request.quantity, instrument.lot_size, instrument.freeze_quantity)
        terms, protection, side = terms_from(request), protection_from(request), Side(request.side)
        market_time = await self._market_time(instrument)
        grid = grid_rule(instrument, self._calendar.trading_day(market_time or self._wall_clock()))
        check_terms(terms, side, grid)
        if protection is not None:
            check_protection(protection, side, terms.limit_price, grid)
        command_id = ids.command_id(current_caller.get(), "PlaceOrder", request.request_id)
        return Order.asked_for(
            signal_id=ids.output_id(PRODUCER, command_id, MANUAL),
            correlation_id=current_correlation_id.get() or command_id,
            key=PositionKey(
                broker,
                request.account or self._account,
                MANUAL,
                instrument.instrument_id,
                Product(request.product or Product.MIS),
            ),
            instrument_token=instrument.instrument_token,
            side=side,
            quantity=request.quantity,
            terms=terms,
            protection=protection,
            valid_until=self._valid_until(instrument, market_time, rests=terms.rests),
        )

    async def _market_time(self, instrument: Instrument) -> datetime | None:
        try:
            return await self._market_times.submit(instrument)
        except (RedisError, OSError):  # a time-out is an OSError
            raise Unavailable("MARKET_TIME_UNREADABLE", "market time can't be read now; try again") from None

    def _valid_until(self, instrument: Instrument, market_time: datetime | None, *, rests: bool) -> datetime:
        """A minute of market time from now, but not past the session's end; the session's end of what rests until then."""
        if market_time is None:
            return self._wall_clock() + MANUAL_ORDER_LIFE
        life = market_time + MANUAL_ORDER_LIFE
        try:
            session = self._calendar.session_at(market_time, instrument.session_segment)
        except CalendarNotCovered:
            return life
        if session is None:
            return life
        return session.close if rests else min(life, session.close)

    async def _read_market_time(self, asked: Sequence[Instrument]) -> list[datetime | None]:
        """Reads market time once for a group of orders, so that many orders at once don't cause as many Redis reads."""
        market_time = (await self._market.view(())).market_time
        return [market_time] * len(asked)

    # -- names --------------------------------------------------------------------------------------------------------

    @override
    async def _check_filter(self, broker: str, account: str, strategy_id: str) -> str:
        """Refuses what names nothing known: an empty answer would read as if there were nothing. Empty names any.

        Returns:
            Why it isn't known now whether there is such a strategy; empty where there is.

        Raises:
            UnknownName: there is no such broker, account or strategy; the error suggests the nearest name.
        """
        if broker:
            self._trader(broker)
        if account not in ("", self._account):
            traded = await self._store.account_revisions()
            known = {self._account, *self._strategies.accounts, *(one.account for one in traded)}
            if account not in known:
                raise UnknownName("account", account, known)
        return await self._strategies.verify("strategy_id", strategy_id)

    # -- answers ------------------------------------------------------------------------------------------------------

    async def _order_message(self, order_id: str) -> trading.Order:
        stored = await self._store.find(order_id)
        if stored is None:
            raise NotFound("ORDER_UNKNOWN", f"there is no order {order_id!r}", order_id=order_id)
        return order_message(stored, self._instruments)

    def _trader(self, broker: str) -> Trader:
        trader = self._traders.get(broker)
        if trader is None:
            raise UnknownName("broker", broker, self._traders)
        return trader
