"""AuthService: signs in, issues tokens, manages users, roles and sessions."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc
from typing_extensions import override

from alphapanda.auth.commands import AuthParts
from alphapanda.auth.core.users import permissions_of
from alphapanda.auth.issuing import number
from alphapanda.auth.managing import Managing
from alphapanda.auth.messages import revocation_message, role_message, session_message, user_message
from alphapanda.auth.signing_in import SigningIn
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.mesh.identity import current_identity
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.mesh.tokens import Claims
from panda.auth.v1 import auth_pb2 as api
from panda.auth.v1.auth_pb2_grpc import AuthServiceServicer

DEFAULT_PAGE = 100
MOST_REVOCATIONS = 1000
"""Revocations in an answer."""

Context = grpc.aio.ServicerContext[Any, Any]


class AuthApi(AuthServiceServicer):
    """Implements AuthService.

    Args:
        parts: what the commands share.
        signing_in: the commands of a user for itself.
    """

    def __init__(self, parts: AuthParts, signing_in: SigningIn) -> None:
        self._parts = parts
        self._signing_in = signing_in
        self._managing = Managing(parts)

    @override
    async def Login(self, request: api.LoginRequest, context: Context) -> api.LoginResponse:
        return await self._signing_in.login(request, address_of(context.peer()))

    @override
    async def Refresh(self, request: api.RefreshRequest, context: Context) -> api.RefreshResponse:
        return await self._signing_in.refresh(request, address_of(context.peer()))

    @override
    async def Logout(self, request: api.LogoutRequest, context: Context) -> api.LogoutResponse:
        return await self._signing_in.logout(_own_claims(), request)

    @override
    async def WhoAmI(self, request: api.WhoAmIRequest, context: Context) -> api.WhoAmIResponse:
        claims = _own_claims()
        async with self._parts.store.reading() as reads:
            user = await reads.user(claims.subject)
            if user is None:
                raise NotFound("USER_NOT_FOUND", f"there is no user {claims.subject!r}")
            roles = await reads.roles()
            sessions = await reads.live_sessions(user.name, self._parts.wall_clock())
        return api.WhoAmIResponse(
            user=user_message(user),
            permissions=[number(name) for name in permissions_of(user, roles)],
            sessions=[session_message(session) for session in sessions],
            session_id=claims.session_id,
        )

    @override
    async def ChangePassword(
        self, request: api.ChangePasswordRequest, context: Context
    ) -> api.ChangePasswordResponse:
        return await self._signing_in.change_password(_own_claims(), request, address_of(context.peer()))

    @override
    async def CreateUser(self, request: api.CreateUserRequest, context: Context) -> api.CreateUserResponse:
        return await self._managing.create_user(current_caller.get(), request)

    @override
    async def SetRoles(self, request: api.SetRolesRequest, context: Context) -> api.SetRolesResponse:
        return await self._managing.set_roles(current_caller.get(), request)

    @override
    async def SetPassword(self, request: api.SetPasswordRequest, context: Context) -> api.SetPasswordResponse:
        return await self._managing.set_password(current_caller.get(), request)

    @override
    async def SetUserDisabled(
        self, request: api.SetUserDisabledRequest, context: Context
    ) -> api.SetUserDisabledResponse:
        return await self._managing.set_disabled(current_caller.get(), request)

    @override
    async def ListUsers(self, request: api.ListUsersRequest, context: Context) -> api.ListUsersResponse:
        after = decode_page_token(request.page_token, "users", str)
        size = request.page_size or DEFAULT_PAGE
        async with self._parts.store.reading() as reads:
            found = await reads.users(after[0] if after else "", size + 1)
        more = len(found) > size
        return api.ListUsersResponse(
            users=[user_message(user) for user in found[:size]],
            next_page_token=encode_page_token((found[size - 1].name,), "users") if more else "",
        )

    @override
    async def ListSessions(
        self, request: api.ListSessionsRequest, context: Context
    ) -> api.ListSessionsResponse:
        filters = f"sessions {request.user_name} {request.ended}"
        before = decode_page_token(request.page_token, filters, int)
        size = request.page_size or DEFAULT_PAGE
        async with self._parts.store.reading() as reads:
            found = await reads.sessions(
                request.user_name,
                before[0] if before else None,
                size + 1,
                self._parts.wall_clock(),
                ended=request.ended,
            )
            if not found and request.user_name and await reads.user(request.user_name) is None:
                raise NotFound("USER_NOT_FOUND", f"there is no user {request.user_name!r}")
        more = len(found) > size
        return api.ListSessionsResponse(
            sessions=[session_message(session) for session in found[:size]],
            next_page_token=encode_page_token((found[size - 1].number,), filters) if more else "",
        )

    @override
    async def RevokeSession(
        self, request: api.RevokeSessionRequest, context: Context
    ) -> api.RevokeSessionResponse:
        return await self._managing.revoke_session(current_caller.get(), request)

    @override
    async def CreateServiceAccount(
        self, request: api.CreateServiceAccountRequest, context: Context
    ) -> api.CreateServiceAccountResponse:
        address = address_of(context.peer())
        return await self._managing.create_account(current_caller.get(), request, address)

    @override
    async def CreateServiceToken(
        self, request: api.CreateServiceTokenRequest, context: Context
    ) -> api.CreateServiceTokenResponse:
        return await self._managing.create_token(current_caller.get(), request, address_of(context.peer()))

    @override
    async def ListRoles(self, request: api.ListRolesRequest, context: Context) -> api.ListRolesResponse:
        after = decode_page_token(request.page_token, "roles", str)
        size = request.page_size or DEFAULT_PAGE
        async with self._parts.store.reading() as reads:
            roles = [role for role in await reads.roles() if after is None or role.name > after[0]]
        more = len(roles) > size
        return api.ListRolesResponse(
            roles=[role_message(role) for role in roles[:size]],
            next_page_token=encode_page_token((roles[size - 1].name,), "roles") if more else "",
        )

    @override
    async def SetRole(self, request: api.SetRoleRequest, context: Context) -> api.SetRoleResponse:
        return await self._managing.set_role(current_caller.get(), request)

    @override
    async def GetSigningKeys(
        self, request: api.GetSigningKeysRequest, context: Context
    ) -> api.GetSigningKeysResponse:
        issuer = self._parts.issuer
        return api.GetSigningKeysResponse(algorithm=issuer.algorithm, keys=issuer.public_keys)

    @override
    async def GetRevocations(
        self, request: api.GetRevocationsRequest, context: Context
    ) -> api.GetRevocationsResponse:
        async with self._parts.store.reading() as reads:
            found = await reads.revocations(
                request.after_number, self._parts.wall_clock(), MOST_REVOCATIONS + 1
            )
        return api.GetRevocationsResponse(
            revocations=[revocation_message(one) for one in found[:MOST_REVOCATIONS]],
            more=len(found) > MOST_REVOCATIONS,
        )


def address_of(peer: str) -> str:
    """The address in gRPC's name of a peer, without the port, such as "127.0.0.1" of "ipv4:127.0.0.1:50000"."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind
    return unquote(rest).rpartition(":")[0].strip("[]")


def _own_claims() -> Claims:
    """What the caller's token claims.

    Raises:
        FailedPrecondition: the caller has none: authentication is off, or a certificate says who it is.
    """
    claims = current_identity.get().claims
    if claims is None:
        raise FailedPrecondition("NO_SESSION", "the call came without a user's token, so there is no session")
    return claims
