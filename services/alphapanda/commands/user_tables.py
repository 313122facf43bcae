"""Users, roles and sessions as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import RenderableType

from alphapanda.commands.tables import row, table
from alphapanda.commands.wording import market_moment, shown_time, word
from panda.auth.v1.auth_pb2 import Role, Session, User
from panda.options.v1.options_pb2 import Permission

ENDS: Final = "%d %b %Y %H:%M:%S"
"""With the year, because a service account's token may be valid for one."""


def permission_names(permissions: Iterable[int]) -> list[str]:
    """Names of permissions, such as "READ"; those that this program doesn't know as numbers."""
    known = Permission.DESCRIPTOR.values_by_number
    return [known[one].name.removeprefix("PERMISSION_") if one in known else str(one) for one in permissions]


def users_table(users: Iterable[User]) -> RenderableType:
    """Users with their roles."""
    made = table("user", "kind", "", "state", "created", "by")
    made.columns[2].header = "roles"
    for user in users:
        state = "disabled" if user.disabled else ""
        created = shown_time(market_moment(user, "created_at"))
        row(made, user.user_name, word(user, "kind"), ", ".join(user.roles), state, created, user.created_by)
    return made


def roles_table(roles: Iterable[Role]) -> RenderableType:
    """Roles with what they permit."""
    made = table("role", "", "")
    made.columns[1].header, made.columns[2].header = "permits", "for"
    for role in roles:
        row(made, role.role, ", ".join(permission_names(role.permissions)), role.description)
    return made


def sessions_table(sessions: Iterable[Session], own: str = "") -> RenderableType:
    """Sessions, the newest first; `own`: the one that asks."""
    made = table("session", "user", "signed in", "refreshed", "until", "from", "client", "")
    for session in sessions:
        ended = f"ended {shown_time(market_moment(session, 'ended_at'))}: {session.ended_because}"
        note = ended if session.HasField("ended_at") else "this one" if session.session_id == own else ""
        row(
            made,
            session.session_id,
            session.user_name,
            *(shown_time(market_moment(session, name)) for name in ("created_at", "refreshed_at")),
            shown_time(market_moment(session, "expires_at"), ENDS),
            session.address,
            session.client,
            note,
        )
    return made
