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
    column("product", SmallInteger),
    column("signal_ttl_seconds", Integer, CheckConstraint("signal_ttl_seconds > 0")),
    Column("flattens", JSONB(none_as_null=True)),
    column("note", Text),
    column("changed_by", Text),
    column("changed_at", INSTANT),
)

# The revision of each strategy that is current, and its state once more, to list by.
STRATEGIES = Table(
    "strategies",
    METADATA,
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger),
    column("state", SmallInteger),
    _revision_key(),
)

# A revision is in effect on a partition from next_offset on (rule 11).
ACTIVATIONS = Table(
    "activations",
    METADATA,
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger, primary_key=True),
    column("partition", Integer, primary_key=True),
    column("next_offset", BigInteger),
    _revision_key(),
)

# The state of a revision after all ticks below next_offset, whose signals the log has acknowledged; `missing` counts
# the ticks or bars that its warm-up still lacks.
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

# The epoch rises with each take-over of a partition: its earlier owner stores nothing any more.
PARTITION_OWNERS = Table(
    "partition_owners",
    METADATA,
    column("partition", Integer, primary_key=True, autoincrement=False),
    column("epoch", BigInteger, CheckConstraint("epoch > 0")),
)

# Order events that strategies were given before the ticks at next_offset, since the snapshots.
ORDER_INPUTS = Table(
    "order_inputs",
    METADATA,
    column("seq", BigInteger, Identity(always=True), primary_key=True),
    column("partition", Integer),
    column("next_offset", BigInteger),
    column("event", LargeBinary),
    Index("order_inputs_place", "partition", "next_offset", "seq"),
)

# How far the order topics were read for a partition: [[topic, partition, offset], …].
INPUT_POSITIONS = Table(
    "input_positions",
    METADATA,
    column("partition", Integer, primary_key=True, autoincrement=False),
    column("positions", JSONB),
)
