"""What happens to an order: how it is sent, what the broker reports, how it ends.

Status changes by `domain.order.transition` alone. Changes that are published are returned as updates with revisions
1, 2, 3 …; exactly one of them is terminal (a final status, leaves 0). A fill that the broker tells of after the end
has the next revision, and status and leaves stay: it is no second end. Slices are sent one after the other: the next one
once the one before is filled. A slice that fails ends the order with what has filled so far. A modification that the
broker shows is one more Submitted, with the next revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import (
    FailureReason,
    IllegalTransition,
    OrderEvent,
    OrderStatus,
    PositionEffect,
    Side,
    transition,
)
from alphapanda.domain.order_events import (
    Cancelled,
    Failed,
    Fill,
    Filled,
    OrderState,
    OrderUpdate,
    Submitted,
)
from alphapanda.trading.core.intent import UNANSWERED, ImpossibleReport, Intent, intents_of
from alphapanda.trading.core.order_record import OrderRecord

_REJECTIONS = {
    BrokerOrderStatus.REJECTED: FailureReason.BROKER_REJECTED,
    BrokerOrderStatus.UNPAID: FailureReason.INSUFFICIENT_FUNDS,
}
# Looked up once: every order asks for them.
_SUBMITTING: Final = OrderStatus.SUBMITTING
_PENDING_SUBMIT: Final = OrderStatus.PENDING_SUBMIT
_FILLED: Final = OrderStatus.FILLED
_NEVER_SENT: Final = (OrderStatus.NOT_SENT, OrderStatus.FAILED)
_SENDS: Final = OrderEvent.SUBMITTING
_ACCEPTED: Final = OrderEvent.ACCEPTED
_FULL_FILL: Final = OrderEvent.FULL_FILL
_PARTIAL_FILL: Final = OrderEvent.PARTIAL_FILL
_CUT = "its quantity was cut to what had filled"
MOST_EXIT_TRIES = 4
"""Absent intents of one exit before the exit itself ends as absent."""


class Order(OrderRecord):
    """An order, which changes by what is decided and reported of it."""

    __slots__ = ()

    # -- before sending -----------------------------------------------------------------------------------------------

    def validated(
        self, side: Side, quantity: int, effect: PositionEffect, causation_id: str, parts: Sequence[int]
    ) -> None:
        """Applies risk's approval of a manual order: `quantity` units, with one intent for each of `parts`."""
        self.status = transition(self.status, OrderEvent.VALIDATED)
        self.side, self.quantity, self.effect, self.causation_id = side, quantity, effect, causation_id
        self.intents = intents_of(self.order_id, parts, 0)

    def refused_by_risk(
        self, message: str, causation_id: str, market_time: datetime | None
    ) -> list[OrderUpdate]:
        """Ends a manual order that risk refused."""
        self.causation_id = causation_id
        return self._fail(OrderEvent.REFUSED_BY_RISK, FailureReason.RISK_REJECTED, message, market_time)

    def unsent(self) -> int:
        """Units in intents not yet sent."""
        units = 0
        for intent in self.intents:
            if intent.status is _PENDING_SUBMIT:
                units += intent.quantity
        return units

    def send_as(self, parts: Sequence[int]) -> None:
        """Replaces the unsent intents by one for each of `parts` (units, at most as many as were unsent)."""
        intents = self.intents
        if (
            len(intents) == len(parts) == 1
            and intents[0].status is _PENDING_SUBMIT
            and intents[0].quantity == parts[0]
        ):
            return
        unsent = [intent for intent in self.intents if intent.status is OrderStatus.PENDING_SUBMIT]
        if [intent.quantity for intent in unsent] == list(parts):
            return
        sent = len(self.intents) - len(unsent)
        self.quantity -= sum(intent.quantity for intent in unsent) - sum(parts)
        self.intents[sent:] = intents_of(self.order_id, parts, sent)

    def not_sent(
        self, reason: FailureReason, message: str, market_time: datetime | None
    ) -> list[OrderUpdate]:
        """Ends the order before its next intent is sent."""
        self._next_to_send()
        return self._fail(OrderEvent.NOT_SENT, reason, message, market_time)

    def cancelled_unsent(self, message: str, market_time: datetime | None) -> list[OrderUpdate]:
        """Ends the order as cancelled, while no part of it is at the broker: before the first or between two slices."""
        self._next_to_send()
        return self._cancel(message, market_time)

    def submitting(self, epoch: int) -> Intent:
        """Marks the next intent as SUBMITTING, with the attempt number `epoch`; once stored, it is never sent again."""
        intent = self._next_to_send()
        intent.status = transition(intent.status, _SENDS)
        intent.epoch = epoch
        if self.status is _PENDING_SUBMIT:
            self.status = _SUBMITTING
        return intent

    def never_called(self, intent: Intent) -> None:
        """Ends a SUBMITTING intent as NOT_SENT: the broker certainly doesn't have it, by its own word or as no call was begun.

        A new intent of the same units replaces it, before those not sent yet; the order is decided again (rule 18).
        """
        intent.status = transition(intent.status, OrderEvent.NEVER_CALLED)
        if self.status is OrderStatus.SUBMITTING:
            self.status = transition(self.status, OrderEvent.DECIDED_ANEW)
        unsent = [one.quantity for one in self.intents if one.status is OrderStatus.PENDING_SUBMIT]
        sent = len(self.intents) - len(unsent)
        self.intents[sent:] = intents_of(self.order_id, [intent.quantity, *unsent], sent)

    def nothing_sent(
        self, intent: Intent, message: str, market_time: datetime | None, *, anew: bool
    ) -> list[OrderUpdate]:
        """Applies that the broker certainly doesn't have an intent: the order is decided again, or an entry ends.

        Args:
            intent: whose call it was; one that has another status by now stays as it is.
            message: why.
            market_time: now; None where it is unknown.
            anew: whether an entry is decided again, too.
        """
        if intent.status is not OrderStatus.SUBMITTING:
            return []
        if self.effect.is_entry and not anew:
            return self.rejected(intent, message, market_time, FailureReason.BROKER_NOT_READY)
        self.never_called(intent)
        return []

    # -- broker reports -----------------------------------------------------------------------------------------------

    def no_clear_answer(self, intent: Intent) -> None:
        """Marks an intent as UNKNOWN: its call timed out or broke off, and only a look-up can tell its state."""
        if intent.status is not OrderStatus.UNKNOWN:
            intent.status = transition(intent.status, OrderEvent.NO_CLEAR_ANSWER)
        if self.status is OrderStatus.SUBMITTING:
            self.status = transition(self.status, OrderEvent.NO_CLEAR_ANSWER)

    def report(
        self, intent: Intent, broker_order: BrokerOrder, market_time: datetime | None
    ) -> list[OrderUpdate]:
        """Applies the broker's order in its present state; what was applied before has no second effect.

        Of an intent that has ended only new fills are applied, as late ones; of one that ended as absent nothing is.

        Raises:
            ImpossibleReport: the report can't be true of this intent.
        """
        if intent.is_absent:
            return []
        fresh = self._new_fills(intent, broker_order)
        if intent.status.is_final:
            return [self._late_fill(intent, fill) for fill in fresh]
        updates: list[OrderUpdate] = []
        intent.broker_order_id = broker_order.broker_order_id or intent.broker_order_id
        self.trigger_pending = broker_order.trigger_pending
        rejected = broker_order.status in _REJECTIONS
        if intent.status in UNANSWERED and not (rejected and not fresh):
            updates += self.accepted(intent, broker_order.broker_order_id, market_time)
        if intent.status not in UNANSWERED:
            updates += self._modified(intent, broker_order, market_time)
        for fill in fresh:
            updates.append(self.fill(intent, fill))
        if intent.status is not _FILLED:
            if rejected:
                reason = _REJECTIONS[broker_order.status]
                updates += self.rejected(intent, broker_order.message, market_time, reason)
            elif broker_order.status is BrokerOrderStatus.CANCELLED:
                updates += self.cancelled(intent, broker_order.message, market_time)
            elif 0 < broker_order.quantity <= intent.filled:
                updates += self.cancelled(intent, _CUT, market_time)
        return updates

    def accepted(
        self, intent: Intent, broker_order_id: str, market_time: datetime | None
    ) -> list[OrderUpdate]:
        """Marks an intent as accepted by the broker; Submitted is published for the order's first one only."""
        intent.status = transition(intent.status, _ACCEPTED)
        intent.broker_order_id = broker_order_id
        if self.status not in UNANSWERED:
            return []
        self.status = transition(self.status, _ACCEPTED)
        return [Submitted(self._changed(market_time))]

    def fill(self, intent: Intent, fill: Fill) -> Filled:
        """Applies a new fill.

        Raises:
            ImpossibleReport: the fill was applied before, isn't positive, or exceeds what was sent.
        """
        room = intent.quantity - intent.filled
        if fill.fill_id in self.fill_ids or not 0 < fill.quantity <= room or fill.price <= 0:
            raise ImpossibleReport(f"{fill} of intent {intent.intent_id}, which has {room} units left")
        filled = self.filled + fill.quantity
        intent.status = transition(intent.status, _FULL_FILL if fill.quantity == room else _PARTIAL_FILL)
        self.status = transition(self.status, _FULL_FILL if filled == self.quantity else _PARTIAL_FILL)
        return self._filled(intent, fill)

    def rejected(
        self,
        intent: Intent,
        message: str,
        market_time: datetime | None,
        reason: FailureReason = FailureReason.BROKER_REJECTED,
    ) -> list[OrderUpdate]:
        """Ends the order: the broker rejected the intent, or its unfilled rest."""
        intent.status = transition(intent.status, OrderEvent.REJECTED_BY_BROKER)
        return self._fail(OrderEvent.REJECTED_BY_BROKER, reason, message, market_time)

    def cancelled(self, intent: Intent, message: str, market_time: datetime | None) -> list[OrderUpdate]:
        """Ends the order: the intent was cancelled at the broker."""
        intent.status = transition(intent.status, OrderEvent.CANCELLED)
        return self._cancel(message, market_time)

    def quantity_to_exit_again(self, position: int) -> int:
        """Units of an exit to send again after an intent was absent; 0 for an entry, or if nothing is left or allowed.

        Args:
            position: units held under the order's key, signed, read after the intent was found absent.
        """
        tried = sum(intent.status is OrderStatus.FAILED and intent.epoch > 0 for intent in self.intents)
        if self.effect.is_entry or tried >= MOST_EXIT_TRIES - 1:
            return 0
        return min(self.quantity - self.filled, max(-self.side.sign * position, 0))

    def absent(
        self, intent: Intent, message: str, market_time: datetime | None, again: Sequence[int] = ()
    ) -> list[OrderUpdate]:
        """Ends an intent that the broker didn't show until the visibility window ended, and with it the order.

        With `again`, an exit continues: new intents of these units replace those not sent yet (rule 2).
        """
        intent.status = transition(intent.status, OrderEvent.ABSENT)
        if again:
            if self.status in UNANSWERED:
                self.status = transition(self.status, OrderEvent.EXIT_AGAIN)
            sent = sum(one.status is not OrderStatus.PENDING_SUBMIT for one in self.intents)
            self.intents[sent:] = intents_of(self.order_id, again, sent)
            self.quantity = self.filled + sum(again)
            return []
        return self._fail(OrderEvent.ABSENT, FailureReason.ABSENT, message, market_time)

    # -- internals ----------------------------------------------------------------------------------------------------

    def _new_fills(self, intent: Intent, broker_order: BrokerOrder) -> list[Fill]:
        """The report's fills that were not applied yet, each once; all are checked before anything changes."""
        fresh = [fill for fill in broker_order.fills if fill.fill_id not in self.fill_ids]
        if not fresh:
            return fresh
        if len(fresh) > 1:
            fresh = list({fill.fill_id: fill for fill in fresh}.values())
        was_sent = intent.status not in _NEVER_SENT
        quantity = intent.quantity if intent.status.is_final else broker_order.quantity or intent.quantity
        room = quantity - intent.filled if was_sent else 0
        left, bad = room, False
        for fill in fresh:
            left -= fill.quantity
            bad = bad or fill.quantity <= 0 or fill.price <= 0
        if bad or left < 0:
            raise ImpossibleReport(
                f"{fresh} of intent {intent.intent_id}, {intent.status.name} with {room} units left"
            )
        return fresh

    def _modified(
        self, intent: Intent, broker_order: BrokerOrder, market_time: datetime | None
    ) -> list[OrderUpdate]:
        """Applies the quantity and terms that the broker shows of an accepted intent; empty where they are as known.

        A quantity of no more than what has filled leaves nothing: it is how the broker ends the order, and not taken over.
        """
        quantity = broker_order.quantity or intent.quantity
        if quantity <= intent.filled:
            quantity = intent.quantity
        terms = self.terms if broker_order.terms is None else broker_order.terms
        if quantity == intent.quantity and (terms is self.terms or terms == self.terms):
            return []
        self.status = transition(self.status, OrderEvent.MODIFIED)
        self.quantity += quantity - intent.quantity
        intent.quantity, self.terms = quantity, terms
        return [Submitted(self._changed(market_time))]

    def _late_fill(self, intent: Intent, fill: Fill) -> Filled:
        """Applies a new fill of an intent that the broker had ended."""
        intent.status = transition(intent.status, OrderEvent.LATE_FILL)
        self.status = transition(self.status, OrderEvent.LATE_FILL)
        return self._filled(intent, fill)

    def _filled(self, intent: Intent, fill: Fill) -> Filled:
        intent.filled += fill.quantity
        self.filled += fill.quantity
        self.turnover += fill.price * fill.quantity
        self.charges += fill.commission
        self.fill_ids.add(fill.fill_id)
        return Filled(self._changed(fill.traded_at), fill)

    def _next_to_send(self) -> Intent:
        intent = self.current
        if intent is None or intent.status is not _PENDING_SUBMIT:
            raise IllegalTransition(intent.status if intent else self.status, OrderEvent.SUBMITTING)
        return intent

    def _fail(
        self, event: OrderEvent, reason: FailureReason, message: str, market_time: datetime | None
    ) -> list[OrderUpdate]:
        self.status = transition(self.status, event)
        self.failure, self.message = reason, message
        self._drop_unsent()
        return [Failed(self._changed(market_time), reason, message)]

    def _cancel(self, message: str, market_time: datetime | None) -> list[OrderUpdate]:
        self.status = transition(self.status, OrderEvent.CANCELLED)
        self.message = message
        self._drop_unsent()
        return [Cancelled(self._changed(market_time), message)]

    def _drop_unsent(self) -> None:
        for intent in self.intents:
            if intent.status is OrderStatus.PENDING_SUBMIT:
                intent.status = transition(intent.status, OrderEvent.NOT_SENT)

    def _changed(self, market_time: datetime | None) -> OrderState:
        self.revision += 1
        self.market_time = market_time
        return self.state()
