"""Tables of the schema `risk`; enums are stored as the contract's numbers."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from alphapanda.storage.order_terms import terms_of_order
from alphapanda.storage.tables import INSTANT, RUPEES, add_parking, column, service_tables

METADATA = service_tables("risk")
add_parking(METADATA)

# One row an account, which a decision locks. version rises with every change stored on the account, limits_version with every
# change of its limits (0: none was ever set). starting_cash: NULL at a live broker, or where it is unknown. realised: profit
# less charges since the opening. margin and blocked: the sums of the positions'. armed_day: the exchange's day on which a
# live account takes entries; NULL where it isn't armed. arming_…: who armed or disarmed it last, why and when.
ACCOUNTS = Table(
    "accounts",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("limits_version", BigInteger, server_default=text("0")),
    column("version", BigInteger, server_default=text("0")),
    Column("starting_cash", RUPEES),
    column("realised", RUPEES, server_default=text("0")),
    column("margin", RUPEES, server_default=text("0")),
    column("blocked", RUPEES, server_default=text("0")),
    Column("armed_day", Date),
    column("arming_changed_by", Text, server_default=""),
    column("arming_reason", Text, server_default=""),
    Column("arming_changed_at", INSTANT),
    column("halts_revision", BigInteger, server_default=text("0")),
)

# Instruments in which entries are refused, because the broker's books differ from ours; replaced as a whole.
INSTRUMENT_HALTS = Table(
    "instrument_halts",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("instrument_id", Text, primary_key=True),
    column("reason", Text),
)

# Orders as order events report them; an order that is not final is the reservation of its position key.
ORDERS = Table(
    "orders",
    METADATA,
    column("signal_id", Uuid, primary_key=True),
    column("broker", Text),
    column("account", Text),
    column("strategy_id", Text),
    column("instrument_id", Text),
    column("product", SmallInteger),
    column("side", SmallInteger),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("filled", BigInteger),
    column("revision", Integer, CheckConstraint("revision >= 0")),
    column("final", Boolean),
    column("value", RUPEES, server_default=text("0")),
    column("charges", RUPEES, server_default=text("0")),
    column("rests", Boolean, server_default=text("false")),
    CheckConstraint("filled BETWEEN 0 AND quantity"),
)

# waiting: the serialised TradingSignal event of the target that waits for the end of the open order. A held position with
# cost 0 was stored before costs were: its cost is unknown.
POSITIONS = Table(
    "positions",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("strategy_id", Text, primary_key=True),
    column("instrument_id", Text, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("quantity", BigInteger),
    Column("opened_at", INSTANT),
    Column("open_signal_id", Uuid, ForeignKey(ORDERS.c.signal_id)),
    Column("waiting_signal_id", Uuid, unique=True),
    Column("waiting", LargeBinary),
    column("cost", RUPEES, server_default=text("0")),
    column("round_trip", RUPEES, server_default=text("0")),
    column("losses", Integer, CheckConstraint("losses >= 0"), server_default=text("0")),
    Column("lost_at", INSTANT),
    column("last_request", Text, server_default=""),
    Column("last_request_at", INSTANT),
    column("margin", RUPEES, server_default=text("0")),
    column("blocked", RUPEES, server_default=text("0")),
    CheckConstraint("(waiting IS NULL) = (waiting_signal_id IS NULL)"),
    CheckConstraint("waiting IS NULL OR open_signal_id IS NOT NULL"),
    Index("positions_held", "broker", "product", postgresql_where=text("quantity <> 0")),
    Index(
        "positions_alive",
        "broker",
        "account",
        postgresql_where=text("quantity <> 0 OR open_signal_id IS NOT NULL"),
    ),
    Index("positions_open", "broker", "open_signal_id", postgresql_where=text("open_signal_id IS NOT NULL")),
)

# One raw signal, one verdict. rules: [[name, outcome, limit, observed, message], …].
VERDICTS = Table(
    "verdicts",
    METADATA,
    column("signal_id", Uuid, primary_key=True),
    column("number", BigInteger, Identity(always=True)),
    column("correlation_id", Text),
    column("broker", Text),
    column("account", Text),
    column("strategy_id", Text),
    column("instrument_id", Text),
    column("product", SmallInteger),
    column("instrument_token", BigInteger),
    column("config_revision", BigInteger),
    column("approved", Boolean),
    column("reason", Text),
    column("message", Text),
    Column("side", SmallInteger),
    Column("quantity", BigInteger),
    Column("order_type", SmallInteger),
    *terms_of_order(),
    Column("effect", SmallInteger),
    Column("valid_until", INSTANT),
    Column("decided_at", INSTANT),
    column("rules", JSONB),
    column("stored_at", INSTANT, server_default=func.now()),
    column(
        "largest_quantity", BigInteger, CheckConstraint("largest_quantity >= 0"), server_default=text("0")
    ),
    CheckConstraint("approved = (quantity IS NOT NULL)"),
    Index("verdicts_newest", "number", unique=True),
    Index("verdicts_of_correlation", "correlation_id", "number"),
    Index("verdicts_of_strategy", "strategy_id", "number"),
    Index("verdicts_of_instrument", "instrument_id", "number"),
    Index("verdicts_refused", "broker", "account", "number", postgresql_where=text("NOT approved")),
    Index("verdicts_decided", "decided_at"),
)

# With empty account and strategy it is the broker's switch. An account's switch is set by its daily loss. changes, in the
# broker's row: how often the broker's or a strategy's switch has changed; decisions compare it.
KILL_SWITCHES = Table(
    "kill_switches",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True, server_default=""),
    column("strategy_id", Text, primary_key=True, server_default=""),
    column("state", SmallInteger),
    column("revision", BigInteger),
    column("changed_by", Text),
    column("reason", Text),
    Column("changed_at", INSTANT),
    column("changes", BigInteger, server_default=text("0")),
)

# Brokers that are halted since a repair or a restore, until their orders, positions and cash were reconciled; then the
# broker's own kill switch gets back its state of before.
RECONCILIATIONS = Table(
    "reconciliations",
    METADATA,
    column("broker", Text, primary_key=True),
    column("cause", Text),
    column("state_before", SmallInteger),
    column("due_since", INSTANT),
)

# A change is a row; the newest of each name at a scope is in force. An empty strategy_id or instrument_id means any.
# value: as UpdateLimits takes it, NULL where the limit was cleared.
LIMITS = Table(
    "limits",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("strategy_id", Text, primary_key=True),
    column("instrument_id", Text, primary_key=True),
    column("name", Text, primary_key=True),
    column("version", BigInteger, CheckConstraint("version > 0"), primary_key=True),
    Column("value", Text),
    column("author", Text),
    column("reason", Text),
    column("changed_at", INSTANT),
)

# A broker's rejections in a row, of all strategies of an account; day: the exchange's, of the last one.
REJECTIONS = Table(
    "rejections",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("instrument_id", Text, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("day", Date),
    column("in_a_row", Integer, CheckConstraint("in_a_row >= 0")),
    column("message", Text),
)

# Counters of an exchange's day; strategy_id '' is the account as a whole. recent: market times of the orders approved
# within the window of the order rate.
DAYS = Table(
    "days",
    METADATA,
    column("broker", Text, primary_key=True),
    column("account", Text, primary_key=True),
    column("strategy_id", Text, primary_key=True),
    column("day", Date),
    column("trades", Integer, CheckConstraint("trades >= 0")),
    column("realised", RUPEES),
    column("tripped", Text),
    column("recent", ARRAY(INSTANT)),
    column("charges", RUPEES, server_default=text("0")),
)
