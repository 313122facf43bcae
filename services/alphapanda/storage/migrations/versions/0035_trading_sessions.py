"""Sessions at brokers: who is signed in to an account, until when."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE auth.broker_accounts (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            revision bigint NOT NULL CHECK (revision > 0),
            broker_user_id text NOT NULL,
            PRIMARY KEY (broker, account)
        )"""
    )
    op.execute(
        """
        CREATE TABLE auth.trading_sessions (
            session_id uuid PRIMARY KEY,
            number bigint GENERATED ALWAYS AS IDENTITY,
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            revision bigint NOT NULL CHECK (revision > 0),
            state smallint NOT NULL CHECK (state BETWEEN 2 AND 6),
            login_id uuid NOT NULL UNIQUE,
            broker_user_id text NOT NULL,
            sealed_token bytea NOT NULL,
            opened_at timestamptz NOT NULL,
            opened_by text NOT NULL,
            valid_until timestamptz NOT NULL,
            ended_at timestamptz,
            ended_because text NOT NULL DEFAULT '',
            CHECK ((ended_at IS NULL) = (state = 2)),
            CHECK ((ended_at IS NULL) = (ended_because = '')),
            CHECK ((ended_at IS NULL) = (sealed_token <> ''::bytea))
        )"""
    )
    op.execute("CREATE UNIQUE INDEX trading_sessions_newest ON auth.trading_sessions (number)")
    op.execute("CREATE INDEX trading_sessions_of_account ON auth.trading_sessions (broker, account, number)")
    op.execute(
        "CREATE UNIQUE INDEX trading_sessions_live ON auth.trading_sessions (broker, account) WHERE ended_at IS NULL"
    )
    op.execute("CREATE INDEX trading_sessions_over ON auth.trading_sessions (valid_until)")
