"""Changes of an order: a cancellation or a modification is an intent like a submission, with a row before its broker call.

A change is PENDING until its order is at the broker, CALLING from just before its call, and UNKNOWN where the call had no
clear answer: then the order is looked up, and what the broker shows of it tells what became of the change. An unanswered
modification is never sent again. A cancellation is: cancelling an order twice does no more than cancelling it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderStatus, OrderType, TradingState
from alphapanda.domain.terms import Terms
from alphapanda.trading.core.intent import PRODUCER, Intent
from alphapanda.trading.core.order import Order

OURS: Final = frozenset({"risk", PRODUCER})
"""Who asks for a change that no person and no strategy asks for."""
MOST_CANCEL_CALLS: Final = 4
"""Calls of one cancellation; an order that works on after so many is for a person to look at."""


class ChangeKind(IntEnum):
    """What a change does; numbered as in panda.trading.v1."""

    CANCEL = 1
    MODIFY = 2


class ChangeStatus(IntEnum):
    """Status of a change; numbered as in panda.trading.v1.

    OVERTAKEN: the order ended first. ABSENT: the broker never showed it until the visibility window ended.
    """

    PENDING = 1
    CALLING = 2
    UNKNOWN = 3
    DONE = 4
    REFUSED = 5
    OVERTAKEN = 6
    ABSENT = 7

    @property
    def is_final(self) -> bool:
        """Whether no transition leads to another status."""
        return self >= ChangeStatus.DONE


class ChangeEvent(StrEnum):
    """Events that change the status of a change."""

    CALLING = "called"
    NEVER_CALLED = "never called"
    NO_CLEAR_ANSWER = "no clear answer"
    DONE = "done"
    REFUSED = "refused"
    OVERTAKEN = "overtaken"
    ABSENT = "absent"
    AGAIN = "tried again"


_S, _E = ChangeStatus, ChangeEvent
TRANSITIONS: Final = MappingProxyType(
    {
        (_S.PENDING, _E.CALLING): _S.CALLING,
        # Nothing was at the broker yet, or the order is as wanted already.
        (_S.PENDING, _E.DONE): _S.DONE,
        # By the checks before the call.
        (_S.PENDING, _E.REFUSED): _S.REFUSED,
        (_S.PENDING, _E.OVERTAKEN): _S.OVERTAKEN,
        (_S.CALLING, _E.NEVER_CALLED): _S.PENDING,
        (_S.CALLING, _E.NO_CLEAR_ANSWER): _S.UNKNOWN,
        (_S.CALLING, _E.DONE): _S.DONE,
        (_S.CALLING, _E.REFUSED): _S.REFUSED,
        (_S.CALLING, _E.OVERTAKEN): _S.OVERTAKEN,
        (_S.UNKNOWN, _E.DONE): _S.DONE,
        # The answer came after another process had found the call without one.
        (_S.UNKNOWN, _E.REFUSED): _S.REFUSED,
        (_S.UNKNOWN, _E.OVERTAKEN): _S.OVERTAKEN,
        (_S.UNKNOWN, _E.ABSENT): _S.ABSENT,
        # Only a cancellation.
        (_S.UNKNOWN, _E.AGAIN): _S.PENDING,
    }
)


class IllegalChange(Exception):
    """A pair of status and event that isn't in the transition table of changes."""

    def __init__(self, status: ChangeStatus, event: ChangeEvent) -> None:
        super().__init__(f"a change that is {status.name} can't be {event.value}")


