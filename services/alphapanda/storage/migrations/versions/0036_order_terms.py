"""Orders at a limit or with a trigger, for the day or at once; and the protection that entries carry."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_TERMS = """
    ADD COLUMN validity smallint NOT NULL DEFAULT 1,
    ADD COLUMN limit_price numeric CHECK (limit_price > 0),
    ADD COLUMN trigger_price numeric CHECK (trigger_price > 0),
    ADD COLUMN stop_loss numeric CHECK (stop_loss > 0),
    ADD COLUMN target numeric CHECK (target > 0),
    ADD COLUMN trail numeric CHECK (trail > 0)"""


def upgrade() -> None:
    op.execute(f"ALTER TABLE risk.verdicts {_TERMS}")
    op.execute(
        f"ALTER TABLE trading.orders {_TERMS}, ADD COLUMN trigger_pending boolean NOT NULL DEFAULT false"
    )
