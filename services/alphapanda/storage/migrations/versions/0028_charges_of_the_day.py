"""The daily loss counts charges."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE risk.days ADD COLUMN charges numeric(24, 4) NOT NULL DEFAULT 0")
