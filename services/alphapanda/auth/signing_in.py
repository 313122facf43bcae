"""Sign-in, refresh and sign-out of persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from alphapanda.auth.commands import AuthParts, existing
from alphapanda.auth.core.passwords import check_password
from alphapanda.auth.core.sessions import (
    LOGGED_OUT,
    MOST_SESSIONS,
    PASSWORD_CHANGED,
    REUSED,
    TOO_MANY,
    Presented,
    Session,
    presented,
    refreshed,
)
from alphapanda.auth.core.users import Role, User
from alphapanda.auth.messages import session_message
from alphapanda.auth.store.postgres import AuthUnit
from alphapanda.mesh.errors import NotFound, Unauthenticated
from alphapanda.mesh.tokens import Claims, TokenRefused, TokenType, TokenVerifier
from alphapanda.storage.requests import CommandKey
from panda.auth.v1 import auth_pb2 as api

WRONG: Final = "user name or password is wrong"
SESSION_OVER: Final = "the session was ended or is over; sign in again"


class SigningIn:
    """Implements Login, Refresh, Logout and ChangePassword.

    Args:
        parts: what the commands share.
        verifier: checks refresh tokens.
    """

    def __init__(self, parts: AuthParts, verifier: TokenVerifier) -> None:
        self._parts = parts
        self._verifier = verifier

    async def login(self, request: api.LoginRequest, address: str) -> api.LoginResponse:
        """Begins a session; the same request again finds the session that it began.

        Raises:
            Unauthenticated: name or password is wrong, or the user is disabled.
            TooOften: there were too many wrong passwords.
        """
        parts, name = self._parts, request.user_name
        async with parts.store.reading() as reads:
            user = await reads.user(name)
            known = await reads.signed_in_from(name, address)
        parts.pace(name, address, known=known)
        # Also where there is no such user, so that the time doesn't tell.
        right = await parts.passwords.matches("" if user is None else user.password_hash, request.password)
        if user is None or not right:
            raise self._refused(name, address, WRONG)
        if user.disabled:
            refusal = Unauthenticated("USER_DISABLED", "the user is disabled; an administrator enables it")
            self._log_refusal(name, address, refusal)
            raise refusal
        parts.waits.succeeded(name, address)

        key = CommandKey(name, "Login", request.request_id)
        answer = await parts.command(
            key, request, api.LoginResponse, lambda unit: self._begin(unit, user, request.client, address)
        )
        session, roles = await self._of(answer.session.session_id)
        parts.audit.info("login.succeeded", user=name, address=address, session_id=session.session_id)
        if parts.passwords.is_dated(user.password_hash):
            await parts.store.replace_hash(name, await parts.passwords.hashed(request.password))
        return api.LoginResponse(
            session=session_message(session),
            tokens=parts.issuer.tokens(user, session, roles),
            roles=user.roles,
        )

    async def refresh(self, request: api.RefreshRequest, address: str) -> api.RefreshResponse:
        """The next tokens of a session. An old refresh token ends the session.

        Raises:
            TokenRefused: the token isn't valid, was used before, or its session is over.
        """
        parts = self._parts
        claims = self._verifier.verify(
            request.refresh_token, parts.wall_clock().timestamp(), TokenType.REFRESH
        )
        async with parts.store.unit() as unit:
            now = parts.wall_clock()
            session = await unit.session(claims.session_id)
            user = await unit.user(claims.subject)
            if session is None or user is None or session.user_name != user.name:
                raise TokenRefused("TOKEN_REVOKED", SESSION_OVER)
            meaning = presented(session, claims.rotation, request.request_id, now)
            if meaning is Presented.NEWEST:
                session = refreshed(session, request.request_id, now, parts.issuer.times.refresh, address)
                await unit.change_session(session)
            elif meaning is Presented.REUSED:  # kept although the call fails
                await parts.end(unit, user, session, REUSED)
            roles = await unit.roles()
        parts.apply(unit.revoked)
        if meaning is Presented.OVER:
            raise TokenRefused("TOKEN_REVOKED", SESSION_OVER)
        if meaning is Presented.REUSED:
            parts.audit.error(
                "session.refresh_reused",
                alarm=True,
                user=user.name,
                address=address,
                session_id=session.session_id,
            )
            raise TokenRefused(
                "TOKEN_REVOKED",
                "this refresh token was used before, so its session was ended: sign in again; if it wasn't you, change the"
                " password",
            )
        return api.RefreshResponse(
            session=session_message(session),
            tokens=parts.issuer.tokens(user, session, roles),
            roles=user.roles,
        )

    async def logout(self, claims: Claims, request: api.LogoutRequest) -> api.LogoutResponse:
        """Ends the caller's session, another one of the caller's, or all of them.

        Raises:
            NotFound: the caller has no such session.
        """
        parts = self._parts

        async def end(unit: AuthUnit) -> api.LogoutResponse:
            user = await existing(unit, claims.subject)
            if request.everywhere:
                _, ended = await parts.end_all(unit, user, LOGGED_OUT)
                return api.LogoutResponse(sessions_ended=ended)
            wanted = request.session_id or claims.session_id
            session = await unit.session(wanted)
            if session is None or session.user_name != user.name:
                raise NotFound("SESSION_NOT_FOUND", f"you have no session {wanted}")
            if not session.lives(parts.wall_clock()):
                return api.LogoutResponse()
            await parts.end(unit, user, session, LOGGED_OUT)
            return api.LogoutResponse(sessions_ended=1)

        key = CommandKey(claims.subject, "Logout", request.request_id)
        return await parts.command(key, request, api.LogoutResponse, end)

    async def change_password(
        self, claims: Claims, request: api.ChangePasswordRequest, address: str
    ) -> api.ChangePasswordResponse:
        """Changes the caller's password and ends the caller's other sessions.

        Raises:
            Unauthenticated: the current password is wrong.
            InvalidInput: the new password may not be set.
            TooOften: there were too many wrong passwords.
        """
        parts, name = self._parts, claims.subject
        check_password("new_password", request.new_password, name)
        key = CommandKey(name, "ChangePassword", request.request_id)
        async with parts.store.reading() as reads:
            user = await reads.user(name)
        parts.pace(name, address, known=True)
        right = await parts.passwords.matches(
            "" if user is None else user.password_hash, request.current_password
        )
        if not right:
            return await self._answered_before(key, request, address)
        parts.waits.succeeded(name, address)
        hashed = await parts.passwords.hashed(request.new_password)

        async def change(unit: AuthUnit) -> api.ChangePasswordResponse:
            now = parts.wall_clock()
            holder = await existing(unit, name)
            others = [
                one for one in await unit.live_sessions(name, now) if one.session_id != claims.session_id
            ]
            for session in others:
                await parts.end(unit, holder, session, PASSWORD_CHANGED)
            await unit.change_user(replace(holder, password_hash=hashed, changed_at=now))
            return api.ChangePasswordResponse(sessions_ended=len(others))

        return await parts.command(key, request, api.ChangePasswordResponse, change)

    async def _answered_before(
        self, key: CommandKey, request: api.ChangePasswordRequest, address: str
    ) -> api.ChangePasswordResponse:
        """The answer of the same request, which has changed the password already: its first answer was lost."""

        async def refuse(_: AuthUnit) -> api.ChangePasswordResponse:
            raise self._refused(key.caller, address, "the current password is wrong")

        answer = await self._parts.command(key, request, api.ChangePasswordResponse, refuse)
        self._parts.waits.succeeded(key.caller, address)
        return answer

    async def _begin(self, unit: AuthUnit, user: User, client: str, address: str) -> api.LoginResponse:
        """Begins a session of a user whose password was right."""
        now = await self._require_unchanged(unit, user, address)
        live = await unit.live_sessions(user.name, now)
        for oldest in live[MOST_SESSIONS - 1 :]:
            await self._parts.end(unit, user, oldest, TOO_MANY)
        session = Session(
            session_id=str(uuid4()),
            user_name=user.name,
            created_at=now,
            refreshed_at=now,
            expires_at=now + self._parts.issuer.times.refresh,
            rotation=0,
            request_id="",
            address=address,
            client=client,
        )
        await unit.add_session(session)
        return api.LoginResponse(session=session_message(session))

    async def _of(self, session_id: str) -> tuple[Session, Sequence[Role]]:
        """A session that a command has begun, and all roles.

        Raises:
            TokenRefused: it is over already: the request was sent again long after.
        """
        async with self._parts.store.reading() as reads:
            session = await reads.session(session_id)
            if session is None or not session.lives(self._parts.wall_clock()):
                raise TokenRefused("TOKEN_REVOKED", SESSION_OVER)
            return session, await reads.roles()

    async def _require_unchanged(self, unit: AuthUnit, user: User, address: str) -> datetime:
        """Returns the current wall time; refuses where the user was changed since the password was compared."""
        now_stored = await existing(unit, user.name)
        if now_stored.disabled or now_stored.password_hash != user.password_hash:
            raise self._refused(user.name, address, "the user was changed at this moment; sign in again")
        return self._parts.wall_clock()

    def _refused(self, user: str, address: str, message: str) -> Unauthenticated:
        refusal = Unauthenticated("LOGIN_REFUSED", message)
        self._log_refusal(user, address, refusal)
        return refusal

    def _log_refusal(self, user: str, address: str, refusal: Unauthenticated) -> None:
        self._parts.audit.warning("login.refused", user=user, address=address, reason=refusal.reason)
