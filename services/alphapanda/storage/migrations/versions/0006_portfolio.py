"""Schema of portfolio."""

from alphapanda.storage.migrations.service_tables import create_service_schema, drop_service_schema

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "portfolio"


def upgrade() -> None:
    create_service_schema(SCHEMA)


def downgrade() -> None:
    drop_service_schema(SCHEMA)
