"""Conversions of products, corporate actions and allocations are booked, each as an event of its own kind."""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE portfolio.adjustments (
            adjustment_id uuid PRIMARY KEY,
            order_id uuid NOT NULL,
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            strategy_id text COLLATE "C" NOT NULL,
            instrument_id text COLLATE "C" NOT NULL,
            product smallint NOT NULL,
            kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
            other_strategy_id text COLLATE "C" NOT NULL,
            other_product smallint NOT NULL,
            units bigint NOT NULL CHECK (units <> 0),
            cost numeric(24, 4) NOT NULL,
            adjusted_at timestamptz NOT NULL,
            correlation_id text NOT NULL,
            revision bigint NOT NULL,
            booked_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (broker, account, revision),
            FOREIGN KEY (broker, account) REFERENCES portfolio.accounts (broker, account)
        )"""
    )
    op.execute(
        "CREATE TRIGGER adjustments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON portfolio.adjustments"
        " FOR EACH STATEMENT EXECUTE FUNCTION portfolio.refuse_change()"
    )
    op.execute("ALTER TABLE portfolio.discrepancies DROP CONSTRAINT discrepancies_resolution_check")
    op.execute(
        "ALTER TABLE portfolio.discrepancies ADD CONSTRAINT discrepancies_resolution_check"
        " CHECK (resolution BETWEEN 0 AND 4)"
    )
