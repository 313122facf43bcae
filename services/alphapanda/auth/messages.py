"""Users, roles and sessions as messages of the contract."""

from __future__ import annotations

from alphapanda.auth.core.sessions import Session
from alphapanda.auth.core.users import Role, User
from alphapanda.auth.issuing import number
from alphapanda.auth.store.postgres import StoredRevocation
from alphapanda.contract.wire import timestamp
from panda.auth.v1 import auth_pb2 as api


def user_message(user: User) -> api.User:
    """A user, without the password's hash."""
    return api.User(
        user_name=user.name,
        kind=api.UserKind.ValueType(user.kind),
        roles=user.roles,
        disabled=user.disabled,
        created_at=timestamp(user.created_at),
        created_by=user.created_by,
        changed_at=timestamp(user.changed_at),
    )


def role_message(role: Role) -> api.Role:
    """A role."""
    return api.Role(
        role=role.name,
        description=role.description,
        permissions=[number(name) for name in role.permissions],
        changed_at=timestamp(role.changed_at),
        changed_by=role.changed_by,
    )


def session_message(session: Session) -> api.Session:
    """A session, without its tokens."""
    return api.Session(
        session_id=session.session_id,
        user_name=session.user_name,
        created_at=timestamp(session.created_at),
        refreshed_at=timestamp(session.refreshed_at),
        expires_at=timestamp(session.expires_at),
        address=session.address,
        client=session.client,
        ended_at=timestamp(session.ended_at),
        ended_because=session.ended_because,
    )


def revocation_message(stored: StoredRevocation) -> api.Revocation:
    """A revocation."""
    one = stored.revocation
    made = api.Revocation(
        number=stored.number,
        session_id=one.session_id,
        user_name=one.subject,
        below_generation=one.below_generation,
        refreshable=one.refreshable,
    )
    made.forget_at.FromSeconds(int(one.forget_at) + 1)
    return made
