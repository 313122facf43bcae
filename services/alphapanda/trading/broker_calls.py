"""Makes a broker call once its intent is committed as SUBMITTING, and stores the broker's answer.

Steps passed to `at`: submitting_committed, called, answered, committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.resilience.failures import in_one_line
from alphapanda.storage.group_commit import GroupCommits
from alphapanda.telemetry.spans import EXECUTE_ORDER
from alphapanda.trading.attempts import Attempts
from alphapanda.trading.core.order import Order
from alphapanda.trading.decision import Call
from alphapanda.trading.execution_context import ExecutionContext, Step, locked_order, reported
from alphapanda.trading.inquiry import day_in_india
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import Account, OrderChange, OrderFilter
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, NothingSent
from alphapanda.trading.unseen import AT_THE_BROKER, beside

_SAVED_TOGETHER = 64
_MOST_BESIDE: Final = 500
"""Orders of an account in one instrument that are looked at before an exit is sent beside them, the newest ones."""
Answer = BrokerOrder | NothingSent | None
"""What a call came to; None: nobody knows."""
_log = structlog.get_logger(__name__)


class BrokerCalls:
    """Calls brokers, each committed intent at most once, and stores their answers.

    Args:
        context: store, traders and clocks.
        options: the send window.
        attempts: this process's attempts; those of an order are forgotten when its call begins.
        at: called with the name of each step; for tests.
    """

    def __init__(
        self, context: ExecutionContext, options: TradingOptions, attempts: Attempts, at: Step
    ) -> None:
        self._context = context
        self._options = options
        self._attempts = attempts
        self._at = at
        self._waiting: set[str] = set()
        self._saving: GroupCommits[Account, OrderChange, bool] = GroupCommits(self._save, _SAVED_TOGETHER)

    async def make(self, call: Call) -> tuple[bool, Answer]:
        """Calls the broker within the send window.

        Returns:
            Whether the call was made, and what it came to.
        """
        self._at("submitting_committed")
        order_id = call.order.order_id
        trader = self._context.traders[call.order.key.broker]
        placement = call.placement
        if placement.is_exit and trader.get_execution_mode() is ExecutionMode.LIVE:
            placement = replace(placement, beside=await self._beside(call.order))
        # If this process was frozen since the commit, another one may already have looked the intent up and found it absent.
        if self._context.boot_clock() - call.began > self._options.send_window_seconds:
            return False, None
        # From here on the call may have been made. No earlier attempt can still be committed, so all are removed.
        self._attempts.forget(order_id)
        self._context.measured.sending(order_id, self._context.boot_clock() - call.began)
        report: BrokerOrder | None = None
        nothing: NothingSent | None = None
        failure: Exception | None = None
        began = self._context.spans.began()
        try:
            report = await trader.execute_order(placement)
        except NoClearAnswer as unclear:
            failure = unclear
            _log.warning(
                "order.answer_unclear",
                order_id=order_id,
                broker=trader.broker,
                tag=call.intent.tag,
                error=in_one_line(unclear),
            )
        except NothingSent as refused:
            failure = nothing = refused
            if refused.waits:
                self._waiting.add(order_id)
            _log.warning(
                "order.nothing_sent",
                order_id=order_id,
                broker=trader.broker,
                tag=call.intent.tag,
                error=in_one_line(refused),
            )
        self._context.spans.broker_call(EXECUTE_ORDER, call.order, call.intent.tag, began, report, failure)
        self._at("called")
        return True, report or nothing

    def has_to_pause(self, order_id: str) -> bool:
        """Whether an order's last call found that it waits for another order; asked once, it doesn't say so again."""
        waits = order_id in self._waiting
        self._waiting.discard(order_id)
        return waits

    async def _beside(self, order: Order) -> Mapping[str, int]:
        """What may be working beside an exit; read after it was committed, so that of two exits one sees the other."""
        key = order.key
        wanted = OrderFilter(key.broker, key.account, statuses=AT_THE_BROKER, instrument_id=key.instrument_id)
        found = await self._context.store.newest(wanted, None, _MOST_BESIDE)
        return beside(order, found, day_in_india(self._context.wall_clock()))

    async def store_answer(self, call: Call, report: Answer) -> Order:
        """Stores the broker's answer by compare-and-set; if the row has changed, locks and reads it and applies it there."""
        order = call.order.copy()
        events = _apply_answer(order, call, report)
        self._at("answered")
        if not await self.save(self._context.change(order, events)):
            async with self._context.store.transaction() as transaction:
                order = await locked_order(transaction, order.order_id)
                events = _apply_answer(order, call, report)
                await transaction.save([self._context.change(order, events)])
        self._at("committed")
        self._context.order_sent(order.key.broker, self._context.boot_clock() - call.began)
        return order

    async def save(self, change: OrderChange) -> bool:
        """Stores a change by compare-and-set, together with others of its account; False if the row has changed."""
        return await self._saving.submit(Account(change.order.key.broker, change.order.key.account), change)

    async def _save(self, changes: Sequence[OrderChange]) -> list[bool]:
        saved = await self._context.store.save(changes)
        return [change.order.order_id in saved for change in changes]


def _apply_answer(order: Order, call: Call, report: Answer) -> list[OrderUpdate]:
    intent = order.intents[call.intent.number]
    if isinstance(report, NothingSent):
        return order.nothing_sent(intent, str(report), call.market_time, anew=report.anew)
    if report is not None:
        return reported(order, intent, report, call.market_time)
    if intent.status is OrderStatus.SUBMITTING:
        order.no_clear_answer(intent)
    return []
