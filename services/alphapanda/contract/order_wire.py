"""Converts orders and order events between domain values and protobuf messages."""

from __future__ import annotations

from datetime import datetime

from alphapanda.contract.charges_wire import charge_lines, charges_from
from alphapanda.contract.wire import (
    NotOnTheWire,
    decimal,
    envelope,
    exact,
    known,
    moment,
    money,
    optional_moment,
    terms_from,
    timestamp,
    validity,
)
from alphapanda.domain.charges import NO_CHARGES
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import (
    Adjustment,
    AdjustmentKind,
    Cancelled,
    Failed,
    Fill,
    Filled,
    OrderState,
    OrderUpdate,
    Submitted,
)
from alphapanda.domain.signal import PositionKey
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.events.v1.events_pb2 import Event


def order_state(order: OrderState) -> orders_pb2.OrderState:
    """Converts the state of an order to its message."""
    return orders_pb2.OrderState(
        order_id=order.order_id,
        signal_id=order.signal_id,
        strategy_id=order.key.strategy_id,
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
        trigger_pending=order.trigger_pending,
        protective=order.protective,
        position_effect=common.PositionEffect.ValueType(order.effect or 0),
        status=common.OrderStatus.ValueType(order.status),
        order_revision=order.revision,
        filled_quantity=order.filled,
        leaves_quantity=order.leaves,
        average_price=decimal(order.average_price),
        market_time=timestamp(order.market_time),
        charges=None if order.charges is None else money(order.charges),
    )


def order_state_from(m: orders_pb2.OrderState, broker: str) -> OrderState:
    """Converts the message of an order's state to the domain value."""
    return OrderState(
        order_id=m.order_id,
        signal_id=m.signal_id,
        key=PositionKey(broker, m.account, m.strategy_id, m.instrument_id, Product(m.product)),
        instrument_token=m.instrument_token,
        side=Side(m.side),
        quantity=m.quantity,
        terms=terms_from(m),
        effect=known(PositionEffect, m.position_effect),
        status=OrderStatus(m.status),
        revision=m.order_revision,
        filled=m.filled_quantity,
        leaves=m.leaves_quantity,
        average_price=exact(m.average_price) if m.HasField("average_price") else None,
        market_time=optional_moment(m, "market_time"),
        charges=exact(m.charges.amount) if m.HasField("charges") else None,
        trigger_pending=m.trigger_pending,
        protective=m.protective,
    )


def order_event(
    update: OrderUpdate,
    *,
    event_id: str,
    correlation_id: str,
    causation_id: str,
    source: str,
    occurred_at: datetime,
) -> Event:
    """Builds the event of an order update."""
    event = envelope(
        event_id=event_id,
        correlation_id=correlation_id,
        causation_id=causation_id,
        broker=update.order.key.broker,
        source=source,
        occurred_at=occurred_at,
    )
    state = order_state(update.order)
    match update:
        case Submitted():
            event.order_submitted.CopyFrom(orders_pb2.OrderSubmitted(order=state))
        case Filled(fill=fill):
            event.order_filled.CopyFrom(
                orders_pb2.OrderFilled(
                    order=state,
                    fill_id=fill.fill_id,
                    exchange_trade_id=fill.exchange_trade_id,
                    quantity=fill.quantity,
                    price=decimal(fill.price),
                    commission=money(fill.commission),
                    traded_at=timestamp(fill.traded_at),
                    charge_lines=charge_lines(fill.charges.lines),
                    adjustment=_adjustment(fill.adjustment) if fill.adjustment is not None else None,
                )
            )
        case Failed(reason=reason, message=text):
            event.order_failed.CopyFrom(
                orders_pb2.OrderFailed(
                    order=state, reason=orders_pb2.FailureReason.ValueType(reason or 0), message=text
                )
            )
        case Cancelled(message=text):
            event.order_cancelled.CopyFrom(orders_pb2.OrderCancelled(order=state, message=text))
    return event


def order_update_from(event: Event) -> OrderUpdate:
    """Converts an order event to the order update.

    Raises:
        NotOnTheWire: the event isn't an order event.
    """
    match event.WhichOneof("payload"):
        case "order_submitted":
            return Submitted(order_state_from(event.order_submitted.order, event.broker))
        case "order_filled":
            m = event.order_filled
            fill = Fill(
                fill_id=m.fill_id,
                exchange_trade_id=m.exchange_trade_id,
                quantity=m.quantity,
                price=exact(m.price),
                commission=exact(m.commission.amount),
                traded_at=moment(m.traded_at),
                charges=charges_from(m.charge_lines) if m.charge_lines else NO_CHARGES,
                adjustment=_adjustment_from(m, event.broker) if m.HasField("adjustment") else None,
            )
            return Filled(order_state_from(m.order, event.broker), fill)
        case "order_failed":
            failed = event.order_failed
            reason = known(FailureReason, failed.reason)
            return Failed(order_state_from(failed.order, event.broker), reason, failed.message)
        case "order_cancelled":
            cancelled = event.order_cancelled
            return Cancelled(order_state_from(cancelled.order, event.broker), cancelled.message)
        case other:
            raise NotOnTheWire(f"{other} is not an order event")


def _adjustment(adjustment: Adjustment) -> orders_pb2.Adjustment:
    other = adjustment.other
    return orders_pb2.Adjustment(
        kind=orders_pb2.AdjustmentKind.ValueType(adjustment.kind),
        books=adjustment.books,
        other_strategy_id=other.strategy_id if other else "",
        other_product=common.Product.ValueType(other.product if other else 0),
    )


def _adjustment_from(m: orders_pb2.OrderFilled, broker: str) -> Adjustment:
    told, order = m.adjustment, m.order
    other = None
    if told.other_strategy_id:
        other = PositionKey(
            broker, order.account, told.other_strategy_id, order.instrument_id, Product(told.other_product)
        )
    return Adjustment(AdjustmentKind(told.kind), told.books, other)
