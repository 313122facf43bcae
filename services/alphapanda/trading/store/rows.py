"""Converts orders to database rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.order_terms import protection_columns, protection_of, terms_columns, terms_of
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.store.port import OrderChange

Columns = dict[str, Any]

ORDER_COLUMNS = (
    "order_id", "signal_id", "correlation_id", "causation_id", "broker", "account", "strategy_id", "instrument_id",
    "product", "instrument_token", "config_revision", "side", "quantity", "order_type", "validity",
    "limit_price", "trigger_price", "stop_loss", "target", "trail", "trigger_pending", "protective", "effect", "valid_until",
    "status", "revision", "filled", "turnover", "charges", "failure", "message", "market_time",
)  # fmt: skip
CHANGING_COLUMNS = (
    "causation_id", "side", "quantity", "limit_price", "trigger_price", "trigger_pending", "effect", "status", "revision",
    "filled", "turnover", "charges", "failure", "message", "market_time",
)  # fmt: skip
INTENT_COLUMNS = (
    "intent_id", "order_id", "number", "tag", "quantity", "status", "epoch", "broker_order_id", "filled"
)  # fmt: skip


def key_columns(key: PositionKey) -> Columns:
    """The columns of a position key."""
    return {
        "broker": key.broker,
        "account": key.account,
        "strategy_id": key.strategy_id,
        "instrument_id": key.instrument_id,
        "product": int(key.product),
    }


def order_rows(changes: Sequence[OrderChange]) -> list[Columns]:
    """Rows of trading.orders. The column `account_revision` holds the version that the stored row must still have."""
    return [_order_row(change.order) for change in changes]


def _order_row(order: Order) -> Columns:
    return key_columns(order.key) | {
        "order_id": order.order_id,
        "signal_id": order.signal_id,
        "correlation_id": order.correlation_id,
        "causation_id": order.causation_id,
        "instrument_token": order.instrument_token,
        "config_revision": order.config_revision,
        "side": int(order.side),
        "quantity": order.quantity,
        **terms_columns(order.terms),
        **protection_columns(order.protection),
        "trigger_pending": order.trigger_pending,
        "protective": order.protective,
        "effect": int(order.effect),
        "valid_until": order.valid_until,
        "status": int(order.status),
        "revision": order.revision,
        "filled": order.filled,
        "turnover": order.turnover,
        "charges": order.charges,
        "failure": None if order.failure is None else int(order.failure),
        "message": order.message,
        "market_time": order.market_time,
        "account_revision": order.version,
    }


def intent_rows(changes: Sequence[OrderChange]) -> list[Columns]:
    """Rows of trading.intents: all intents of the orders."""
    return [_intent_row(change.order, intent) for change in changes for intent in change.order.intents]


def _intent_row(order: Order, intent: Intent) -> Columns:
    return {
        "intent_id": intent.intent_id,
        "order_id": order.order_id,
        "number": intent.number,
        "tag": intent.tag,
        "quantity": intent.quantity,
        "status": int(intent.status),
        "epoch": intent.epoch,
        "broker_order_id": intent.broker_order_id,
        "filled": intent.filled,
    }


def fill_rows(changes: Sequence[OrderChange]) -> list[Columns]:
    """Rows of trading.fills: the new fills of the orders."""
    return [
        {
            "fill_id": fill.fill_id,
            "order_id": change.order.order_id,
            "exchange_trade_id": fill.exchange_trade_id,
            "quantity": fill.quantity,
            "price": fill.price,
            "commission": fill.commission,
            "traded_at": fill.traded_at,
        }
        for change in changes
        for fill in change.fills
    ]


def order_from(row: Row[Any]) -> Order:
    """The order of a row of trading.orders that comes with its `intents` (JSON, ordered by number) and `fill_ids`."""
    return Order(
        order_id=str(row.order_id),
        signal_id=str(row.signal_id),
        correlation_id=row.correlation_id,
        causation_id=row.causation_id,
        key=PositionKey(row.broker, row.account, row.strategy_id, row.instrument_id, Product(row.product)),
        instrument_token=row.instrument_token,
        config_revision=row.config_revision,
        side=Side(row.side),
        quantity=row.quantity,
        terms=terms_of(row),
        effect=PositionEffect(row.effect),
        valid_until=row.valid_until,
        status=OrderStatus(row.status),
        intents=[
            Intent(
                str(row.order_id),
                intent["number"],
                intent["quantity"],
                OrderStatus(intent["status"]),
                intent["epoch"],
                intent["broker_order_id"],
                intent["filled"],
            )
            for intent in row.intents or ()
        ],
        revision=row.revision,
        filled=row.filled,
        turnover=row.turnover,
        charges=row.charges,
        failure=None if row.failure is None else FailureReason(row.failure),
        message=row.message,
        market_time=row.market_time,
        fill_ids={str(fill_id) for fill_id in row.fill_ids or ()},
        protection=protection_of(row),
        trigger_pending=row.trigger_pending,
        protective=row.protective,
        version=row.account_revision,
    )
