"""The commands that change orders: ModifyOrder, CancelOrder, CancelAllOrders.

Each stores its changes in one transaction with the remembered command, has them carried out in the background, and answers
when they have ended, or when the caller's deadline is near. A repeated command gets what has become of its changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal

import grpc
from google.protobuf.message import Message
from msgspec.structs import replace
from redis.exceptions import RedisError
from typing_extensions import override

from alphapanda.contract.wire import exact
from alphapanda.domain import ids
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.price_grid import grid_rule
from alphapanda.domain.terms import Terms, check_terms
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.deadlines import seconds_to_answer
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.storage.price_cache import MarketViews
from alphapanda.storage.requests import CommandKey
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, change_id_of
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.core.slicing import slices
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.messages import change_message, order_message
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.store.port import OrderFilter, TradingStore, TradingTransaction
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceServicer

MOST_CANCELLED: Final = 1000
"""Orders that one CancelAllOrders cancels."""
_ANSWER_RESERVE: Final = 0.25
"""Seconds of the caller's deadline reserved for sending the answer."""
_DEFAULT_WAIT: Final = 10.0
"""Seconds that a command waits for its changes if the caller sets no deadline."""
_PRICES: Final[tuple[Literal["limit_price"], Literal["trigger_price"]]] = ("limit_price", "trigger_price")
Context = grpc.aio.ServicerContext[Any, Any]
_OPEN: Final = frozenset(status for status in OrderStatus if not status.is_final)


