"""Tables of the schema `paper_exchange`. It simulates a broker, so it has no outbox and no remembered requests."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from alphapanda.domain.broker_order import BrokerOrderStatus
from alphapanda.storage.tables import EXACT, INSTANT, column

HELD: Final = f"status = '{BrokerOrderStatus.OPEN.value}'"
"""Condition of orders that wait for a price; they have `came_at` and `expires_at`."""

METADATA = MetaData(schema="paper_exchange")

# The exchange's journal: every call it ever received, whatever its result.
CALLS = Table(
    "calls",
    METADATA,
    column("seq", BigInteger, Identity(always=True), primary_key=True),
    column("called_at", INSTANT, server_default=func.clock_timestamp()),
    column("broker", Text),
    column("account", Text),
    column("what", Text),
    column("tag", Text),
    column("broker_order_id", Text, server_default=""),
    Column("quantity", BigInteger),
    # When, by the market's time, and the prices of a modification.
    Column("market_time", INSTANT),
    Column("limit_price", EXACT),
    Column("trigger_price", EXACT),
    Index("calls_of_tag", "broker", "account", "tag"),
    Index("calls_look_ups", "called_at", postgresql_where=text("what = 'orders_by_tag'")),
)

# The tag is not unique: like Kite, the exchange accepts the same tag twice and makes two orders.
ORDERS = Table(
    "orders",
    METADATA,
    column("broker_order_id", BigInteger, Identity(always=True), primary_key=True),
    column("broker", Text),
    column("account", Text),
    column("tag", Text),
    column("instrument_id", Text),
    column("instrument_token", BigInteger),
    column("side", SmallInteger),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("product", SmallInteger),
    column("order_type", SmallInteger),
    column("validity", SmallInteger, server_default=text("1")),
    Column("limit_price", EXACT, CheckConstraint("limit_price > 0")),
    Column("trigger_price", EXACT, CheckConstraint("trigger_price > 0")),
    column("triggered", Boolean, server_default=text("false")),
    # Raised by each change, so that nobody changes what another process has changed meanwhile.
    column("revision", BigInteger, server_default=text("0")),
    column("status", Text),
    column("message", Text),
    Column("market_time", INSTANT),
    Column("came_at", INSTANT),
    Column("expires_at", INSTANT),
    # The day's volume when an order that waits last changed; what is traded from then on may fill it.
    Column("volume", BigInteger),
    # By what slippage is drawn where the order is held.
    column("strategy_id", Text, server_default=""),
    column("slice", Integer, server_default=text("0")),
    Index("orders_of_tag", "broker", "account", "tag"),
    Index("orders_held", "broker_order_id", postgresql_where=text(HELD)),
)

TRADES = Table(
    "trades",
    METADATA,
    column("exchange_trade_id", BigInteger, primary_key=True, autoincrement=False),
    column("broker_order_id", BigInteger, ForeignKey(ORDERS.c.broker_order_id)),
    column("fill_id", Uuid, unique=True),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("price", EXACT, CheckConstraint("price > 0")),
    column("commission", EXACT),
    column("traded_at", INSTANT),
    # The commission's lines; empty where only the sum is known.
    column("charges", Text, server_default=""),
    # The market's price that made it, and how the fill's price was found; unknown of trades before these columns.
    Column("market_price", EXACT),
    column("model", Text, server_default=""),
    Index("trades_of_order", "broker_order_id"),
)

TRADE_NUMBERS = Sequence("trade_numbers", metadata=METADATA, schema="paper_exchange")
