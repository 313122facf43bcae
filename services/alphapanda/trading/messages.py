"""Turns orders into the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping

from alphapanda.contract.order_wire import order_state
from alphapanda.contract.wire import decimal, protection, timestamp
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.store.change_port import StoredChange
from alphapanda.trading.store.port import KillSwitchCopy, StoredOrder, SwitchScope
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.trading.v1 import trading_pb2 as trading


def change_message(stored: StoredChange) -> trading.OrderChange:
    """The message of a change of an order."""
    change = stored.change
    return trading.OrderChange(
        change_id=change.change_id,
        order_id=change.order_id,
        kind=trading.OrderChangeKind.ValueType(change.kind),
        status=trading.OrderChangeStatus.ValueType(change.status),
        quantity=change.quantity,
        limit_price=decimal(change.terms.limit_price) if change.terms else None,
        trigger_price=decimal(change.terms.trigger_price) if change.terms else None,
        requested_by=change.requested_by,
        reason=change.reason,
        message=change.message,
        created_at=timestamp(stored.created_at),
    )


def copies_message(held: Mapping[SwitchScope, KillSwitchCopy]) -> trading.GetKillSwitchCopiesResponse:
    """The message of trading's copies of a broker's kill switches."""
    return trading.GetKillSwitchCopiesResponse(
        copies=[
            trading.KillSwitchCopy(
                strategy_id=scope.strategy_id,
                state=common.TradingState.ValueType(copy.state),
                revision=copy.revision,
            )
            for scope, copy in held.items()
        ]
    )


def order_message(stored: StoredOrder, instruments: Instruments) -> trading.Order:
    """The message of an order; its symbol is our instrument_id if the instrument is no longer listed."""
    order = stored.order
    instrument = instruments().by_id(order.key.instrument_id)
    return trading.Order(
        state=order_state(order.state()),
        broker=order.key.broker,
        symbol=instrument.symbol if instrument else order.key.instrument_id,
        intents=[
            trading.OrderIntent(
                intent_id=intent.intent_id,
                tag=intent.tag,
                quantity=intent.quantity,
                status=common.OrderStatus.ValueType(intent.status),
                broker_order_id=intent.broker_order_id,
                filled_quantity=intent.filled,
            )
            for intent in order.intents
        ],
        failure_reason=orders_pb2.FailureReason.ValueType(order.failure or 0),
        message=order.message,
        valid_until=timestamp(order.valid_until),
        created_at=timestamp(stored.created_at),
        correlation_id=order.correlation_id,
        protection=protection(order.protection),
    )
