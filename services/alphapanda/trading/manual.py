"""A person's orders: a row first, then risk's verdict, then as any order.

The verdict comes by RPC and, published under the same id, by topic; whichever is first moves the row on. So a crash
between risk's answer and our row heals, here on the next start (AuthorizeOrder gives the same intent the same verdict)
or by the topic.
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
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.trading.core.order import Order
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.group_commit import GroupCommit
from alphapanda.trading.store.port import OrderChange, TradingStore
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

_AT_ONCE = 64
"""Orders stored in one transaction, and questions to risk under way."""
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
    """What is asked of risk; a RiskServiceStub has it."""

    def AuthorizeOrder(  # noqa: N802 - the contract's name
        self, request: risk.AuthorizeOrderRequest, /
    ) -> Awaitable[risk.AuthorizeOrderResponse]:
        """The verdict; the same for the same intent."""


def verdict_event_id(signal_id: str) -> str:
    """The id under which risk publishes its verdict on a signal or manual order."""
    return ids.output_id("risk", signal_id, "verdict", 0)


@dataclass(frozen=True, slots=True)
class _Placing:
    """An order to be stored under a command, unless that was done before."""

    order: Order
    key: CommandKey
    request: PlaceOrderRequest


class ManualOrders:
    """Takes manual orders from PENDING_RISK on.

    Args:
        store: orders.
        executor: executes what is let through.
        risk: gives verdicts.
    """

    def __init__(self, store: TradingStore, executor: OrderExecutor, risk: Authorizer) -> None:
        self._store = store
        self._executor = executor
        self._risk = risk
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._placing = GroupCommit(self._place, _AT_ONCE)

    async def start(self) -> None:
        """Asks risk again about every order that waits for its verdict; goes on in the background."""
        for order_id in await self._store.open_orders():
            self._ask(order_id)

    async def stop(self) -> None:
        """Ends the asking; the next start goes on."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def place(self, order: Order, key: CommandKey, request: PlaceOrderRequest) -> bool:
        """Stores an order, unless this command did before, and sees that it goes on.

        Returns:
            Whether it is new.

        Raises:
            RequestReused: the request_id came with another body.
        """
        placed = await self._placing.ask(_Placing(order, key, request))
        if isinstance(placed, RequestReused):
            raise placed
        self._ask(order.order_id, order if placed else None)
        return placed

    async def _place(self, placings: Sequence[_Placing]) -> list[bool | RequestReused]:
        results: list[bool | RequestReused] = [False] * len(placings)
        # In one order, so that two processes with the same commands don't wait for each other in a circle.
        in_order = sorted(range(len(placings)), key=lambda at: placings[at].key.request_id)
        async with self._store.transaction() as transaction:
            for at in in_order:
                placing = placings[at]
                try:
                    results[at] = await transaction.claim(placing.key, placing.request) is None
                except RequestReused as reused:
                    results[at] = reused
            new = [placing for placing, result in zip(placings, results, strict=True) if result is True]
            await transaction.add([OrderChange(placing.order) for placing in new])
        return results

    def _ask(self, order_id: str, order: Order | None = None) -> None:
        if order_id not in self._asking:
            task = asyncio.get_running_loop().create_task(
                self._authorise(order_id, order), name=f"verdict {order_id}"
            )
            self._asking[order_id] = task
            task.add_done_callback(lambda ended: self._asked(order_id, ended))

    def _asked(self, order_id: str, task: asyncio.Task[None]) -> None:
        self._asking.pop(order_id, None)
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
                await self._go_on(order)
            except (SQLAlchemyError, OSError, TransientFailure, grpc.aio.AioRpcError) as away:
                _log.warning("order.verdict_delayed", order_id=order_id, error=repr(away))
            else:
                return
            order = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _go_on(self, order: Order) -> None:
        """Asks for an order's verdict and follows it; asking again would change nothing."""
        if order.status is not OrderStatus.PENDING_RISK:
            await self._executor.drive(order.order_id)
            return
        try:
            async with self._few:
                verdict = (await self._risk.AuthorizeOrder(_question(order))).verdict
        except grpc.aio.AioRpcError as refusal:
            if refusal.code() not in _REFUSALS:
                raise
            message = refusal.details() or refusal.code().name
            await self._executor.refuse(order.signal_id, message, order.signal_id, None)
            return
        # A waiting one is decided later; that verdict comes by topic.
        causation_id = verdict_event_id(order.signal_id)
        if verdict.approved:
            await self._executor.let_through(order, _approved(order, verdict), causation_id)
        elif not verdict.waiting:
            await self._executor.refuse(
                order.signal_id,
                f"{verdict.reason}: {verdict.message}",
                causation_id,
                optional_moment(verdict, "decided_at"),
            )


def _question(order: Order) -> risk.AuthorizeOrderRequest:
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
