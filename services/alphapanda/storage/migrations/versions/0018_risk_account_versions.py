"""A version of each account, so that a decision can be stored by compare-and-set; indexes for what is asked of verdicts."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Grows by one with each decision on the account, and with each change of its limits.
    op.execute("ALTER TABLE risk.accounts ADD COLUMN version bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE risk.positions RENAME COLUMN wish TO last_request")
    op.execute("ALTER TABLE risk.positions RENAME COLUMN wished_at TO last_request_at")
    # The newest first, of one strategy, of one instrument, and of those refused (the live view asks each second).
    op.execute("CREATE INDEX verdicts_of_strategy ON risk.verdicts (strategy_id, number)")
    op.execute("CREATE INDEX verdicts_of_instrument ON risk.verdicts (instrument_id, number)")
    op.execute("CREATE INDEX verdicts_refused ON risk.verdicts (broker, account, number) WHERE NOT approved")
    op.execute("CREATE INDEX verdicts_decided ON risk.verdicts (decided_at)")
    op.execute(
        "CREATE INDEX positions_open ON risk.positions (broker, open_signal_id) WHERE open_signal_id IS NOT NULL"
    )
