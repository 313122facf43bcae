"""TradingService: manual orders, questions about orders, and the kill switch from risk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import grpc
from redis.exceptions import RedisError
from typing_extensions import override

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderStatus, OrderType, Product, Side, TradingState
from alphapanda.domain.routing import DEFAULT_BROKER, ExecutionRouter
from alphapanda.domain.signal import MANUAL, PositionKey
from alphapanda.eventlog.wire import order_state, timestamp
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.deadlines import seconds_to_answer
from alphapanda.mesh.errors import FailedPrecondition, NotFound, Unavailable
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.storage.price_cache import MarketViews
from alphapanda.storage.requests import CommandKey
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.trading.core.order import PRODUCER, Order
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.manual import ManualOrders
from alphapanda.trading.ports import Instruments
from alphapanda.trading.store.port import OrderFilter, StoredOrder, TradingStore
from alphapanda.trading.traders.trader import Trader
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceServicer

MANUAL_ORDER_LIFE = timedelta(seconds=60)
DEFAULT_PAGE = 50
_TO_ANSWER = 0.25
"""Seconds of the caller's patience that are left for the answer itself."""
_PATIENCE = 10.0

Context = grpc.aio.ServicerContext[Any, Any]


class TradingApi(TradingServiceServicer):
    """The servicer.

    Args:
        store: orders and the copy of the kill switch.
        executor: executes orders.
        manual: takes manual orders to their verdict.
        traders: one for each active broker.
        router: which brokers are enabled.
        market: market time.
        calendar: sessions.
        instruments: today's.
        account: the account that an empty one means.
        wall_clock: aware wall time; stands in for a market time that is unknown.
    """

    def __init__(
        self,
        store: TradingStore,
        executor: OrderExecutor,
        manual: ManualOrders,
        traders: Mapping[str, Trader],
        router: ExecutionRouter,
        market: MarketViews,
        calendar: TradingCalendar,
        instruments: Instruments,
        account: str,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._executor = executor
        self._manual = manual
        self._traders = traders
        self._router = router
        self._market = market
        self._calendar = calendar
        self._instruments = instruments
        self._account = account
        self._wall_clock = wall_clock

    @override
    async def PlaceOrder(
        self, request: trading.PlaceOrderRequest, context: Context
    ) -> trading.PlaceOrderResponse:
        order = await self._asked_for(request)
        key = CommandKey(current_caller.get(), "PlaceOrder", request.request_id)
        await self._manual.place(order, key, request)
        left = seconds_to_answer()
        patience = (_PATIENCE if left is None else left) - _TO_ANSWER
        await self._executor.wait_for_end(order.order_id, max(patience, 0.0))
        return trading.PlaceOrderResponse(order=self._message(await self._require(order.order_id)))

    @override
    async def GetOrder(self, request: trading.GetOrderRequest, context: Context) -> trading.GetOrderResponse:
        return trading.GetOrderResponse(order=self._message(await self._require(request.order_id)))

    @override
    async def ListOrders(
        self, request: trading.ListOrdersRequest, context: Context
    ) -> trading.ListOrdersResponse:
        wanted = OrderFilter(
            request.broker,
            request.account,
            request.strategy_id,
            frozenset(OrderStatus(status) for status in request.statuses if status),
        )
        filters = (
            f"orders {request.broker} {request.account} {request.strategy_id} {sorted(request.statuses)}"
        )
        before = _before(request.page_token, filters)
        size = request.page_size or DEFAULT_PAGE
        found = await self._store.newest(wanted, before, size + 1)
        page = found[:size]
        more = len(found) > size
        return trading.ListOrdersResponse(
            orders=[self._message(stored) for stored in page],
            next_page_token=encode_page_token((page[-1].sequence,), filters) if more else "",
        )

    @override
    async def ApplyKillSwitch(
        self, request: trading.ApplyKillSwitchRequest, context: Context
    ) -> trading.ApplyKillSwitchResponse:
        self._trader(request.broker)
        async with self._store.transaction() as transaction:
            revision = await transaction.apply_kill_switch(
                request.broker, TradingState(request.state), request.revision
            )
        return trading.ApplyKillSwitchResponse(revision=revision)

    # -- a manual order -----------------------------------------------------------------------------------------------

    async def _asked_for(self, request: trading.PlaceOrderRequest) -> Order:
        broker = request.broker or DEFAULT_BROKER
        self._trader(broker)
        if not self._router.is_enabled(broker):
            raise FailedPrecondition(
                "BROKER_OFF", f"broker {broker!r} is off; enable it in the settings", broker=broker
            )
        instrument = self._instruments().require_symbol(request.symbol, "symbol")
        if not instrument.tradable:
            raise InvalidInput("symbol", request.symbol, "an instrument that is traded, not an index")
        slices(request.quantity, instrument.lot_size, instrument.freeze_quantity)
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
            side=Side(request.side),
            quantity=request.quantity,
            order_type=OrderType(request.order_type or OrderType.MARKET),
            valid_until=await self._valid_until(instrument),
        )

    async def _valid_until(self, instrument: Instrument) -> datetime:
        """A minute of market time, but not past the session's end."""
        try:
            market_time = (await self._market.view(())).market_time
        except RedisError:
            raise Unavailable("MARKET_TIME_UNREADABLE", "market time can't be read now; ask again") from None
        if market_time is None:
            return self._wall_clock() + MANUAL_ORDER_LIFE
        life = market_time + MANUAL_ORDER_LIFE
        try:
            session = self._calendar.session_at(market_time, instrument.session_segment)
        except CalendarNotCovered:
            return life
        return min(life, session.close) if session else life

    # -- answers ------------------------------------------------------------------------------------------------------

    async def _require(self, order_id: str) -> StoredOrder:
        stored = await self._store.find(order_id)
        if stored is None:
            raise NotFound("ORDER_UNKNOWN", f"there is no order {order_id!r}", order_id=order_id)
        return stored

    def _trader(self, broker: str) -> Trader:
        trader = self._traders.get(broker)
        if trader is None:
            raise UnknownName("broker", broker, self._traders)
        return trader

    def _message(self, stored: StoredOrder) -> trading.Order:
        order = stored.order
        instrument = self._instruments().by_id(order.key.instrument_id)
        return trading.Order(
            state=order_state(order.state()),
            broker=order.key.broker,
            symbol=instrument.symbol if instrument else order.key.instrument_id,
            intents=[
                trading.OrderIntent(
                    intent_id=intent.intent_id,
                    tag=intent.tag,
                    quantity=intent.quantity,
                    status=common.OrderStatus.ValueType(intent.status),
                    broker_order_id=intent.broker_order_id,
                    filled_quantity=intent.filled,
                )
                for intent in order.intents
            ],
            failure_reason=orders_pb2.FailureReason.ValueType(order.failure or 0),
            message=order.message,
            valid_until=timestamp(order.valid_until),
            created_at=timestamp(stored.created_at),
            correlation_id=order.correlation_id,
        )


def _before(page_token: str, filters: str) -> int | None:
    after = decode_page_token(page_token, filters)
    match after:
        case None:
            return None
        case [int(sequence)]:
            return sequence
        case _:
            raise InvalidInput("page_token", page_token, "next_page_token of an answer to the same request")
