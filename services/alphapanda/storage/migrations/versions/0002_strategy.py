"""Schema of strategy."""

from alphapanda.storage.migrations.service_tables import create_service_schema, drop_service_schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "strategy"


def upgrade() -> None:
    create_service_schema(SCHEMA)


def downgrade() -> None:
    drop_service_schema(SCHEMA)
