"""The row of a broker's kill switch counts the changes of all switches of the broker."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE risk.kill_switches ADD COLUMN changes bigint NOT NULL DEFAULT 0")
