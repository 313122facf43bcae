"""Schema of paper_exchange."""

from alphapanda.storage.migrations.service_tables import create_service_schema, drop_service_schema

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "paper_exchange"


def upgrade() -> None:
    create_service_schema(SCHEMA)


def downgrade() -> None:
    drop_service_schema(SCHEMA)
