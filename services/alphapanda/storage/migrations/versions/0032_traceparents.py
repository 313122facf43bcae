"""An outbox row keeps the context of the span that tells of its decision, so that what is published later stays under it."""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

SCHEMAS = ("instruments", "strategy", "risk", "trading", "portfolio")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(f"ALTER TABLE {schema}.outbox ADD COLUMN traceparent text NOT NULL DEFAULT ''")