@dataclass(slots=True)
class ChangeRequest:
    """A cancellation or modification of an order.

    Attributes:
        change_id: its id, from the command or event that asked for it.
        order_id: the order's id.
        kind: what it does.
        requested_by: who asked for it, for the record.
        reason: why; may be empty.
        quantity: units that the order shall have in all, what has filled included; 0: as it has. Of a modification.
        terms: the terms that it shall have; None: as it has. Of a modification.
        status: of the change.
        epoch: number of the attempt that took it to CALLING, unique over all processes; 0 before.
        calls: broker calls that were made for it, or may have been.
        intent: number of the order's intent that it was called for; -1 before.
        message: what became of it, one sentence for a person.
    """

    change_id: str
    order_id: str
    kind: ChangeKind
    requested_by: str
    reason: str = ""
    quantity: int = 0
    terms: Terms | None = None
    status: ChangeStatus = ChangeStatus.PENDING
    epoch: int = 0
    calls: int = 0
    intent: int = -1
    message: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the platform itself asks for it."""
        return self.requested_by in OURS

    def calling(self, intent: Intent, epoch: int) -> None:
        """Marks it as CALLING, for an intent at the broker; once stored, its call may have been made."""
        self._to(ChangeEvent.CALLING)
        self.intent, self.epoch = intent.number, epoch
        self.calls += 1

    def never_called(self) -> None:
        """Takes it back to PENDING: the process that took it to CALLING knows that it didn't begin the call."""
        self._to(ChangeEvent.NEVER_CALLED)
        self.calls -= 1

    def no_clear_answer(self) -> None:
        """Marks it as UNKNOWN: only a look-up of its order can tell what became of it."""
        if self.status is not ChangeStatus.UNKNOWN:
            self._to(ChangeEvent.NO_CLEAR_ANSWER)

    def refused(self, message: str) -> None:
        """Ends it: it isn't allowed, or the broker refused it, and nothing was done."""
        self._to(ChangeEvent.REFUSED, message)

    def done_unsent(self, message: str) -> None:
        """Ends it as done before any broker call: nothing was at the broker, or there was nothing to do."""
        self._to(ChangeEvent.DONE, message)

    def settle(self, order: Order, *, window_is_over: bool = False) -> bool:
        """Ends it where the order, as it stands, tells what became of it.

        Args:
            order: after the broker's latest report was applied.
            window_is_over: whether the broker would show by now what it was asked for.

        Returns:
            Whether it has ended. A cancellation that had no effect is PENDING again, to be called again.
        """
        if order.status.is_final:
            self._end_with(order)
        elif self.status is ChangeStatus.PENDING:
            return False
        elif self.kind is ChangeKind.MODIFY and self.is_met(order):
            self._to(ChangeEvent.DONE)
        elif window_is_over and self.status is ChangeStatus.UNKNOWN:
            if self.kind is ChangeKind.CANCEL and self.calls < MOST_CANCEL_CALLS:
                self._to(ChangeEvent.AGAIN)
                return False
            what = "cancelled" if self.kind is ChangeKind.CANCEL else "modified"
            self._to(
                ChangeEvent.ABSENT, f"the broker never showed the order as {what}; it works on as it was"
            )
        return self.status.is_final

    def is_met(self, order: Order) -> bool:
        """Whether an order has the quantity and terms that a modification asks for."""
        return self.quantity in (0, order.quantity) and self.terms in (None, order.terms)

    def _end_with(self, order: Order) -> None:
        """Ends it with its order, which has ended: by this change, or before it."""
        if self.kind is ChangeKind.CANCEL:
            is_done = order.status is OrderStatus.CANCELLED
        else:
            is_done = bool(self.calls) and self.is_met(order)
        if is_done:
            self._to(ChangeEvent.DONE)
        else:
            self._to(ChangeEvent.OVERTAKEN, f"the order was {order.status.name} first")

    def _to(self, event: ChangeEvent, message: str = "") -> None:
        try:
            self.status = TRANSITIONS[self.status, event]
        except KeyError:
            raise IllegalChange(self.status, event) from None
        self.message = message


def change_id_of(cause_id: str, order_id: str) -> str:
    """The id of the change of an order that a command or event asks for; it asks for one of each order."""
    return ids.output_id(PRODUCER, cause_id, f"change of {order_id}")


