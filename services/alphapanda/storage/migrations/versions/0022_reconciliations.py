"""A broker that is halted after a repair or a restore is so until it was reconciled."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE risk.reconciliations (broker text PRIMARY KEY, cause text NOT NULL,"
        " state_before smallint NOT NULL, due_since timestamptz NOT NULL)"
    )
