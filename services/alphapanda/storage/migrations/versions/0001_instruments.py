"""Schema of instruments: what can be traded, and which token each had when."""

from alembic import op

from alphapanda.storage.migrations.service_tables import create_service_schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "instruments"


def upgrade() -> None:
    create_service_schema(SCHEMA)
    op.execute(
        """
        CREATE TABLE instruments.instruments (
            instrument_id text COLLATE "C" PRIMARY KEY,
            exchange text COLLATE "C" NOT NULL,
            tradingsymbol text COLLATE "C" NOT NULL,
            name text NOT NULL,
            segment text NOT NULL,
            instrument_type text NOT NULL,
            tick_size numeric NOT NULL CHECK (tick_size > 0),
            lot_size bigint NOT NULL CHECK (lot_size > 0),
            freeze_quantity bigint NOT NULL CHECK (freeze_quantity >= 0),
            session_segment text NOT NULL,
            expiry date
        )"""
    )
    op.execute(
        "CREATE INDEX instruments_listed ON instruments.instruments (exchange, tradingsymbol, instrument_id)"
    )
    # A token belongs to an instrument from from_day up to, not including, until_day; null: still (rule 13).
    op.execute(
        """
        CREATE TABLE instruments.token_assignments (
            assignment bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            instrument_id text COLLATE "C" NOT NULL REFERENCES instruments.instruments,
            instrument_token bigint NOT NULL CHECK (instrument_token BETWEEN 1 AND 4294967295),
            from_day date NOT NULL,
            until_day date CHECK (until_day >= from_day)
        )"""
    )
    op.execute(
        "CREATE UNIQUE INDEX token_assigned ON instruments.token_assignments (instrument_token)"
        " WHERE until_day IS NULL"
    )
    op.execute(
        "CREATE UNIQUE INDEX instrument_assigned ON instruments.token_assignments (instrument_id)"
        " WHERE until_day IS NULL"
    )
