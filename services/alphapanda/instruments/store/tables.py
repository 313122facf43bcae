"""Tables of the schema `instruments`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Identity, Index, Table, Text, text

from alphapanda.storage.tables import EXACT, SORTED_TEXT, column, service_tables

METADATA = service_tables("instruments")

INSTRUMENTS = Table(
    "instruments",
    METADATA,
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("exchange", SORTED_TEXT),
    column("tradingsymbol", SORTED_TEXT),
    column("name", Text),
    column("segment", Text),
    column("instrument_type", Text),
    column("tick_size", EXACT, CheckConstraint("tick_size > 0")),
    column("lot_size", BigInteger, CheckConstraint("lot_size > 0")),
    column("freeze_quantity", BigInteger, CheckConstraint("freeze_quantity >= 0")),
    column("session_segment", Text),
    column("expiry", Date, nullable=True),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
    Index("instruments_listed", "exchange", "tradingsymbol", "instrument_id"),
    Index("instruments_changed", "revision"),
)

# A token belongs to an instrument on the days [from_day, until_day); until_day null: it still does.
TOKEN_ASSIGNMENTS = Table(
    "token_assignments",
    METADATA,
    column("assignment", BigInteger, Identity(always=True), primary_key=True),
    column("instrument_id", SORTED_TEXT, ForeignKey(INSTRUMENTS.c.instrument_id)),
    column("instrument_token", BigInteger, CheckConstraint("instrument_token BETWEEN 1 AND 4294967295")),
    column("from_day", Date),
    column("until_day", Date, CheckConstraint("until_day >= from_day"), nullable=True),
    Index("token_assigned", "instrument_token", unique=True, postgresql_where=text("until_day IS NULL")),
    Index("token_history", "instrument_token", "assignment"),
    Index("instrument_assigned", "instrument_id", unique=True, postgresql_where=text("until_day IS NULL")),
)
