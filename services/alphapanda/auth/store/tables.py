"""Tables of the schema `auth`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from alphapanda.storage.tables import INSTANT, SORTED_TEXT, add_requests, column

METADATA = MetaData(schema="auth")
add_requests(METADATA)

# kind: the contract's number. password_hash: argon2's encoded hash, empty for a service account.
USERS = Table(
    "users",
    METADATA,
    column("user_name", SORTED_TEXT, primary_key=True),
    column("kind", SmallInteger, CheckConstraint("kind IN (1, 2)")),
    column("password_hash", Text),
    column("disabled", Boolean, server_default=text("false")),
    column("generation", BigInteger, server_default=text("1")),
    column("created_at", INSTANT),
    column("created_by", Text),
    column("changed_at", INSTANT),
    CheckConstraint("(password_hash <> '') = (kind = 1)"),
)

# permissions: names of the contract, such as READ.
ROLES = Table(
    "roles",
    METADATA,
    column("role", SORTED_TEXT, primary_key=True),
    column("description", Text),
    column("permissions", ARRAY(Text)),
    column("changed_at", INSTANT),
    column("changed_by", Text),
)

USER_ROLES = Table(
    "user_roles",
    METADATA,
    column("user_name", SORTED_TEXT, ForeignKey(USERS.c.user_name), primary_key=True),
    column("role", SORTED_TEXT, ForeignKey(ROLES.c.role), primary_key=True),
    Index("user_roles_role", "role"),
)

# No token is kept: those of a session are made of its row. rotation: number of the newest refresh token. request_id: of
# the Refresh that issued the newest tokens.
SESSIONS = Table(
    "sessions",
    METADATA,
    column("session_id", Uuid, primary_key=True),
    column("number", BigInteger, Identity(always=True)),
    column("user_name", SORTED_TEXT, ForeignKey(USERS.c.user_name)),
    column("created_at", INSTANT),
    column("refreshed_at", INSTANT),
    column("expires_at", INSTANT),
    column("rotation", Integer, CheckConstraint("rotation >= 0")),
    column("request_id", Text),
    column("address", Text),
    column("client", Text),
    Column("ended_at", INSTANT),
    column("ended_because", Text, server_default=""),
    CheckConstraint("(ended_at IS NULL) = (ended_because = '')"),
    Index("sessions_newest", "number", unique=True),
    Index("sessions_of_user", "user_name", "number"),
    Index("sessions_live", "user_name", "number", postgresql_where=text("ended_at IS NULL")),
    Index("sessions_over", "expires_at"),
)

# Of a session, or of a user: tokens of a generation below. Kept until no such token can be valid.
REVOCATIONS = Table(
    "revocations",
    METADATA,
    column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Uuid),
    column("user_name", Text, server_default=""),
    column("below_generation", BigInteger, server_default=text("0")),
    column("refreshable", Boolean, server_default=text("false")),
    column("forget_at", INSTANT),
    CheckConstraint("(session_id IS NULL) = (user_name <> '')"),
    Index("revocations_forgotten", "forget_at"),
)

# Accounts at brokers. revision: rises with each change of the account's session. broker_user_id: whose it is there.
BROKER_ACCOUNTS = Table(
    "broker_accounts",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
    column("broker_user_id", Text),
)

# Sessions at brokers. state: the contract's number. login_id: of the login that began it, so that none begins two.
# sealed_token: encrypted, and empty once the session was ended. One session of an account lives.
TRADING_SESSIONS = Table(
    "trading_sessions",
    METADATA,
    column("session_id", Uuid, primary_key=True),
    column("number", BigInteger, Identity(always=True)),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
    column("state", SmallInteger, CheckConstraint("state BETWEEN 2 AND 6")),
    column("login_id", Uuid, unique=True),
    column("broker_user_id", Text),
    column("sealed_token", LargeBinary),
    column("opened_at", INSTANT),
    column("opened_by", Text),
    column("valid_until", INSTANT),
    Column("ended_at", INSTANT),
    column("ended_because", Text, server_default=""),
    CheckConstraint("(ended_at IS NULL) = (state = 2)"),
    CheckConstraint("(ended_at IS NULL) = (ended_because = '')"),
    CheckConstraint("(ended_at IS NULL) = (sealed_token <> ''::bytea)"),
    Index("trading_sessions_newest", "number", unique=True),
    Index("trading_sessions_of_account", "broker", "account", "number"),
    Index(
        "trading_sessions_live", "broker", "account", unique=True, postgresql_where=text("ended_at IS NULL")
    ),
    Index("trading_sessions_over", "valid_until"),
)
