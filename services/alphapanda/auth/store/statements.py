"""Statements of auth's store."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import text

from alphapanda.storage.purging import Purge, oldest

SCHEMA: Final = "auth"

_USER = (
    "SELECT u.user_name, u.kind, u.password_hash, u.disabled, u.generation, u.created_at, u.created_by, u.changed_at,"
    " ARRAY(SELECT r.role FROM auth.user_roles r WHERE r.user_name = u.user_name ORDER BY r.role) AS roles FROM auth.users u"
)
_SESSION = (
    "SELECT session_id, number, user_name, created_at, refreshed_at, expires_at, rotation, request_id, address, client,"
    " ended_at, ended_because FROM auth.sessions"
)

# Commands take turns: a revocation's number then says in which order they were committed, and no two take away the last
# administrators together.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('auth', 0))")
USER = text(f"{_USER} WHERE u.user_name = :user_name")
USERS = text(f"{_USER} WHERE u.user_name > :after ORDER BY u.user_name LIMIT :limit")
USERS_OF_ROLE = text("SELECT user_name FROM auth.user_roles WHERE role = :role ORDER BY user_name")
ANY_PERSON = text("SELECT EXISTS (SELECT 1 FROM auth.users WHERE kind = 1)")
COUNT_USERS = text("SELECT count(*) FROM auth.users")
ADD_USER = text(
    "INSERT INTO auth.users (user_name, kind, password_hash, disabled, generation, created_at, created_by, changed_at)"
    " VALUES (:user_name, :kind, :password_hash, false, 1, :now, :by, :now)"
)
CHANGE_USER = text(
    "UPDATE auth.users SET password_hash = :password_hash, disabled = :disabled, generation = :generation,"
    " changed_at = :now WHERE user_name = :user_name"
)
SET_HASH = text("UPDATE auth.users SET password_hash = :password_hash WHERE user_name = :user_name")
TAKE_ROLES = text("DELETE FROM auth.user_roles WHERE user_name = :user_name")
GIVE_ROLES = text(
    "INSERT INTO auth.user_roles (user_name, role) SELECT :user_name, unnest(CAST(:roles AS text[]))"
)
ADMINISTRATORS = text(
    "SELECT EXISTS (SELECT 1 FROM auth.roles r JOIN auth.user_roles g USING (role) JOIN auth.users u USING (user_name)"
    " WHERE 'MANAGE_USERS' = ANY(r.permissions) AND NOT u.disabled AND u.kind = 1)"
)
ROLES = text("SELECT role, description, permissions, changed_at, changed_by FROM auth.roles ORDER BY role")
SET_ROLE = text(
    "INSERT INTO auth.roles (role, description, permissions, changed_at, changed_by)"
    " VALUES (:role, :description, CAST(:permissions AS text[]), :now, :by) ON CONFLICT (role) DO UPDATE SET"
    " description = excluded.description, permissions = excluded.permissions, changed_at = excluded.changed_at,"
    " changed_by = excluded.changed_by"
)
SESSION = text(f"{_SESSION} WHERE session_id = :session_id")
LIVE_SESSIONS = text(
    f"{_SESSION} WHERE user_name = :user_name AND ended_at IS NULL AND expires_at > :now ORDER BY number DESC"
)
SIGNED_IN_FROM = text(
    "SELECT EXISTS (SELECT 1 FROM auth.sessions WHERE user_name = :user_name AND address = :address)"
)
ADD_SESSION = text(
    "INSERT INTO auth.sessions (session_id, user_name, created_at, refreshed_at, expires_at, rotation, request_id, address,"
    " client) VALUES (:session_id, :user_name, :created_at, :refreshed_at, :expires_at, :rotation, :request_id, :address,"
    " :client) RETURNING number"
)
CHANGE_SESSION = text(
    "UPDATE auth.sessions SET refreshed_at = :refreshed_at, expires_at = :expires_at, rotation = :rotation,"
    " request_id = :request_id, address = :address, ended_at = :ended_at, ended_because = :ended_because"
    " WHERE session_id = :session_id"
)
REVOKE = text(
    "INSERT INTO auth.revocations (session_id, user_name, below_generation, refreshable, forget_at)"
    " VALUES (:session_id, :user_name, :below_generation, :refreshable, :forget_at)"
)
REVOCATIONS = text(
    "SELECT number, session_id, user_name, below_generation, refreshable, forget_at FROM auth.revocations"
    " WHERE number > :after AND forget_at > :now ORDER BY number LIMIT :limit"
)
# Every page of sessions: of all or of one user, ended ones or only those that live.
PAGES: Final = {
    (of_user, ended): text(
        f"{_SESSION} WHERE number < :before{' AND user_name = :user_name' if of_user else ''}"
        f"{'' if ended else ' AND ended_at IS NULL AND expires_at > :now'} ORDER BY number DESC LIMIT :limit"
    )
    for of_user in (False, True)
    for ended in (False, True)
}
REVOCATIONS_PURGE = Purge("auth.revocations", oldest("auth.revocations", "forget_at"))


def sessions_purge(keep: timedelta) -> Purge:
    """Sessions that are over: whoever asks who signed in from where has looked by then."""
    return Purge("auth.sessions", oldest("auth.sessions", "expires_at"), keep)
