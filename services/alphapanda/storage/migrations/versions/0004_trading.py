"""Schema of trading."""

from alphapanda.storage.migrations.service_tables import create_service_schema, drop_service_schema

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "trading"


def upgrade() -> None:
    create_service_schema(SCHEMA)


def downgrade() -> None:
    drop_service_schema(SCHEMA)
