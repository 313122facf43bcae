"""Manual orders: stored first, then authorised by risk, then executed like any order.

The verdict comes twice, as the RPC's answer and as an event with the same id; the first one to arrive is applied. So a
crash between risk's answer and our commit is repaired, either by the event or at the next start, because AuthorizeOrder
gives the same intent the same verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog
from sqlalchemy.exc import SQLAlchemyError

from alphapanda.contract.wire import optional_moment, rules_from, timestamp
from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus, PositionEffect, Side
from alphapanda.domain.verdict import Approved
from alphapanda.resilience.failures import TransientFailure
from alphapanda.storage.group_commit import GroupCommit
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.trading.core.order import Order
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.store.port import OrderChange, TradingStore
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

_AT_ONCE = 64
"""Most orders stored in one transaction, and most AuthorizeOrder calls under way at once."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
)
_log = structlog.get_logger(__name__)


class Authorizer(Protocol):
    """The RPC of risk that manual orders need; RiskServiceStub implements it."""

    def AuthorizeOrder(  # noqa: N802 - the contract's name
        self, request: risk.AuthorizeOrderRequest, /
    ) -> Awaitable[risk.AuthorizeOrderResponse]:
        """Returns the verdict; the same one each time for the same intent."""


def verdict_event_id(signal_id: str) -> str:
    """The id of the event by which risk publishes its verdict on a signal or manual order."""
    return ids.output_id("risk", signal_id, "verdict", 0)


@dataclass(frozen=True, slots=True)
class _Placement:
    """An order to store for a command, unless the command was executed before."""

    order: Order
    key: CommandKey
    request: PlaceOrderRequest


class ManualOrders:
    """Stores manual orders as PENDING_RISK, gets risk's verdict, and passes them to the executor.

    Args:
        store: orders.
        executor: executes approved orders.
        risk: authorises orders.
    """

    def __init__(self, store: TradingStore, executor: OrderExecutor, risk: Authorizer) -> None:
        self._store = store
        self._executor = executor
        self._risk = risk
        self._verdict_tasks: dict[str, asyncio.Task[None]] = {}
        self._risk_slots = asyncio.Semaphore(_AT_ONCE)
        self._placements = GroupCommit(self._place, _AT_ONCE)

    async def start(self) -> None:
        """Continues every order that has not ended, in background tasks; those without a verdict are authorised again."""
        for order_id in await self._store.open_orders():
            self._await_verdict(order_id)

    async def stop(self) -> None:
        """Cancels the background tasks; the next start continues their orders."""
        tasks = list(self._verdict_tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def place(self, order: Order, key: CommandKey, request: PlaceOrderRequest) -> bool:
        """Stores an order, unless the command was executed before, and continues it in the background.

        Returns:
            Whether the order is new.

        Raises:
            RequestReused: the request_id came with another body.
        """
        placed = await self._placements.submit(_Placement(order, key, request))
        if isinstance(placed, RequestReused):
            raise placed
        self._await_verdict(order.order_id, order if placed else None)
        return placed

    async def _place(self, placements: Sequence[_Placement]) -> list[bool | RequestReused]:
        results: list[bool | RequestReused] = [False] * len(placements)
        # Commands are claimed in sorted order, so that two processes with the same commands can't deadlock.
        in_order = sorted(range(len(placements)), key=lambda at: placements[at].key.request_id)
        async with self._store.transaction() as transaction:
            for at in in_order:
                placement = placements[at]
                try:
                    results[at] = await transaction.claim(placement.key, placement.request) is None
                except RequestReused as reused:
                    results[at] = reused
            new = [placement for placement, result in zip(placements, results, strict=True) if result is True]
            await transaction.add([OrderChange(placement.order) for placement in new])
        return results

    def _await_verdict(self, order_id: str, order: Order | None = None) -> None:
        if order_id not in self._verdict_tasks:
            task = asyncio.get_running_loop().create_task(
                self._authorise(order_id, order), name=f"verdict {order_id}"
            )
            self._verdict_tasks[order_id] = task
            task.add_done_callback(lambda ended: self._verdict_task_done(order_id, ended))

    def _verdict_task_done(self, order_id: str, task: asyncio.Task[None]) -> None:
        self._verdict_tasks.pop(order_id, None)
        if not task.cancelled() and (error := task.exception()):
            _log.error("order.verdict_failed", order_id=order_id, error=repr(error), exc_info=error)

    async def _authorise(self, order_id: str, order: Order | None) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if order is None:
                    stored = await self._store.find(order_id)
                    if stored is None:
                        return
                    order = stored.order
                await self._request_verdict(order)
            except (SQLAlchemyError, OSError, TransientFailure, grpc.aio.AioRpcError) as unavailable:
                _log.warning("order.verdict_delayed", order_id=order_id, error=repr(unavailable))
            else:
                return
            order = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _request_verdict(self, order: Order) -> None:
        """Gets an order's verdict from risk and applies it; doing so again changes nothing."""
        if order.status is not OrderStatus.PENDING_RISK:
            await self._executor.drive(order.order_id)
            return
        try:
            async with self._risk_slots:
                verdict = (await self._risk.AuthorizeOrder(_authorize_request(order))).verdict
        except grpc.aio.AioRpcError as refusal:
            if refusal.code() not in _REFUSALS:
                raise
            message = refusal.details() or refusal.code().name
            await self._executor.refuse(order.signal_id, message, order.signal_id, None)
            return
        # A verdict that is still waiting comes later, as an event.
        causation_id = verdict_event_id(order.signal_id)
        if verdict.approved:
            await self._executor.execute_manual(order, _approved(order, verdict), causation_id)
        elif not verdict.waiting:
            await self._executor.refuse(
                order.signal_id,
                f"{verdict.reason}: {verdict.message}",
                causation_id,
                optional_moment(verdict, "decided_at"),
            )


def _authorize_request(order: Order) -> risk.AuthorizeOrderRequest:
    return risk.AuthorizeOrderRequest(
        intent_id=order.signal_id,
        correlation_id=order.correlation_id,
        broker=order.key.broker,
        account=order.key.account,
        instrument_id=order.key.instrument_id,
        instrument_token=order.instrument_token,
        side=common.Side.ValueType(order.side),
        quantity=order.quantity,
        product=common.Product.ValueType(order.key.product),
        order_type=common.OrderType.ValueType(order.order_type),
        valid_until=timestamp(order.valid_until),
    )


def _approved(order: Order, verdict: risk.Verdict) -> Approved:
    return Approved(
        signal_id=order.signal_id,
        correlation_id=order.correlation_id,
        key=order.key,
        instrument_token=order.instrument_token,
        config_revision=order.config_revision,
        side=Side(verdict.side),
        quantity=verdict.quantity,
        order_type=order.order_type,
        effect=PositionEffect(verdict.position_effect),
        valid_until=order.valid_until,
        decided_at=optional_moment(verdict, "decided_at"),
        rules=rules_from(verdict.rules),
    )
