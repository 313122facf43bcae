"""The next step of a position's protections: what to store, what to send, what to ask to be changed. Services and replay use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from msgspec import Struct

from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import FailureReason, PositionEffect
from alphapanda.trading.core.checks import NotSent
from alphapanda.trading.core.intent import PRODUCER
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest
from alphapanda.trading.core.protection import Decision, decide, may_pass
from alphapanda.trading.core.protection_actions import (
    Action,
    CancelEntry,
    CancelExit,
    CancelStop,
    End,
    ModifyStop,
    PlaceStop,
    Reason,
    SendExit,
)
from alphapanda.trading.core.protection_facts import ASKED_BY, Surroundings, cancelling, facts_of
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState, stop_terms
from alphapanda.trading.core.slicing import slices

RECENT: Final = timedelta(seconds=60)
"""Market time after a fill of its own within which a flip that risk approved may not know of it."""

RESTING: Final = (
    "the position has a protection, and an exit that rests would keep its stop away: exit at the market, or cancel the protection"
    " first"
)
"""Why an exit at a limit or with a trigger isn't sent beside a protection."""


class Plan(Struct, frozen=True):
    """A step.

    Attributes:
        records: the protections that have changed.
        order: the stop or the exit to send; None: none.
        changes: the changes of orders to ask for.
        alarm: what a person has to know, one sentence; may be empty.
        record: the protection that it is about.
        done: whether there may be more to do at once; False where the plan only remembers.
    """

    records: tuple[ProtectionRecord, ...]
    order: Order | None = None
    changes: tuple[ChangeRequest, ...] = ()
    alarm: str = ""
    record: ProtectionRecord | None = None
    done: bool = True


def next_plan(records: Sequence[ProtectionRecord], around: Surroundings) -> Plan | None:
    """The next step of the protections of one position, which it changes; None: nothing is to be done now.

    Args:
        records: those that have not ended, the oldest first.
        around: what is known around the position.
    """
    in_force = next((one for one in records if one.state is ProtectionState.ACTIVE), None)
    for armed in records:
        if armed.state is ProtectionState.ARMED and (plan := _begin(armed, in_force, around)) is not None:
            return plan
    if in_force is None:
        return None
    decision = decide(in_force.guard, facts_of(in_force, around))
    return _carried_out(in_force, decision, around)


def passing(
    order: Order, records: Sequence[ProtectionRecord], around: Surroundings
) -> Order | NotSent | None:
    """What becomes of another exit of a protected position: the order as it may be sent; None: it has to wait.

    It is sent once nothing of the protection can fill, and takes no more than what is held then.

    Args:
        order: an order that takes units out of the position, not sent yet.
        records: the position's protections that have not ended, and those that ended a moment ago.
        around: what is known around the position.
    """
    side = next((one.guard.side for one in records if one.guard.side is not order.side), None)
    if side is None or order.effect is PositionEffect.OPENS:
        return order
    if (refused := refused_beside(order, records)) is not None:
        return refused
    # One that a person has ended may still have its stop at the exchange, until the cancellation is certain.
    begun = [one for one in records if one.state is not ProtectionState.ARMED]
    if any(not may_pass(facts_of(one, around)) for one in begun):
        return None
    held = max(around.position * side.sign, 0)
    if not held:
        return NotSent(FailureReason.NOTHING_TO_EXIT, "the protection has closed the position meanwhile")
    flips = order.effect is PositionEffect.FLIPS
    quantity = min(order.unsent(), held)
    if (flips and not _exited_lately(records, around)) or (not flips and quantity == order.unsent()):
        return order
    return _reduced(order, quantity, around)


def refused_beside(order: Order, records: Sequence[ProtectionRecord]) -> NotSent | None:
    """Why an exit that would rest isn't sent beside a protection that is in force; None: there is none, or it wouldn't rest.

    Ask before anything is cancelled for it: it would keep the stop away for as long as it rests.
    """
    beside = any(one.state is ProtectionState.ACTIVE and one.guard.side is not order.side for one in records)
    return NotSent(FailureReason.NOT_EXECUTABLE, RESTING) if beside and order.terms.rests else None


def _reduced(order: Order, quantity: int, around: Surroundings) -> Order | NotSent:
    """The order as an exit of fewer units."""
    order = order.copy()
    order.effect = PositionEffect.REDUCES
    try:
        order.send_as(slices(quantity, around.instrument.lot_size, around.instrument.freeze_quantity))
    except InvalidInput as unfit:
        return NotSent(FailureReason.NOT_EXECUTABLE, str(unfit))
    return order