def quantity_of_intent(order: Order, intent: Intent, quantity: int) -> int:
    """Units that an intent has to have so that its order has `quantity` units in all; may be too few for it.

    Args:
        order: the order.
        intent: its intent at the broker.
        quantity: units of the order, > 0; what has filled is included.
    """
    others = 0
    for one in order.intents:
        if one.number != intent.number:
            others += one.filled if one.status.is_final else one.quantity
    return quantity - others


def forbidden_by_switch(change: ChangeRequest, order: Order, state: TradingState, whose: str) -> str:
    """Why a kill switch forbids a modification, one sentence; empty where it doesn't. It never forbids a cancellation.

    Args:
        change: the modification.
        order: as it stands.
        state: what may be traded.
        whose: names the switch.
    """
    if state is TradingState.HALTED:
        return f"{whose} is HALTED; cancellations alone pass"
    if state is TradingState.ACTIVE or not order.effect.is_entry:
        return ""
    if 0 < change.quantity < order.quantity and change.terms in (None, order.terms):
        return ""
    return f"{whose} is REDUCING; of an entry the quantity may be cut, and nothing else"


def forbidden(
    change: ChangeRequest, order: Order, intent: Intent, freeze_quantity: int, position: int
) -> str:
    """Why a modification of an order can't be asked of its broker, one sentence; empty where it can.

    Args:
        change: the modification.
        order: as it stands, not ended.
        intent: its intent at the broker.
        freeze_quantity: most units of a broker order; 0: any.
        position: units held under the order's key, signed; read where the modification asks for more units.
    """
    why = _dearer(change, order) if order.effect.is_entry else ""
    if not why and change.quantity > order.quantity:
        why = _too_many(change, order, position)
    if why or not change.quantity:
        return why
    if change.quantity <= order.filled:
        return f"{order.filled} units have filled already: a quantity of {change.quantity} leaves nothing; cancel the order"
    units = quantity_of_intent(order, intent, change.quantity)
    if units <= intent.filled:
        return (
            f"the order is sent in slices, and {change.quantity} units in all would leave nothing of the slice that works"
            " now; cancel the order, and place one of that quantity"
        )
    if freeze_quantity and units > freeze_quantity:
        return f"{units} units are more than the exchange's freeze quantity {freeze_quantity}; place another order"
    return ""


def _dearer(change: ChangeRequest, order: Order) -> str:
    """Why an entry can't have other prices, one sentence: it would cost more than risk has approved. Empty where it can."""
    before = _worth(order.leaves, order.terms)
    after = _worth((change.quantity or order.quantity) - order.filled, change.terms or order.terms)
    if change.terms is None or after <= before:
        return ""
    return (
        f"what is left of the entry would be worth {after:f} rupees, and risk has approved {before:f}: cut the quantity, too,"
        " or cancel the order and place another"
    )


def _worth(units: int, terms: Terms) -> Decimal:
    return units * (terms.limit_price or terms.trigger_price or ZERO)


def _too_many(change: ChangeRequest, order: Order, position: int) -> str:
    """Why an order can't have more units than it has, one sentence; empty where it can."""
    if order.effect.is_entry:
        return f"an entry of {order.quantity} units can't become {change.quantity}; for more units place another order"
    held, left = max(-order.side.sign * position, 0), change.quantity - order.filled
    return f"{left} units left to exit would be more than the {held} that are held" if left > held else ""


def terms_at_broker(order: Order, wanted: Terms | None) -> Terms | None:
    """The new terms as they are checked: a stop that was triggered is a limit order by now; None: nothing is to be checked."""
    if wanted is None or order.trigger_pending or wanted.trigger_price is None:
        return wanted
    if wanted.limit_price is None:
        return None
    return Terms(OrderType.LIMIT, wanted.validity, wanted.limit_price)


def words_of(change: ChangeRequest) -> str:
    """Who cancelled an order and why, one sentence for a person."""
    return f"cancelled by {change.requested_by}" + (f": {change.reason}" if change.reason else "")
