"""Tables as SQLAlchemy metadata: the types they share, and the tables that every service's schema has.

A schema's own tables are declared in its room (`store/tables.py`) on the metadata that `service_tables` returns. A
migration is still written by hand; tests/integration/storage/test_tables.py finds where the two differ.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

RUPEES: Final = Numeric(24, 4)
EXACT: Final = Numeric()
"""NUMERIC without a scale: keeps every digit it is given."""
INSTANT: Final = DateTime(timezone=True)
SORTED_TEXT: Final = Text(collation="C")
"""Text that sorts by code point, as Python and the page tokens do."""


def column(
    name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any], *constraints: Any, **options: Any
) -> Column[Any]:
    """A column that is NOT NULL unless `nullable=True` is given; otherwise SQLAlchemy's Column."""
    return Column(name, kind, *constraints, **{"nullable": False} | options)


def service_tables(schema: str) -> MetaData:
    """The metadata of a service's schema, with its outbox and its remembered requests."""
    metadata = MetaData(schema=schema)
    outbox = Table(
        "outbox",
        metadata,
        column("seq", BigInteger, Identity(always=True), primary_key=True),
        column("event_id", Uuid, unique=True),
        column("topic", Text),
        column("partition", Integer),
        column("key", LargeBinary),
        column("value", LargeBinary),
        column("event_type", Text),
        column("source", Text),
        column("occurred_at", INSTANT),
        column("published_at", INSTANT, nullable=True),
        column("traceparent", Text, server_default=""),
    )
    Index("outbox_unpublished", outbox.c.seq, postgresql_where=text("published_at IS NULL"))
    Index("outbox_published", outbox.c.published_at, postgresql_where=text("published_at IS NOT NULL"))
    add_requests(metadata)
    return metadata


def add_requests(metadata: MetaData) -> None:
    """Declares the table of remembered requests."""
    Table(
        "requests",
        metadata,
        column("caller", Text, primary_key=True),
        column("method", Text, primary_key=True),
        column("request_id", Text, primary_key=True),
        column("body", LargeBinary),
        column("answer", LargeBinary, server_default=""),
        column("received_at", INSTANT, server_default=func.now()),
        Index("requests_received", "received_at"),
    )


def add_parking(metadata: MetaData) -> None:
    """Declares the tables of parked keys and their records, for a service that money moves through."""
    Table(
        "parked_keys",
        metadata,
        column("consumer", Text),
        column("topic", Text),
        column("partition", Integer),
        column("key", LargeBinary),
        column("parked_at", INSTANT, server_default=func.now()),
        PrimaryKeyConstraint("consumer", "topic", "partition", "key"),
    )
    place = ["consumer", "topic", "partition", "key"]
    Table(
        "parked_records",
        metadata,
        column("consumer", Text),
        column("topic", Text),
        column("partition", Integer),
        column("log_offset", BigInteger),
        column("key", LargeBinary),
        column("value", LargeBinary),
        column("header_names", ARRAY(Text)),
        column("header_values", ARRAY(LargeBinary)),
        column("appended_at_ns", BigInteger),
        PrimaryKeyConstraint("consumer", "topic", "partition", "log_offset"),
        ForeignKeyConstraint(place, [f"{metadata.schema}.parked_keys.{name}" for name in place]),
        Index("parked_records_key", *place, "log_offset"),
    )
