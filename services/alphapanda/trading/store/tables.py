"""Tables of the schema `trading`. Enums are stored as the contract's numbers."""

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
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from alphapanda.domain.order import OrderStatus
from alphapanda.storage.order_terms import prices_of_order, terms_of_order
from alphapanda.storage.tables import EXACT, INSTANT, add_parking, column, service_tables
from alphapanda.trading.core.order_change import ChangeStatus
from alphapanda.trading.core.protection_record import ProtectionState

UNRESOLVED: Final = f"status < {int(ChangeStatus.DONE)}"
"""Condition of changes that have not ended: the final statuses are the highest numbers, from DONE on."""
LIVE: Final = f"state < {int(ProtectionState.ENDED)}"
"""Condition of protections that have not ended."""
OPEN: Final = f"status < {int(OrderStatus.FILLED)}"
"""Condition of orders that have not ended: the final statuses are the highest numbers, from FILLED on."""
ABSENT_CONDITIONS: Final = (f"status = {int(OrderStatus.FAILED)}", "epoch > 0", "broker_order_id = ''")
"""Conditions of intents that ended as absent and were not found since; an epoch > 0 says that it may have been sent."""


def ended_short(of: str = "") -> str:
    """Condition of orders that the broker ended with units left; `of` is the table's alias with its dot."""
    statuses = f"{int(OrderStatus.CANCELLED)}, {int(OrderStatus.REJECTED)}"
    return f"{of}status IN ({statuses}) AND {of}filled < {of}quantity"


METADATA = service_tables("trading")
add_parking(METADATA)

# signal_id is unique: a signal has one order.
ORDERS = Table(
    "orders",
    METADATA,
    column("order_id", Uuid, primary_key=True),
    column("seq", BigInteger, Identity(always=True), unique=True),
    column("signal_id", Uuid, unique=True),
    column("correlation_id", Text),
    column("causation_id", Text),
    column("broker", Text),
    column("account", Text),
    column("strategy_id", Text),
    column("instrument_id", Text),
    column("product", SmallInteger),
    column("instrument_token", BigInteger),
    column("config_revision", BigInteger),
    column("side", SmallInteger),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("order_type", SmallInteger),
    *terms_of_order(),
    column("trigger_pending", Boolean, server_default=text("false")),
    column("protective", Boolean, server_default=text("false")),
    column("effect", SmallInteger),
    column("valid_until", INSTANT),
    column("status", SmallInteger),
    column("revision", Integer),
    column("filled", BigInteger),
    column("turnover", EXACT),
    column("charges", EXACT, server_default=text("0")),
    Column("failure", SmallInteger),
    column("message", Text),
    Column("market_time", INSTANT),
    column("created_at", INSTANT),
    column("account_revision", BigInteger, server_default=text("0")),
    CheckConstraint("filled BETWEEN 0 AND quantity"),
    Index("orders_open", "seq", postgresql_where=text(OPEN)),
    Index("orders_of_account", "broker", "account", "seq"),
    Index("orders_of_strategy", "strategy_id", "seq"),
    Index("orders_of_correlation", "correlation_id", "seq"),
    Index("orders_changed", "broker", "account", "account_revision"),
    Index("orders_ended_short", "created_at", postgresql_where=text(ended_short())),
)

# One broker call: one intent, one tag.
INTENTS = Table(
    "intents",
    METADATA,
    column("intent_id", Uuid, primary_key=True),
    column("order_id", Uuid, ForeignKey(ORDERS.c.order_id)),
    column("number", SmallInteger),
    column("tag", Text, unique=True),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("status", SmallInteger),
    column("epoch", BigInteger),
    column("broker_order_id", Text),
    column("filled", BigInteger),
    CheckConstraint("filled BETWEEN 0 AND quantity"),
    UniqueConstraint("order_id", "number"),
    Index("intents_given_up", "order_id", postgresql_where=text(" AND ".join(ABSENT_CONDITIONS))),
)

FILLS = Table(
    "fills",
    METADATA,
    column("fill_id", Uuid, primary_key=True),
    column("order_id", Uuid, ForeignKey(ORDERS.c.order_id)),
    column("exchange_trade_id", Text),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("price", EXACT, CheckConstraint("price > 0")),
    column("commission", EXACT),
    column("traded_at", INSTANT),
    Index("fills_of_order", "order_id"),
)

