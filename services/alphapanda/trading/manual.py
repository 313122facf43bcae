"""Manual orders: stored first, then authorised by risk, then executed like any order.

The verdict comes twice, as the RPC's answer and as an event with the same id; the first one to arrive is applied. So a
crash between risk's answer and our commit is repaired, either by the event or at the next start, because AuthorizeOrder
gives the same intent the same verdict.

Each account has a bounded number of manual orders under way. However many there are, they share their statements: they
are placed in groups, decided by risk in groups, and sent, answered and read in groups. So a burst of them holds
a few of the connections, and squaring off, signals and health have the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog

from alphapanda.contract.wire import decimal, optional_moment, protection, rules_from, timestamp, validity
from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus, PositionEffect, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Approved, Refused, Verdict
from alphapanda.mesh.errors import TooMany
from alphapanda.resilience.attempts import until_it_works
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.storage.group_commit import GroupCommits
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.order_spans import UNRECORDED, OrderSpans
from alphapanda.trading.store.port import Account, OrderChange, TradingStore
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

_AT_ONCE = 64
"""Most orders stored in one transaction, and most AuthorizeOrder calls under way at once."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_MOST_DOUBLINGS = 6
_REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
)
_Published = tuple[Verdict, str]
"""A verdict with the id of its event."""
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
        most_under_way: manual orders of one account that may be under way at once.
        spans: records the orders' spans.
    """

    def __init__(
        self,
        store: TradingStore,
        executor: OrderExecutor,
        risk: Authorizer,
        most_under_way: int,
        spans: OrderSpans = UNRECORDED,
    ) -> None:
        self._store = store
        self._executor = executor
        self._risk = risk
        self._most = most_under_way
        self._spans = spans
        self._under_way: Counter[Account] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._published: dict[str, _Published] = {}
        self._risk_slots = asyncio.Semaphore(_AT_ONCE)
        self._placements: GroupCommits[Account, _Placement, bool | RequestReused] = GroupCommits(
            self._place, _AT_ONCE
        )

    def free_places(self, broker: str) -> int:
        """Manual orders that may come under way at once in the broker's account that has most of them."""
        return self._most - max((n for of, n in self._under_way.items() if of.broker == broker), default=0)

    async def start(self) -> None:
        """Continues the orders without a verdict, in background tasks; the executor continues those that have one."""
        await self.resume()

    async def resume(self) -> None:
        """Continues the orders without a verdict that this process doesn't continue yet; risk is asked for them again."""
        for stored in await self._store.without_verdict():
            self._continue(stored.order.order_id, stored.order, _account(stored.order.key), resumed=True)

    async def stop(self) -> None:
        """Cancels the background tasks; the next start continues their orders."""
        tasks = list(self._tasks.values())
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
            TooMany: as many orders of the account as may be are under way. A repeated command is never refused so.
        """
        account = _account(order.key)
        if order.protection is not None:
            self._executor.driver.protections.expect(order)
        if self._under_way[account] >= self._most and not await self._is_known(order.order_id):
            raise TooMany(
                "TOO_MANY_ORDERS",
                f"{self._most} manual orders of account {account.account!r} at {account.broker!r} are under way, as many"
                " as may be; place this one again later",
                broker=account.broker,
                account=account.account,
            )
        self._under_way[account] += 1  # until it is stored; from then on its task counts
        try:
            placed = await self._placements.submit(account, _Placement(order, key, request))
        finally:
            self._ended(account)
        if isinstance(placed, RequestReused):
            raise placed
        self._continue(order.order_id, order if placed else None, account)
        return placed

    async def apply_verdicts(self, verdicts: Sequence[_Published]) -> list[tuple[Approved, str]]:
        """Applies risk's verdicts on manual orders that came by topic, in background tasks.

        Args:
            verdicts: each with the id of its event.

        Returns:
            Those approved that nobody placed here. They have no order yet, and are executed like approved signals.
        """
        unheard: dict[str, _Published] = {}
        for verdict, event_id in verdicts:
            order_id = order_id_of(verdict.signal_id)
            # A task that continues the order takes the verdict from risk's answer, or from here if risk postponed it.
            here = self._published if order_id in self._tasks else unheard
            here[order_id] = verdict, event_id
        found = await self._store.find_all(unheard) if unheard else {}
        unplaced = []
        for order_id, (verdict, event_id) in unheard.items():
            stored = found.get(order_id)
            if stored is None:
                if isinstance(verdict, Approved):
                    unplaced.append((verdict, event_id))
            elif not stored.order.status.is_final:
                self._published[order_id] = verdict, event_id
                self._continue(order_id, stored.order, _account(verdict.key))
        return unplaced

    # -- placing ------------------------------------------------------------------------------------------------------

    async def _is_known(self, order_id: str) -> bool:
        return order_id in self._tasks or await self._store.find(order_id) is not None

    async def _place(self, placements: Sequence[_Placement]) -> list[bool | RequestReused]:
        """Stores orders of one account in one transaction; returns for each whether it is new."""
        async with self._store.transaction() as transaction:
            claimed = await transaction.claim_all([(one.key, one.request) for one in placements])
            new = [one for one, answer in zip(placements, claimed, strict=True) if answer is None]
            stored = await transaction.add([OrderChange(one.order) for one in new])
        return [
            answer if isinstance(answer, RequestReused) else answer is None and one.order.order_id in stored
            for one, answer in zip(placements, claimed, strict=True)
        ]

    # -- continuing ---------------------------------------------------------------------------------------------------

    def _continue(
        self, order_id: str, order: Order | None, account: Account, *, resumed: bool = False
    ) -> None:
        """Continues an order in a task of its own, unless one does already."""
        if order_id in self._tasks:
            return
        self._under_way[account] += 1
        task = asyncio.get_running_loop().create_task(
            self._run(order_id, order, account, resumed=resumed), name=f"manual order {order_id}"
        )
        self._tasks[order_id] = task
        task.add_done_callback(lambda ended: self._task_done(order_id, ended))

    def _ended(self, account: Account) -> None:
        self._under_way[account] -= 1
        if not self._under_way[account]:
            del self._under_way[account]

    def _task_done(self, order_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(order_id) is task:  # it was cancelled before it began
            del self._tasks[order_id]

    async def _run(self, order_id: str, order: Order | None, account: Account, *, resumed: bool) -> None:
        if order is not None:
            self._spans.drive_manual(order, resumed=resumed)
        try:
            await self._until_done(order_id, order)
        finally:  # at once: a verdict that comes from now on finds no task
            self._spans.end_manual(order_id)
            self._tasks.pop(order_id, None)
            self._published.pop(order_id, None)
            self._ended(account)

    async def _until_done(self, order_id: str, order: Order | None) -> None:
        """Takes an order further until that is done. What fails is logged and tried again: nobody else would do it."""
        known = order

        async def once() -> bool:
            nonlocal known
            current, known = known, None
            if current is None:
                stored = await self._store.find(order_id)
                if stored is None:
                    return True
                current = stored.order
            return await self._take_further(current)

        async def wait(error: Exception, failures: int) -> None:
            if isinstance(error, grpc.aio.AioRpcError) or is_transient(error):
                if failures == 1:
                    _log.warning("order.verdict_delayed", order_id=order_id, error=in_one_line(error))
            elif failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                _log.error(
                    "order.verdict_failed",
                    alarm=True,
                    order_id=order_id,
                    error=in_one_line(error),
                    exc_info=error,
                )
            await asyncio.sleep(min(_FIRST_PAUSE * 2 ** min(failures - 1, _MOST_DOUBLINGS), _LONGEST_PAUSE))

        while not await until_it_works(once, wait, lambda _: True):  # its row has changed: it is read again
            pass

    async def _take_further(self, order: Order) -> bool:
        """Gets an order's verdict and applies it; doing so again changes nothing.

        Returns:
            False if its row has changed since it was stored or read.
        """
        if order.status is not OrderStatus.PENDING_RISK:
            await self._executor.driver.drive(order.order_id)
            return True
        published = self._published.pop(order.order_id, None)
        if published is None:
            answer = await self._answer_of_risk(order)
            published = answer or self._published.pop(order.order_id, None)
        if published is None:  # risk postponed it: the verdict comes later, as an event
            return True
        verdict, causation_id = published
        if isinstance(verdict, Approved):
            await self._executor.execute_manual(order, verdict, causation_id)
            return True
        message = f"{verdict.reason}: {verdict.message}" if verdict.reason else verdict.message
        return await self._executor.refuse(order, message, causation_id, verdict.decided_at)

    async def _answer_of_risk(self, order: Order) -> _Published | None:
        """Asks risk for its verdict; None if risk postponed it."""
        try:
            async with self._risk_slots:
                verdict = (await self._risk.AuthorizeOrder(_authorize_request(order))).verdict
        except grpc.aio.AioRpcError as refusal:
            if refusal.code() not in _REFUSALS:
                raise
            message = refusal.details() or refusal.code().name
            return _refused(order, risk.Verdict(message=message)), order.signal_id
        if verdict.waiting:
            return None
        answer = _approved(order, verdict) if verdict.approved else _refused(order, verdict)
        return answer, verdict_event_id(order.signal_id)


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
        order_type=common.OrderType.ValueType(order.terms.order_type),
        validity=validity(order.terms),
        limit_price=decimal(order.terms.limit_price),
        trigger_price=decimal(order.terms.trigger_price),
        protection=protection(order.protection),
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
        terms=order.terms,
        effect=PositionEffect(verdict.position_effect),
        valid_until=order.valid_until,
        decided_at=optional_moment(verdict, "decided_at"),
        rules=rules_from(verdict.rules),
        protection=order.protection,
    )


def _refused(order: Order, verdict: risk.Verdict) -> Refused:
    return Refused(
        signal_id=order.signal_id,
        correlation_id=order.correlation_id,
        key=order.key,
        instrument_token=order.instrument_token,
        config_revision=order.config_revision,
        reason=verdict.reason,
        message=verdict.message,
        decided_at=optional_moment(verdict, "decided_at"),
        rules=rules_from(verdict.rules),
        largest_quantity=verdict.largest_quantity,
    )


def _account(key: PositionKey) -> Account:
    return Account(key.broker, key.account)
