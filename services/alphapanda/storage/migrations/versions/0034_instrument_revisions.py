"""Each instrument has the registry's revision that changed it last, so that running services ask for what is new."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE instruments.instruments ADD COLUMN revision bigint NOT NULL DEFAULT 1 CHECK (revision > 0)"
    )
    op.execute("ALTER TABLE instruments.instruments ALTER COLUMN revision DROP DEFAULT")
    op.execute("CREATE INDEX instruments_changed ON instruments.instruments (revision)")
