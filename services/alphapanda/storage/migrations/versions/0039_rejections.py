"""A broker's rejections in a row, in an instrument as a product."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE risk.rejections (
            broker text NOT NULL,
            account text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            day date NOT NULL,
            in_a_row integer NOT NULL CHECK (in_a_row >= 0),
            message text NOT NULL,
            PRIMARY KEY (broker, account, instrument_id, product)
        )"""
    )
