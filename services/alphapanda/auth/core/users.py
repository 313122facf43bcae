"""Users, and the roles that say what they may do. Permissions are names of the contract, such as "READ"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

from alphapanda.domain.errors import InvalidInput, UnknownName

INTERNAL: Final = "INTERNAL"
MANAGE_USERS: Final = "MANAGE_USERS"
RESERVED: Final = frozenset({"anonymous", "local", "public"})
"""Callers that are no users."""
MOST_USERS: Final = 10_000
MOST_ROLES: Final = 100


class UserKind(IntEnum):
    """Who a user is; the contract's numbers."""

    PERSON = 1
    SERVICE = 2


@dataclass(frozen=True, slots=True)
class User:
    """A person or a service account.

    Attributes:
        name: name of the user.
        kind: person or service account.
        roles: names of its roles, sorted.
        disabled: whether it can't sign in and no token of it counts.
        generation: rises with each change that makes older tokens stale.
        password_hash: of a person, by argon2; empty for a service account.
        created_at: wall time, aware.
        created_by: identity of who created it.
        changed_at: wall time, aware.
    """

    name: str
    kind: UserKind
    roles: tuple[str, ...]
    disabled: bool
    generation: int
    password_hash: str = field(repr=False)
    created_at: datetime
    created_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Role:
    """What a role permits.

    Attributes:
        name: name of the role.
        description: what it is for, one sentence.
        permissions: names of permissions, sorted.
        changed_at: wall time, aware.
        changed_by: identity of who changed it last.
    """

    name: str
    description: str
    permissions: tuple[str, ...]
    changed_at: datetime
    changed_by: str


def permissions_of(user: User, roles: Iterable[Role]) -> tuple[str, ...]:
    """What a user may do: all that its roles permit. Calls between services are for service accounts alone."""
    of_roles = {one for role in roles if role.name in user.roles for one in role.permissions}
    return tuple(sorted(of_roles - ({INTERNAL} if user.kind is UserKind.PERSON else set())))


def check_roles(names: Iterable[str], kind: UserKind, known: Iterable[Role]) -> tuple[str, ...]:
    """Returns the names sorted.

    Raises:
        UnknownName: there is no such role.
        InvalidInput: a person would get a role for calls between services.
    """
    by_name = {role.name: role for role in known}
    for name in names:
        role = by_name.get(name)
        if role is None:
            raise UnknownName("roles", name, by_name)
        if kind is UserKind.PERSON and INTERNAL in role.permissions:
            raise InvalidInput("roles", name, "for service accounts alone: it permits calls between services")
    return tuple(sorted(names))


def check_name(name: str) -> None:
    """Refuses a name that stands for callers who are no users.

    Raises:
        InvalidInput: the name is reserved.
    """
    if name in RESERVED:
        raise InvalidInput("user_name", name, f"any other name: {', '.join(sorted(RESERVED))} are reserved")
