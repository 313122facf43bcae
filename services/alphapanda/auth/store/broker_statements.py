"""Statements of the store of sessions at brokers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import text

from alphapanda.storage.purging import Purge, oldest

_SESSION: Final = (
    "SELECT s.session_id, s.number, s.broker, s.account, s.revision, s.state, s.login_id, s.broker_user_id, s.sealed_token,"
    " s.opened_at, s.opened_by, s.valid_until, s.ended_at, s.ended_because FROM auth.trading_sessions s"
)

# Commands about sessions at brokers take turns, so that an account's revisions follow each other.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('auth.trading_sessions', 0))")
NEWEST = text(f"{_SESSION} WHERE s.broker = :broker AND s.account = :account ORDER BY s.number DESC LIMIT 1")
BY_LOGIN = text(f"{_SESSION} WHERE s.login_id = :login_id")
BY_ID = text(f"{_SESSION} WHERE s.session_id = :session_id")
OVER = text(f"{_SESSION} WHERE s.ended_at IS NULL AND s.valid_until <= :now ORDER BY s.number")
REVISIONS = text("SELECT broker, account, revision FROM auth.broker_accounts")
PAGE = text(
    f"{_SESSION} WHERE s.number < :before AND (:broker = '' OR s.broker = :broker)"
    " AND (:account = '' OR s.account = :account) ORDER BY s.number DESC LIMIT :limit"
)
ACCOUNT = text(
    "SELECT revision, broker_user_id FROM auth.broker_accounts WHERE broker = :broker AND account = :account"
)
SET_ACCOUNT = text(
    "INSERT INTO auth.broker_accounts (broker, account, revision, broker_user_id)"
    " VALUES (:broker, :account, :revision, :broker_user_id) ON CONFLICT (broker, account) DO UPDATE"
    " SET revision = excluded.revision, broker_user_id = excluded.broker_user_id"
)
ADD = text(
    "INSERT INTO auth.trading_sessions (session_id, broker, account, revision, state, login_id, broker_user_id, sealed_token,"
    " opened_at, opened_by, valid_until) VALUES (:session_id, :broker, :account, :revision, :state, :login_id,"
    " :broker_user_id, :sealed_token, :opened_at, :opened_by, :valid_until)"
)
END = text(
    "UPDATE auth.trading_sessions SET revision = :revision, state = :state, sealed_token = '', ended_at = :ended_at,"
    " ended_because = :ended_because WHERE session_id = :session_id"
)


def trading_sessions_purge(keep: timedelta) -> Purge:
    """Sessions that are over: who asks what traded when has looked by then."""
    return Purge(
        "auth.trading_sessions", oldest("auth.trading_sessions", "valid_until", "ended_at IS NOT NULL"), keep
    )
