"""Brokers that a person has switched off or on while everything ran."""

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE trading.broker_routing (
            broker text PRIMARY KEY,
            switched_on boolean NOT NULL,
            changed_by text NOT NULL,
            reason text NOT NULL,
            changed_at timestamptz NOT NULL
        )"""
    )
