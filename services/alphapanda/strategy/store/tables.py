"""Tables of the schema `strategy`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from alphapanda.storage.tables import INSTANT, SORTED_TEXT, column, service_tables

METADATA = service_tables("strategy")


def _revision_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["strategy_id", "revision"], ["strategy.revisions.strategy_id", "strategy.revisions.revision"]
    )


REVISIONS = Table(
    "revisions",
    METADATA,
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger, CheckConstraint("revision > 0"), primary_key=True),
    column("state", SmallInteger, CheckConstraint("state IN (1, 2, 3)")),
    column("strategy_type", Text),
    column("parameters", JSONB),
    column("instruments", JSONB),
    column("brokers", ARRAY(Text)),
    column("account", Text),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("size", Text, server_default=""),
    column("product", SmallInteger),
    column("signal_ttl_seconds", Integer, CheckConstraint("signal_ttl_seconds > 0")),
    Column("flattens", JSONB(none_as_null=True)),
    column("note", Text),
    column("changed_by", Text),
    column("changed_at", INSTANT),
)

# The current revision of each strategy; its state is repeated here to filter lists by it.
STRATEGIES = Table(
    "strategies",
    METADATA,
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger),
    column("state", SmallInteger),
    _revision_key(),
)

# A revision takes effect on a partition at next_offset.
ACTIVATIONS = Table(
    "activations",
    METADATA,
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger, primary_key=True),
    column("partition", Integer, primary_key=True),
    column("next_offset", BigInteger),
    _revision_key(),
)

# The state of a revision after all records below next_offset, whose signals the log has acknowledged. missing: ticks or bars
# that its warm-up still lacks.
SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("partition", Integer, primary_key=True),
    column("next_offset", BigInteger),
    column("revision", BigInteger),
    column("state", LargeBinary),
    column("missing", Integer, CheckConstraint("missing >= 0"), server_default=text("0")),
    column("stored_at", INSTANT, server_default=func.now()),
    _revision_key(),
    Index("snapshots_of_partition", "partition", "next_offset"),
)

# Each take-over of a partition raises its epoch, so that the previous owner can't store anything any more.
PARTITION_OWNERS = Table(
    "partition_owners",
    METADATA,
    column("partition", Integer, primary_key=True, autoincrement=False),
    column("epoch", BigInteger, CheckConstraint("epoch > 0")),
)

# Order events that were applied before the record at next_offset, since the snapshots.
ORDER_INPUTS = Table(
    "order_inputs",
    METADATA,
    column("seq", BigInteger, Identity(always=True), primary_key=True),
    column("partition", Integer),
    column("next_offset", BigInteger),
    column("event", LargeBinary),
    Index("order_inputs_place", "partition", "next_offset", "seq"),
)

# The offsets up to which the order topics were read for a partition: [[topic, partition, offset], …].
INPUT_POSITIONS = Table(
    "input_positions",
    METADATA,
    column("partition", Integer, primary_key=True, autoincrement=False),
    column("positions", JSONB),
)
