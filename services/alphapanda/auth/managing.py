"""Users, roles, sessions and service accounts, as administrators manage them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from alphapanda.auth.commands import AuthParts, existing, require_administrator
from alphapanda.auth.core.passwords import check_password
from alphapanda.auth.core.sessions import DISABLED, MOST_SESSIONS, PASSWORD_CHANGED, TOO_MANY, Session
from alphapanda.auth.core.users import (
    INTERNAL,
    MOST_ROLES,
    MOST_USERS,
    Role,
    User,
    UserKind,
    check_name,
    check_roles,
)
from alphapanda.auth.issuing import name_of
from alphapanda.auth.messages import role_message, session_message, user_message
from alphapanda.auth.store.postgres import AuthUnit
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.errors import AlreadyExists, FailedPrecondition, NotFound
from alphapanda.mesh.recording import record_change
from alphapanda.storage.requests import CommandKey
from panda.auth.v1 import auth_pb2 as api

REVOKED = "revoked"
_DAY = timedelta(days=1)


class Managing:
    """Implements the commands of administrators.

    Args:
        parts: what the commands share.
    """

    def __init__(self, parts: AuthParts) -> None:
        self._parts = parts

    async def create_user(self, caller: str, request: api.CreateUserRequest) -> api.CreateUserResponse:
        """Creates a person.

        Raises:
            InvalidInput: the name, the password or a role isn't allowed.
            AlreadyExists: there is a user of this name.
        """
        check_name(request.user_name)
        check_password("password", request.password, request.user_name)
        hashed = await self._parts.passwords.hashed(request.password)

        async def create(unit: AuthUnit) -> api.CreateUserResponse:
            user = await self._add(unit, request.user_name, UserKind.PERSON, hashed, request.roles, caller)
            return api.CreateUserResponse(user=user_message(user))

        key = CommandKey(caller, "CreateUser", request.request_id)
        return await self._parts.command(key, request, api.CreateUserResponse, create)

    async def set_roles(self, caller: str, request: api.SetRolesRequest) -> api.SetRolesResponse:
        """Sets all roles of a user.

        Raises:
            NotFound: there is no such user.
            InvalidInput: there is no such role, or it isn't for persons.
            FailedPrecondition: nobody could manage users any more.
        """

        async def change(unit: AuthUnit) -> api.SetRolesResponse:
            user = await existing(unit, request.user_name)
            roles = check_roles(request.roles, user.kind, await unit.roles())
            if roles == user.roles:
                return api.SetRolesResponse(user=user_message(user))
            there_was = await unit.has_administrator()
            after = await self._parts.roles_changed(unit, replace(user, roles=roles))
            record_change(user_message(user), user_message(after))
            await require_administrator(unit, there_was)
            return api.SetRolesResponse(user=user_message(after))

        key = CommandKey(caller, "SetRoles", request.request_id)
        return await self._parts.command(key, request, api.SetRolesResponse, change)

    async def set_password(self, caller: str, request: api.SetPasswordRequest) -> api.SetPasswordResponse:
        """Sets a person's password and ends all sessions of that person.

        Raises:
            NotFound: there is no such user.
            InvalidInput: the password may not be set.
            FailedPrecondition: it is a service account, which has none.
        """
        check_password("password", request.password, request.user_name)
        hashed = await self._parts.passwords.hashed(request.password)

        async def change(unit: AuthUnit) -> api.SetPasswordResponse:
            user = await existing(unit, request.user_name)
            if user.kind is not UserKind.PERSON:
                raise FailedPrecondition(
                    "NO_PASSWORD", f"{user.name} is a service account: it has tokens and no password"
                )
            after, _ = await self._parts.end_all(unit, replace(user, password_hash=hashed), PASSWORD_CHANGED)
            return api.SetPasswordResponse(user=user_message(after))

        key = CommandKey(caller, "SetPassword", request.request_id)
        answer = await self._parts.command(key, request, api.SetPasswordResponse, change)
        self._parts.waits.forgive(request.user_name)
        return answer

    async def set_disabled(
        self, caller: str, request: api.SetUserDisabledRequest
    ) -> api.SetUserDisabledResponse:
        """Disables a user, with all sessions, or enables one again.

        Raises:
            NotFound: there is no such user.
            FailedPrecondition: nobody could manage users any more.
        """

        async def change(unit: AuthUnit) -> api.SetUserDisabledResponse:
            user = await existing(unit, request.user_name)
            if user.disabled == request.disabled:
                return api.SetUserDisabledResponse(user=user_message(user))
            there_was = await unit.has_administrator()
            after, _ = await self._parts.end_all(unit, replace(user, disabled=request.disabled), DISABLED)
            record_change(user_message(user), user_message(after))
            await require_administrator(unit, there_was)
            return api.SetUserDisabledResponse(user=user_message(after))

        key = CommandKey(caller, "SetUserDisabled", request.request_id)
        return await self._parts.command(key, request, api.SetUserDisabledResponse, change)

    async def revoke_session(
        self, caller: str, request: api.RevokeSessionRequest
    ) -> api.RevokeSessionResponse:
        """Ends anybody's session.

        Raises:
            NotFound: there is none of this id.
        """

        async def end(unit: AuthUnit) -> api.RevokeSessionResponse:
            session = await unit.session(request.session_id)
            if session is None:
                raise NotFound(
                    "SESSION_NOT_FOUND",
                    f"there is no session {request.session_id}; `alphapanda users sessions` lists them",
                )
            if session.lives(self._parts.wall_clock()):
                user = await existing(unit, session.user_name)
                session = await self._parts.end(unit, user, session, request.reason or REVOKED)
            return api.RevokeSessionResponse(session=session_message(session))

        key = CommandKey(caller, "RevokeSession", request.request_id)
        return await self._parts.command(key, request, api.RevokeSessionResponse, end)

    async def create_account(
        self, caller: str, request: api.CreateServiceAccountRequest, address: str
    ) -> api.CreateServiceAccountResponse:
        """Creates a service account with its first token.

        Raises:
            InvalidInput: the name, a role or the number of days isn't allowed.
            AlreadyExists: there is a user of this name.
        """
        check_name(request.user_name)
        lasts = self._lasts(request.valid_days)

        async def create(unit: AuthUnit) -> api.CreateServiceAccountResponse:
            user = await self._add(unit, request.user_name, UserKind.SERVICE, "", request.roles, caller)
            session = await self._begin(unit, user, lasts, address)
            return api.CreateServiceAccountResponse(user=user_message(user), session=session_message(session))

        key = CommandKey(caller, "CreateServiceAccount", request.request_id)
        answer = await self._parts.command(key, request, api.CreateServiceAccountResponse, create)
        answer.tokens.CopyFrom(await self._tokens(answer.session.session_id))
        return answer

    async def create_token(
        self, caller: str, request: api.CreateServiceTokenRequest, address: str
    ) -> api.CreateServiceTokenResponse:
        """Another token for a service account.

        Raises:
            NotFound: there is no such account.
            InvalidInput: the number of days isn't allowed.
            FailedPrecondition: it is a person, or disabled.
        """
        lasts = self._lasts(request.valid_days)

        async def create(unit: AuthUnit) -> api.CreateServiceTokenResponse:
            user = await existing(unit, request.user_name)
            if user.kind is not UserKind.SERVICE:
                raise FailedPrecondition(
                    "NO_SERVICE_ACCOUNT", f"{user.name} is a person, who signs in: `alphapanda login`"
                )
            if user.disabled:
                raise FailedPrecondition("USER_DISABLED", f"{user.name} is disabled; enable it first")
            session = await self._begin(unit, user, lasts, address)
            return api.CreateServiceTokenResponse(session=session_message(session))

        key = CommandKey(caller, "CreateServiceToken", request.request_id)
        answer = await self._parts.command(key, request, api.CreateServiceTokenResponse, create)
        answer.tokens.CopyFrom(await self._tokens(answer.session.session_id))
        return answer

    async def set_role(self, caller: str, request: api.SetRoleRequest) -> api.SetRoleResponse:
        """Creates a role or changes what it permits.

        Raises:
            FailedPrecondition: nobody could manage users any more, or there are as many roles as may be.
            InvalidInput: persons have the role, and it would permit calls between services.
        """

        async def change(unit: AuthUnit) -> api.SetRoleResponse:
            roles = {role.name: role for role in await unit.roles()}
            before = roles.get(request.role)
            if before is None and len(roles) >= MOST_ROLES:
                raise FailedPrecondition("TOO_MANY_ROLES", f"there are {MOST_ROLES} roles, as many as may be")
            permissions = tuple(sorted(name_of(one) for one in request.permissions))
            role = Role(request.role, request.description, permissions, self._parts.wall_clock(), caller)
            there_was = await unit.has_administrator()
            await unit.set_role(role)
            record_change(None if before is None else role_message(before), role_message(role))
            for name in await unit.users_of_role(role.name):
                user = await existing(unit, name)
                if user.kind is UserKind.PERSON and INTERNAL in permissions:
                    raise InvalidInput(
                        "permissions",
                        INTERNAL,
                        f"others, as long as a person has the role: {user.name} has it",
                    )
                taken_away = before is None or not set(before.permissions) <= set(permissions)
                if user.kind is UserKind.PERSON or taken_away:
                    await self._parts.roles_changed(unit, user)
            await require_administrator(unit, there_was)
            return api.SetRoleResponse(role=role_message(role))

        key = CommandKey(caller, "SetRole", request.request_id)
        return await self._parts.command(key, request, api.SetRoleResponse, change)

    async def _add(
        self, unit: AuthUnit, name: str, kind: UserKind, hashed: str, roles: Sequence[str], caller: str
    ) -> User:
        if await unit.user(name) is not None:
            raise AlreadyExists("USER_EXISTS", f"there is a user {name!r} already; choose another name")
        if await unit.number_of_users() >= MOST_USERS:
            raise FailedPrecondition("TOO_MANY_USERS", f"there are {MOST_USERS} users, as many as may be")
        named = check_roles(roles, kind, await unit.roles())
        await unit.add_user(name, kind, hashed, named, caller, self._parts.wall_clock())
        return await existing(unit, name)

    async def _begin(self, unit: AuthUnit, user: User, lasts: timedelta, address: str) -> Session:
        now = self._parts.wall_clock()
        for oldest in (await unit.live_sessions(user.name, now))[MOST_SESSIONS - 1 :]:
            await self._parts.end(unit, user, oldest, TOO_MANY)
        session = Session(
            session_id=str(uuid4()),
            user_name=user.name,
            created_at=now,
            refreshed_at=now,
            expires_at=now + lasts,
            rotation=0,
            request_id="",
            address=address,
            client="service account's token",
        )
        await unit.add_session(session)
        return session

    async def _tokens(self, session_id: str) -> api.Tokens:
        """The token of a session; none where it was ended since."""
        async with self._parts.store.reading() as reads:
            session = await reads.session(session_id)
            user = None if session is None else await reads.user(session.user_name)
            if session is None or user is None or not session.lives(self._parts.wall_clock()):
                return api.Tokens()
            return self._parts.issuer.tokens(user, session, await reads.roles())

    def _lasts(self, days: int) -> timedelta:
        most = self._parts.issuer.times.service
        if days * _DAY > most:
            raise InvalidInput("valid_days", days, f"at most {most.days} (auth.service_token_days)")
        return days * _DAY or most