class ChangeCommands:
    """Carries out the commands.

    Args:
        store: orders and their changes.
        changes: carries out changes.
        market: market time.
        calendar: trading days, for the price grid.
        instruments: today's instruments.
        wall_clock: aware wall time; used if market time is unknown.
    """

    def __init__(
        self,
        store: TradingStore,
        changes: OrderChanges,
        market: MarketViews,
        calendar: TradingCalendar,
        instruments: Instruments,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._changes = changes
        self._market = market
        self._calendar = calendar
        self._instruments = instruments
        self._wall_clock = wall_clock

    async def modify(self, request: trading.ModifyOrderRequest) -> trading.ModifyOrderResponse:
        """Modifies an order.

        Raises:
            NotFound: there is no such order.
            FailedPrecondition: it has ended, or protects a position.
            InvalidInput: nothing is asked for, or what can't be of this order.
            RequestReused: the request_id came with another body.
        """
        day = self._calendar.trading_day(await self._market_time() or self._wall_clock())
        key, command_id = _command("ModifyOrder", request.request_id)
        asked: list[ChangeRequest] = []
        async with self._store.transaction() as transaction:
            before = await transaction.claim(key, request)
            if before is None:
                order = await _open_order(transaction, request.order_id)
                instrument = self._instruments().by_id(order.key.instrument_id)
                change = ChangeRequest(
                    change_id_of(command_id, order.order_id),
                    order.order_id,
                    ChangeKind.MODIFY,
                    current_caller.get(),
                    request.reason,
                    _quantity(request, instrument),
                    _terms(request, order, instrument, day),
                )
                asked = [change]
                before = await _stored(
                    transaction, asked, key, trading.ModifyOrderResponse(change=_named(change))
                )
        self._changes.begin(asked)
        answer = trading.ModifyOrderResponse.FromString(before)
        await self._wait([answer.change.order_id])
        (stored,) = await self._store.changes.find([answer.change.change_id])
        return trading.ModifyOrderResponse(
            order=await self._order(request.order_id), change=change_message(stored)
        )

    async def cancel(self, request: trading.CancelOrderRequest) -> trading.CancelOrderResponse:
        """Cancels an order.

        Raises:
            NotFound: there is no such order.
            FailedPrecondition: it has ended otherwise than by being cancelled, or protects a position.
            RequestReused: the request_id came with another body.
        """
        key, command_id = _command("CancelOrder", request.request_id)
        asked: list[ChangeRequest] = []
        async with self._store.transaction() as transaction:
            before = await transaction.claim(key, request)
            if before is None:
                order = await _open_order(transaction, request.order_id, or_cancelled=True)
                if not order.status.is_final:
                    asked = [_cancellation(command_id, order.order_id, request.reason)]
                first = trading.CancelOrderResponse(change=_named(asked[0]) if asked else None)
                before = await _stored(transaction, asked, key, first)
        self._changes.begin(asked)
        answer = trading.CancelOrderResponse.FromString(before)
        if not answer.HasField("change"):
            return trading.CancelOrderResponse(order=await self._order(request.order_id))
        await self._wait([request.order_id])
        (stored,) = await self._store.changes.find([answer.change.change_id])
        return trading.CancelOrderResponse(
            order=await self._order(request.order_id), change=change_message(stored)
        )

    async def cancel_all(
        self, request: trading.CancelAllOrdersRequest, instrument_id: str
    ) -> trading.CancelAllOrdersResponse:
        """Cancels the orders that have not ended and match.

        Args:
            request: what they have to match.
            instrument_id: their instrument; empty: any.

        Raises:
            RequestReused: the request_id came with another body.
        """
        wanted = OrderFilter(
            request.broker, request.account, request.strategy_id, _OPEN, instrument_id=instrument_id
        )
        found = await self._store.newest(wanted, None, MOST_CANCELLED)
        key, command_id = _command("CancelAllOrders", request.request_id)
        asked: list[ChangeRequest] = []
        async with self._store.transaction() as transaction:
            before = await transaction.claim(key, request)
            if before is None:
                asked = [
                    _cancellation(command_id, one.order.order_id, request.reason)
                    for one in reversed(found)
                    if not one.order.protective  # what is held would be left without its stop
                ]
                first = trading.CancelAllOrdersResponse(
                    cancellations=[trading.OrderCancellation(change=_named(change)) for change in asked]
                )
                before = await _stored(transaction, asked, key, first)
        self._changes.begin(asked)
        answer = trading.CancelAllOrdersResponse.FromString(before)
        named = {one.change.change_id: one.change.order_id for one in answer.cancellations}
        if not named:
            return trading.CancelAllOrdersResponse()
        await self._wait(named.values())
        changes = {one.change.change_id: one for one in await self._store.changes.find(named)}
        orders = await self._store.find_all(named.values())
        return trading.CancelAllOrdersResponse(
            cancellations=[
                trading.OrderCancellation(
                    order=order_message(orders[order_id], self._instruments),
                    change=change_message(changes[change_id]),
                )
                for change_id, order_id in named.items()
            ]
        )

    async def make_way(self, request: trading.MakeWayRequest) -> trading.MakeWayResponse:
        """Cancels the order of a signal where it rests, for a target that waits for its end."""
        order_id = order_id_of(request.signal_id)
        stored = await self._store.find(order_id)
        if stored is None or stored.order.status.is_final or not stored.order.terms.rests:
            return trading.MakeWayResponse(ended=True)
        change_id = change_id_of(request.target_signal_id, order_id)
        await self._changes.ask(
            [ChangeRequest(change_id, order_id, ChangeKind.CANCEL, "risk", "a later target takes its place")]
        )
        await self._wait([order_id])
        stored = await self._store.find(order_id)
        return trading.MakeWayResponse(ended=stored is None or stored.order.status.is_final)

    async def _wait(self, order_ids: Collection[str]) -> None:
        for (
            order_id
        ) in order_ids:  # of a repeated command: the first one may not know that its changes are stored
            self._changes.keep(order_id)
        left = seconds_to_answer()
        seconds = (_DEFAULT_WAIT if left is None else left) - _ANSWER_RESERVE
        await self._changes.wait(order_ids, max(seconds, 0.0))

    async def _market_time(self) -> datetime | None:
        try:
            return (await self._market.view(())).market_time
        except (RedisError, OSError):
            return None

    async def _order(self, order_id: str) -> trading.Order:
        stored = await self._store.find(order_id)
        if stored is None:
            raise _unknown(order_id)
        return order_message(stored, self._instruments)


async def _stored(
    transaction: TradingTransaction, asked: Sequence[ChangeRequest], key: CommandKey, answer: Message
) -> bytes:
    """Stores new changes with what is remembered of their command; returns that."""
    await transaction.changes.add(asked)
    await transaction.remember(key, answer)
    return answer.SerializeToString()


class ChangeRpcs(TradingServiceServicer):
    """The part of TradingService that changes one order."""

    _changes: ChangeCommands

    @override
    async def ModifyOrder(
        self, request: trading.ModifyOrderRequest, context: Context
    ) -> trading.ModifyOrderResponse:
        return await self._changes.modify(request)

    @override
    async def CancelOrder(
        self, request: trading.CancelOrderRequest, context: Context
    ) -> trading.CancelOrderResponse:
        return await self._changes.cancel(request)

    @override
    async def MakeWay(self, request: trading.MakeWayRequest, context: Context) -> trading.MakeWayResponse:
        return await self._changes.make_way(request)


def _command(method: str, request_id: str) -> tuple[CommandKey, str]:
    key = CommandKey(current_caller.get(), method, request_id)
    return key, ids.command_id(key.caller, key.method, key.request_id)


def _cancellation(command_id: str, order_id: str, reason: str) -> ChangeRequest:
    change_id = change_id_of(command_id, order_id)
    return ChangeRequest(change_id, order_id, ChangeKind.CANCEL, current_caller.get(), reason)


def _named(change: ChangeRequest) -> trading.OrderChange:
    """What is remembered of a change with its command."""
    return trading.OrderChange(change_id=change.change_id, order_id=change.order_id)


async def _open_order(transaction: TradingTransaction, order_id: str, *, or_cancelled: bool = False) -> Order:
    """Locks an order that hasn't ended, or that was cancelled."""
    order = await transaction.locked(order_id)
    if order is None:
        raise _unknown(order_id)
    if order.protective:
        raise FailedPrecondition(
            "ORDER_PROTECTIVE",
            f"order {order_id} protects a position; CancelProtection (`alphapanda orders unprotect`) ends its protection",
            order_id=order_id,
        )
    if order.status.is_final and not (or_cancelled and order.status is OrderStatus.CANCELLED):
        raise FailedPrecondition(
            "ORDER_ENDED",
            f"order {order_id} is {order.status.name}: nothing of it is left to change",
            order_id=order_id,
            status=order.status.name,
        )
    return order


def _unknown(order_id: str) -> NotFound:
    return NotFound("ORDER_UNKNOWN", f"there is no order {order_id!r}", order_id=order_id)


def _quantity(request: trading.ModifyOrderRequest, instrument: Instrument | None) -> int:
    if request.quantity and instrument is not None:
        slices(request.quantity, instrument.lot_size, 0)  # refuses what isn't whole lots
    return request.quantity


def _terms(
    request: trading.ModifyOrderRequest, order: Order, instrument: Instrument | None, day: date
) -> Terms | None:
    """The terms that an order shall have; None: as it has."""
    given = {name: exact(getattr(request, name)) for name in _PRICES if request.HasField(name)}
    if not given and not request.quantity:
        raise InvalidInput("quantity", "0", "another quantity, limit_price or trigger_price")
    if not given:
        return None
    terms = replace(order.terms, **given)
    check_terms(terms, order.side, None if instrument is None else grid_rule(instrument, day))
    return terms
