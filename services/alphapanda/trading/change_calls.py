"""Makes the broker call of an order's change once that is committed as CALLING, and stores what has become of it.

Where a call has no clear answer the order is looked up; what the broker shows of it tells what became of the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.resilience.failures import in_one_line
from alphapanda.telemetry.spans import CANCEL_ORDER, LOOK_UP, MODIFY_ORDER
from alphapanda.trading.change_outcomes import by_id, settled, told
from alphapanda.trading.change_windows import ChangeWindows
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import (
    ChangeKind,
    ChangeRequest,
    ChangeStatus,
    forbidden,
    forbidden_by_switch,
    quantity_of_intent,
    terms_at_broker,
    words_of,
)
from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.execution_context import (
    UNREADABLE,
    ExecutionContext,
    Step,
    locked_order,
    no_step,
)
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.store.port import SwitchScope, TradingTransaction
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    Cancellation,
    ExecutionMode,
    Modification,
    NoClearAnswer,
    NothingSent,
    Trader,
)

_log = structlog.get_logger(__name__)


class ChangeCalls:
    """Calls brokers for changes of orders; the caller holds the order's lock in this process.

    Args:
        context: store, traders, market and clocks.
        driver: has the slots for calls, the numbers of attempts and the deadlines of look-ups.
        options: send window and call timeout.
        at: called with the name of each step; for tests.
    """

    def __init__(
        self,
        context: ExecutionContext,
        driver: OrderDriver,
        options: TradingOptions,
        at: Step = no_step,
    ) -> None:
        self._at = at
        self._context = context
        self._store = context.store
        self._driver = driver
        self._options = options
        self._windows = ChangeWindows(driver.look_ups, options, context.boot_clock)

    # -- without the broker -------------------------------------------------------------------------------------------

    async def settle(self, order_id: str) -> None:
        """Ends the changes of an order that has ended."""
        async with self._store.transaction() as transaction:
            order = await locked_order(transaction, order_id)
            ended = await settled(transaction, order)
        self._ended(order, ended)

    async def cancel_unsent(self, order_id: str, change: ChangeRequest) -> None:
        """Ends an order of which nothing is at its broker; does nothing where that has changed meanwhile."""
        market_time = await self._context.market_time()
        async with self._store.transaction() as transaction:
            order = await locked_order(transaction, order_id)
            intent = order.current
            if intent is None or intent.status is not OrderStatus.PENDING_SUBMIT:
                return
            events = order.cancelled_unsent(words_of(change), market_time)
            ended = await settled(transaction, order)
            await transaction.save([self._context.change(order, events)])
        self._ended(order, ended)

    # -- a broker call ------------------------------------------------------------------------------------------------

    async def call(self, order: Order, change: ChangeRequest) -> bool:
        """Makes a pending change's broker call, or ends it where that isn't allowed.

        Args:
            order: the order as it was read; part of it is at the broker.
            change: one of its pending changes.

        Returns:
            Whether the order's changes can be taken further at once.
        """
        seen = UNREADABLE
        if change.kind is ChangeKind.MODIFY:
            seen = await self._context.market_and_states([order]) or UNREADABLE
        async with self._driver.change_slots(order.key.broker):
            began = self._context.boot_clock()
            calling = await self._commit(order.order_id, change.change_id, seen)
            if calling is None:
                return True
            self._at("calling_committed")
            order, intent, change = calling
            # Another process may have looked it up and found it without effect, if this one was frozen since the commit.
            if self._context.boot_clock() - began > self._options.send_window_seconds:
                change.never_called()
                async with self._store.transaction() as transaction:
                    await locked_order(transaction, order.order_id)
                    await transaction.changes.save([change])
                return True
            try:
                report, refused = await self._ask_broker(order, intent, change)
            except NothingSent as unsent:
                await self._nothing_sent(order, change, unsent)
                return False
            self._at("called")
        return await self._store_answer(order, intent, change, report, refused)

    async def _nothing_sent(self, order: Order, change: ChangeRequest, why: NothingSent) -> None:
        """Takes a change back: a cancellation is called later, a modification ends, for by then prices are others."""
        if change.kind is ChangeKind.MODIFY:
            change.refused(in_one_line(why))
        else:
            change.never_called()
        async with self._store.transaction() as transaction:
            await locked_order(transaction, order.order_id)
            await transaction.changes.save([change])
        if change.status.is_final:
            self._ended(order, [change])
        else:
            _log.warning(
                "order.change_waits",
                order_id=order.order_id,
                broker=order.key.broker,
                account=order.key.account,
                kind=change.kind.name,
                reason=in_one_line(why),
            )

    async def _commit(
        self, order_id: str, change_id: str, seen: tuple[MarketView, Mapping[str, TradingState]]
    ) -> tuple[Order, Intent, ChangeRequest] | None:
        """Commits a change as CALLING; None where it has ended instead, or something has changed meanwhile."""
        async with self._store.transaction() as transaction:
            order = await locked_order(transaction, order_id)
            intent = order.current
            change = by_id(await transaction.changes.unresolved(order_id)).get(change_id)
            if intent is None or intent.unanswered or intent.status is OrderStatus.PENDING_SUBMIT:
                return None
            if change is None or change.status is not ChangeStatus.PENDING:
                return None
            if why := await self._forbidden(transaction, order, intent, change, seen):
                change.refused(why)
            elif change.kind is ChangeKind.MODIFY and change.is_met(order):
                change.done_unsent("the order had this quantity and these prices already")
            else:
                change.calling(intent, self._driver.attempts.next_number())
            await transaction.changes.save([change])
        if change.status.is_final:
            self._ended(order, [change])
            return None
        return order, intent, change

    async def _forbidden(
        self,
        transaction: TradingTransaction,
        order: Order,
        intent: Intent,
        change: ChangeRequest,
        seen: tuple[MarketView, Mapping[str, TradingState]],
    ) -> str:
        """Why a change can't be asked of the broker; empty where it can. Nothing forbids a cancellation."""
        if change.kind is ChangeKind.CANCEL:
            return ""
        market, states = seen
        scope = SwitchScope(order.key.broker, order.key.strategy_id)
        own = (await transaction.kill_switches([scope]))[scope]
        switch = own.or_stricter(order.key.broker, states.get(order.key.broker, TradingState.REDUCING))
        if why := forbidden_by_switch(change, order, switch.state, switch.scope.words):
            return why
        instrument = self._context.instruments().by_id(order.key.instrument_id)
        if instrument is None:
            return f"no instrument {order.key.instrument_id!r} is known"
        trader = self._context.traders[order.key.broker]
        terms, simulated = (
            terms_at_broker(order, change.terms),
            trader.get_execution_mode() is ExecutionMode.PAPER,
        )
        if terms is not None and (
            why := self._driver.checks.refusal(order, terms, instrument, market, simulated=simulated)
        ):
            return why
        position = await transaction.position(order.key) if change.quantity > order.quantity else 0
        return forbidden(change, order, intent, trader.freeze_quantity(instrument), position)

    async def _ask_broker(
        self, order: Order, intent: Intent, change: ChangeRequest
    ) -> tuple[BrokerOrder | None, str]:
        """Makes the call; returns the broker's report, None without a clear one, and its words if it refused."""
        trader = self._context.traders[order.key.broker]
        name = CANCEL_ORDER if change.kind is ChangeKind.CANCEL else MODIFY_ORDER
        began = self._context.spans.began()
        report: BrokerOrder | None = None
        failure: Exception | None = None
        refused = ""
        try:
            if change.kind is ChangeKind.CANCEL:
                report = await trader.cancel_order(
                    Cancellation(order.key.account, intent.tag, intent.broker_order_id)
                )
            else:
                report = await trader.modify_order(self._modification(order, intent, change))
        except BrokerRefused as words:
            failure, refused = words, str(words) or "the broker gave no reason"
        except NoClearAnswer as unclear:
            failure = unclear
            _log.warning(
                "order.answer_unclear",
                order_id=order.order_id,
                broker=trader.broker,
                tag=intent.tag,
                error=in_one_line(unclear),
            )
        self._context.spans.broker_call(name, order, intent.tag, began, report, failure)
        if refused:  # perhaps because the order has ended
            report = await self._shown(trader, order, intent)
        return report, refused

    def _modification(self, order: Order, intent: Intent, change: ChangeRequest) -> Modification:
        instrument = self._context.instruments().by_id(order.key.instrument_id)
        if instrument is None:
            raise LookupError(f"order {order.order_id} is of an unknown instrument")
        return Modification(
            account=order.key.account,
            tag=intent.tag,
            broker_order_id=intent.broker_order_id,
            instrument=instrument,
            side=order.side,
            quantity=quantity_of_intent(order, intent, change.quantity or order.quantity),
            product=order.key.product,
            terms=change.terms or order.terms,
        )

    async def _store_answer(
        self, order: Order, intent: Intent, change: ChangeRequest, report: BrokerOrder | None, refused: str
    ) -> bool:
        """Stores the answer to a change's call; returns whether the order's changes can be taken further at once."""
        market_time = await self._context.market_time()
        async with self._store.transaction() as transaction:
            order = await locked_order(transaction, order.order_id)
            changes = await transaction.changes.unresolved(order.order_id)
            events: list[OrderUpdate] = []
            if report is not None:
                events = told(order, order.intents[intent.number], report, market_time, changes)
            stored = by_id(changes).get(change.change_id)  # None: another process has ended it
            if stored is not None and not stored.settle(order) and stored.status is not ChangeStatus.PENDING:
                if refused:
                    stored.refused(refused)
                else:
                    stored.no_clear_answer()
            ended = await settled(transaction, order, changes)
            if report is not None:
                await transaction.save([self._context.change(order, events)])
            self._at("answered")
        self._at("committed")
        self._ended(order, ended)
        return stored is None or stored.status.is_final

    # -- look-ups -----------------------------------------------------------------------------------------------------

    async def look_up(self, order: Order, intent: Intent) -> bool:
        """Looks up an order of which a change's call had no clear answer.

        Args:
            order: the order as it was read.
            intent: its intent at the broker.

        Returns:
            Whether the order's changes can be taken further at once.
        """
        trader = self._context.traders[order.key.broker]
        # Read before the broker is asked: what it then shows is at least as new.
        over = {
            change.change_id: self._windows.is_over(change, trader)
            for change in await self._store.changes.unresolved(order.order_id)
            if change.status is not ChangeStatus.PENDING
        }
        report = await self._shown(trader, order, intent)
        if report is None:
            return False
        self._at("looked_up")
        market_time = await self._context.market_time()
        async with self._store.transaction() as transaction:
            order = await locked_order(transaction, order.order_id)
            changes = await transaction.changes.unresolved(order.order_id)
            events = told(order, order.intents[intent.number], report, market_time, changes)
            for change in changes:
                if change.status is ChangeStatus.CALLING:  # its process has ended, or is frozen
                    change.no_clear_answer()
                over_now = change.change_id in over and self._windows.after_look_up(
                    change, over=over[change.change_id]
                )
                change.settle(order, window_is_over=over_now)
            ended = await settled(transaction, order, changes)
            await transaction.save([self._context.change(order, events)])
        for change in changes:
            if change.status is ChangeStatus.PENDING:  # it is called again, and then has a window of its own
                self._driver.look_ups.settled(change.change_id)
        self._ended(order, ended)
        return any(change.status is not ChangeStatus.UNKNOWN for change in changes)

    async def _shown(self, trader: Trader, order: Order, intent: Intent) -> BrokerOrder | None:
        """What the broker shows of an intent; None if nothing, or it can't be asked now."""
        began = self._context.spans.began()
        report: BrokerOrder | None = None
        failure: NoClearAnswer | None = None
        try:
            report = await trader.look_up(order.key.account, intent.tag)
        except NoClearAnswer as unclear:
            failure = unclear
            _log.warning(
                "order.look_up_failed",
                order_id=order.order_id,
                broker=trader.broker,
                tag=intent.tag,
                error=in_one_line(unclear),
            )
        self._context.spans.broker_call(LOOK_UP, order, intent.tag, began, report, failure)
        return report

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _ended(self, order: Order, ended: Iterable[ChangeRequest]) -> None:
        """Notes changes that have ended, once that is committed, and an order that has ended with them."""
        for change in ended:
            self._driver.look_ups.settled(change.change_id)
            if change.status is ChangeStatus.ABSENT:
                _log.error(
                    "order.change_absent",
                    alarm=True,
                    order_id=order.order_id,
                    broker=order.key.broker,
                    account=order.key.account,
                    kind=change.kind.name,
                    message=change.message,
                )
            else:
                _log.info(
                    "order.change_ended",
                    order_id=order.order_id,
                    broker=order.key.broker,
                    account=order.key.account,
                    kind=change.kind.name,
                    status=change.status.name,
                    message=change.message,
                )
        if order.status.is_final:
            self._driver.settle(order)
        elif (intent := order.current) is not None and intent.status is OrderStatus.PENDING_SUBMIT:
            # The slice has filled, and the next one is to be sent.
            self._driver.look_ups.follow(order.order_id)
