"""Decides orders and commits the decisions: new orders with the insert that stores them, stored ones by compare-and-set.

Steps passed to `at`: decided, stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from alphapanda.resilience.failures import TransientFailure
from alphapanda.storage.group_commit import GroupCommits
from alphapanda.trading.attempts import Attempts
from alphapanda.trading.call_slots import CALLS_AT_ONCE
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.decision import Call, Decision, DecisionInputs, Decisions
from alphapanda.trading.execution_context import ExecutionContext, Step
from alphapanda.trading.store.port import (
    Account,
    KillSwitchCopy,
    OrderChange,
    SwitchScope,
    TradingTransaction,
)

Outcome = Call | Order | TransientFailure | None
"""The result of a decision: the call to make; the order as stored, where no call follows; why the order has to wait; or
None where nothing was stored because the row has changed or existed already."""


class DecisionCommits:
    """Commits decisions before anything follows from them.

    Args:
        context: store, traders, market and clocks.
        checks: the checks before sending.
        attempts: this process's attempts.
        at: called with the name of each step; for tests.
    """

    def __init__(
        self, context: ExecutionContext, checks: PreSubmitChecks, attempts: Attempts, at: Step
    ) -> None:
        self._context = context
        self._attempts = attempts
        self._at = at
        self._decisions = Decisions(context, checks)
        self._deciding: GroupCommits[Account, Order, Outcome] = GroupCommits(
            self._decide_stored, CALLS_AT_ONCE
        )

    async def receive(self, orders: Sequence[Order], held: Collection[str]) -> Mapping[str, Outcome]:
        """Stores new orders and decides those held for a call.

        Returns:
            Each one's outcome, by order id; None if its signal has an order already.
        """
        to_decide = [order for order in orders if order.order_id in held]
        known = await self._decisions.read(to_decide)
        if to_decide and (switches := self._decisions.switches_last_read(to_decide, known)) is not None:
            outcomes = await self._receive_if_unchanged(orders, held, known, switches)
            if outcomes is not None:
                return outcomes
        async with self._context.store.transaction() as transaction:
            decisions = await self._decide(transaction, to_decide, known)
            stored = await transaction.add(_changes(orders, decisions))
            self._at("stored")
        return {order.order_id: self._outcome(order, decisions, stored) for order in orders}

    async def decide(self, order: Order) -> Outcome:
        """Decides a stored order, in one transaction with others of its account."""
        return await self._deciding.submit(Account(order.key.broker, order.key.account), order)

    async def _receive_if_unchanged(
        self,
        orders: Sequence[Order],
        held: Collection[str],
        known: DecisionInputs,
        switches: Mapping[SwitchScope, KillSwitchCopy],
    ) -> Mapping[str, Outcome] | None:
        """Does the same in one statement, by kill switches read before; None if one has changed: nothing is stored then."""
        orders = [order.copy() for order in orders]
        attempts = self._attempts.numbered([order for order in orders if order.order_id in held])
        decisions = self._noted(attempts, self._decisions.decide_by(switches, attempts, known))
        # A process that ends here has stored nothing, as in a transaction before its commit.
        self._at("stored")
        stored = await self._context.store.add_if_unchanged(_changes(orders, decisions), switches)
        outcomes = {order.order_id: self._outcome(order, decisions, stored or ()) for order in orders}
        return None if stored is None else outcomes

    async def _decide_stored(self, orders: Sequence[Order]) -> list[Outcome]:
        """Decides stored orders in one transaction; returns the outcome of each."""
        known = await self._decisions.read(orders)
        orders = [order.copy() for order in orders]
        async with self._context.store.transaction() as transaction:
            decisions = await self._decide(transaction, orders, known)
            saved = await transaction.save([decision.change for decision in decisions.values()])
            self._at("stored")
        return [
            self._outcome(order, decisions, saved)
            if order.order_id in decisions
            else TransientFailure("the price cache can't be read; a paper exit waits for it")
            for order in orders
        ]

    async def _decide(
        self, transaction: TradingTransaction, orders: Sequence[Order], known: DecisionInputs
    ) -> dict[str, Decision]:
        """Decides orders in a transaction; returns the decisions by order id."""
        attempts = self._attempts.numbered(orders)
        return self._noted(attempts, await self._decisions.decide(transaction, attempts, known))

    def _noted(
        self, attempts: Sequence[tuple[Order, int]], decided: Sequence[Decision | None]
    ) -> dict[str, Decision]:
        """The decisions by order id; attempts to be called are noted as uncalled before they are committed."""
        decisions: dict[str, Decision] = {}
        for (order, _), decision in zip(attempts, decided, strict=True):
            if decision is not None:
                decisions[order.order_id] = decision
                if decision.call is not None:
                    self._attempts.decided(decision.call)
        self._at("decided")
        return decisions

    def _outcome(
        self, order: Order, decisions: Mapping[str, Decision], stored: Collection[str]
    ) -> Call | Order | None:
        """The outcome of an order's decision, once it is committed."""
        decision = decisions.get(order.order_id)
        call = decision.call if decision else None
        if order.order_id not in stored:
            if call is not None:
                self._attempts.not_stored(call)
            return None
        return call or order


def _changes(orders: Sequence[Order], decisions: Mapping[str, Decision]) -> list[OrderChange]:
    """The changes that store new orders, as decided where they were."""
    return [
        decision.change if (decision := decisions.get(order.order_id)) else OrderChange(order)
        for order in orders
    ]
