"""Users, roles, sessions and revocations: who may call."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA auth")
    op.execute(
        """
        CREATE TABLE auth.requests (
            caller text NOT NULL,
            method text NOT NULL,
            request_id text NOT NULL,
            body bytea NOT NULL,
            answer bytea NOT NULL DEFAULT '',
            received_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (caller, method, request_id)
        )"""
    )
    op.execute("CREATE INDEX requests_received ON auth.requests (received_at)")
    op.execute(
        """
        CREATE TABLE auth.users (
            user_name text COLLATE "C" PRIMARY KEY,
            kind smallint NOT NULL CHECK (kind IN (1, 2)),
            password_hash text NOT NULL,
            disabled boolean NOT NULL DEFAULT false,
            generation bigint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL,
            created_by text NOT NULL,
            changed_at timestamptz NOT NULL,
            CHECK ((password_hash <> '') = (kind = 1))
        )"""
    )
    op.execute(
        """
        CREATE TABLE auth.roles (
            role text COLLATE "C" PRIMARY KEY,
            description text NOT NULL,
            permissions text[] NOT NULL,
            changed_at timestamptz NOT NULL,
            changed_by text NOT NULL
        )"""
    )
    op.execute(
        """
        CREATE TABLE auth.user_roles (
            user_name text COLLATE "C" NOT NULL REFERENCES auth.users (user_name),
            role text COLLATE "C" NOT NULL REFERENCES auth.roles (role),
            PRIMARY KEY (user_name, role)
        )"""
    )
    op.execute("CREATE INDEX user_roles_role ON auth.user_roles (role)")
    op.execute(
        """
        CREATE TABLE auth.sessions (
            session_id uuid PRIMARY KEY,
            number bigint GENERATED ALWAYS AS IDENTITY,
            user_name text COLLATE "C" NOT NULL REFERENCES auth.users (user_name),
            created_at timestamptz NOT NULL,
            refreshed_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            rotation integer NOT NULL CHECK (rotation >= 0),
            request_id text NOT NULL,
            address text NOT NULL,
            client text NOT NULL,
            ended_at timestamptz,
            ended_because text NOT NULL DEFAULT '',
            CHECK ((ended_at IS NULL) = (ended_because = ''))
        )"""
    )
    op.execute("CREATE UNIQUE INDEX sessions_newest ON auth.sessions (number)")
    op.execute("CREATE INDEX sessions_of_user ON auth.sessions (user_name, number)")
    op.execute("CREATE INDEX sessions_live ON auth.sessions (user_name, number) WHERE ended_at IS NULL")
    op.execute("CREATE INDEX sessions_over ON auth.sessions (expires_at)")
    op.execute(
        """
        CREATE TABLE auth.revocations (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            session_id uuid,
            user_name text NOT NULL DEFAULT '',
            below_generation bigint NOT NULL DEFAULT 0,
            refreshable boolean NOT NULL DEFAULT false,
            forget_at timestamptz NOT NULL,
            CHECK ((session_id IS NULL) = (user_name <> ''))
        )"""
    )
    op.execute("CREATE INDEX revocations_forgotten ON auth.revocations (forget_at)")