# A cancellation or modification: a row before its broker call. Terms: what a modification asks for; none of a cancellation.
ORDER_CHANGES = Table(
    "order_changes",
    METADATA,
    column("change_id", Uuid, primary_key=True),
    column("seq", BigInteger, Identity(always=True)),
    column("order_id", Uuid, ForeignKey(ORDERS.c.order_id)),
    column("kind", SmallInteger),
    column("requested_by", Text),
    column("reason", Text),
    column("quantity", BigInteger, CheckConstraint("quantity >= 0")),
    Column("order_type", SmallInteger),
    *prices_of_order(),
    column("status", SmallInteger),
    column("epoch", BigInteger),
    column("calls", SmallInteger),
    column("intent", SmallInteger),
    column("message", Text),
    column("created_at", INSTANT),
    Index("order_changes_unresolved", "order_id", postgresql_where=text(UNRESOLVED)),
    Index("order_changes_of_order", "order_id", "seq"),
)

# The protection of a position; its id is that of its first entry. stop_loss, target and trail are as asked for.
PROTECTIONS = Table(
    "protections",
    METADATA,
    column("order_id", Uuid, ForeignKey(ORDERS.c.order_id), primary_key=True),
    column("seq", BigInteger, Identity(always=True), unique=True),
    column("broker", Text),
    column("account", Text),
    column("strategy_id", Text),
    column("instrument_id", Text),
    column("product", SmallInteger),
    column("instrument_token", BigInteger),
    column("correlation_id", Text),
    column("side", SmallInteger),
    Column("stop_loss", EXACT),
    Column("target", EXACT),
    Column("trail", EXACT),
    Column("stop_trigger", EXACT),
    Column("best", EXACT),
    column("leaving", Text, server_default=""),
    column("attempts", Integer, server_default=text("0")),
    column("alarmed", Text, server_default=""),
    column("state", SmallInteger, server_default=text("1")),
    column("entries", ARRAY(Uuid)),
    Column("stop_order_id", Uuid),
    Column("exit_order_id", Uuid),
    column("stops", Integer, server_default=text("0")),
    column("exits", Integer, server_default=text("0")),
    Column("since", INSTANT),
    column("ended", Text, server_default=""),
    Column("ended_at", INSTANT),
    column("message", Text, server_default=""),
    column("created_at", INSTANT),
    Index("protections_live", "seq", postgresql_where=text(LIVE)),
    Index("protections_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    Index(
        "protections_in_force",
        *("broker", "account", "strategy_id", "instrument_id", "product"),
        unique=True,
        postgresql_where=text(f"state = {int(ProtectionState.ACTIVE)}"),
    ),
    Index("protections_of_position", "broker", "account", "strategy_id", "instrument_id", "product", "seq"),
    Index("protections_of_stop", "stop_order_id", postgresql_where=text("stop_order_id IS NOT NULL")),
    Index("protections_of_exit", "exit_order_id", postgresql_where=text("exit_order_id IS NOT NULL")),
)

POSITIONS = Table(
    "positions",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("strategy_id", Text, primary_key=True),
    column("instrument_id", Text, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("quantity", BigInteger),
)

# An account's revision counts the changes of its orders; watches continue from it.
ACCOUNTS = Table(
    "accounts",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
)

KILL_SWITCHES = Table(
    "kill_switches",
    METADATA,
    column("broker", Text, primary_key=True),
    column("strategy_id", Text, primary_key=True, server_default=""),
    column("state", SmallInteger),
    column("revision", BigInteger),
)

# Signals that never get an order, because trading has confirmed that to risk (ConfirmNoOrder).
TOMBSTONES = Table(
    "tombstones",
    METADATA,
    column("signal_id", Uuid, primary_key=True),
    column("buried_at", INSTANT),
    Index("tombstones_buried", "buried_at"),
)

# Brokers that a person has switched off or on while everything ran; one without a row is on.
BROKER_ROUTING = Table(
    "broker_routing",
    METADATA,
    column("broker", Text, primary_key=True),
    column("switched_on", Boolean),
    column("changed_by", Text),
    column("reason", Text),
    column("changed_at", INSTANT),
)

EPOCHS = Sequence("epochs", metadata=METADATA, schema="trading")
