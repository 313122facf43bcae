"""A strategy's full position may be a size in rupees or percent instead of units."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE strategy.revisions ADD COLUMN size text NOT NULL DEFAULT ''")