def cancelled(record: ProtectionRecord, around: Surroundings) -> Plan:
    """The step that ends a protection because a person wants it ended: its stop is cancelled, the position stays."""
    record.end(Reason.CANCELLED)
    stop = around.orders.get(record.stop_order_id)
    changes: tuple[ChangeRequest, ...] = ()
    if stop is not None and not stop.status.is_final:
        changes = (_change(stop, CancelStop("a person cancelled the protection"), record, around),)
    return Plan((record,), changes=changes, record=record)


def _begin(armed: ProtectionRecord, in_force: ProtectionRecord | None, around: Surroundings) -> Plan | None:
    """Puts a protection in force once its entry has filled, or ends it where that never will."""
    entry = around.orders.get(armed.protection_id)
    if entry is None:
        return None
    if entry.filled and entry.effect.is_entry:
        if in_force is None:
            armed.state, armed.since = ProtectionState.ACTIVE, around.market.market_time
            return Plan((armed,), record=armed)
        if in_force.guard.side is armed.guard.side:
            armed.hand_over(in_force, around.orders)
            return Plan((armed, in_force), record=in_force)
        return None  # the position changes sides: the older protection ends first
    if entry.status.is_final:
        armed.end(Reason.NOT_FILLED, "its order opened nothing" if entry.filled else "")
        return Plan((armed,), record=armed)
    return None


def _carried_out(record: ProtectionRecord, decision: Decision, around: Surroundings) -> Plan | None:
    before, action, alarm = record.guard, decision.action, decision.alarm
    record.guard = decision.guard
    stop = around.orders.get(record.stop_order_id)
    if alarm and decision.guard.leaving is Reason.STOP_LOST and stop is not None and stop.message:
        alarm = f"{alarm} ({stop.message})"
    if alarm:
        record.message = alarm
    order, changes = None, _changes(record, action, around)
    if isinstance(action, PlaceStop | SendExit):
        session = around.session
        order = record.order_of(
            action, around.grid, around.parts(action.quantity), around.now, session.close if session else None
        )
    elif isinstance(action, End):
        record.end(action.reason)
    if action is not None:
        return Plan((record,), order, changes, alarm, record)
    if alarm or decision.guard != before:
        return Plan((record,), alarm=alarm, record=record, done=False)
    return None


def _changes(
    record: ProtectionRecord, action: Action | None, around: Surroundings
) -> tuple[ChangeRequest, ...]:
    if isinstance(action, CancelStop | ModifyStop):
        return (_change(around.orders[record.stop_order_id], action, record, around),)
    if isinstance(action, CancelExit):
        return (_change(around.orders[record.exit_order_id], action, record, around),)
    if isinstance(action, CancelEntry):
        entries = [around.orders[order_id] for order_id in record.entries if order_id in around.orders]
        return tuple(
            _change(entry, action, record, around)
            for entry in entries
            if not entry.status.is_final and not cancelling(around.changes.get(entry.order_id, ()))
        )
    return ()


def _change(
    order: Order,
    action: CancelStop | ModifyStop | CancelExit | CancelEntry,
    record: ProtectionRecord,
    around: Surroundings,
) -> ChangeRequest:
    number = len(around.changes.get(order.order_id, ()))
    wanted = ChangeRequest(
        ids.output_id(PRODUCER, order.order_id, "change by its protection", number),
        order.order_id,
        ChangeKind.CANCEL,
        ASKED_BY,
    )
    if isinstance(action, ModifyStop):
        terms = stop_terms(record.guard.exits_with, action.trigger, around.grid)
        return replace(wanted, kind=ChangeKind.MODIFY, quantity=action.quantity, terms=terms)
    why = action.why if isinstance(action, CancelStop) else "the position is being left"
    if isinstance(action, CancelExit):
        why = "another exit takes its place"
    return replace(wanted, reason=why)


def _exited_lately(records: Sequence[ProtectionRecord], around: Surroundings) -> bool:
    """Whether an order of the protections' own has filled so lately that risk may not have known."""
    for record in records:
        for order_id in record.own_orders:
            order = around.orders.get(order_id)
            if order is not None and order.filled:
                return order.market_time is None or around.now - order.market_time <= RECENT
    return False
