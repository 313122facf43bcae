"""Schema of instruments."""

from alphapanda.storage.migrations.service_tables import create_service_schema, drop_service_schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "instruments"


def upgrade() -> None:
    create_service_schema(SCHEMA)


def downgrade() -> None:
    drop_service_schema(SCHEMA)
