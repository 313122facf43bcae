"""No inbox: each service recognises a repeated event by a row of its own (order, verdict, fill), and none read it."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

SCHEMAS = ("instruments", "strategy", "risk", "trading", "portfolio")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(f"DROP TABLE {schema}.inbox")
