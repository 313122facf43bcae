"""The access token of `alphapanda login`, refreshed when it is about to expire."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import uuid4

import grpc

from alphapanda.commands.session_file import StoredSession, locked, read_session, write_session
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.mesh.tls import channel_credentials
from panda.auth.v1 import auth_pb2 as api

EARLY_SECONDS: Final = 60.0
"""A token that is valid no longer than this is refreshed before it is sent."""
AGAIN_SECONDS: Final = 10.0
"""Between two refreshes of a process."""
REFRESH_SECONDS: Final = 5.0
REFRESH: Final = "/panda.auth.v1.AuthService/Refresh"

Refresh = Callable[[str, api.RefreshRequest], api.RefreshResponse]


class SessionToken:
    """Gives the access token of a session; called for each call.

    Args:
        session: as it was read.
        refresh: sends a RefreshRequest to an address; raises grpc.RpcError.
        clock: wall time, Unix seconds.
    """

    def __init__(
        self, session: StoredSession, refresh: Refresh, clock: Callable[[], float] = time.time
    ) -> None:
        self._session = session
        self._refresh = refresh
        self._clock = clock
        self._not_before = 0.0
        self._renewed = False

    def __call__(self) -> str:
        """Returns the access token, a new one where it is about to expire; the old one where that fails."""
        now = self._clock()
        if self._session.access_expires_at - now <= EARLY_SECONDS:
            self.renew()
        return self._session.access_token

    def renew(self) -> bool:
        """Gets the next tokens, at most once in AGAIN_SECONDS; returns whether there is another access token now.

        Its request_id is kept before it is sent, so that an answer that gets lost can be asked for again.
        """
        if self._clock() < self._not_before:  # several calls were refused at the same time
            return self._renewed
        self._not_before = self._clock() + AGAIN_SECONDS
        self._renewed = self._next()
        return self._renewed

    def _next(self) -> bool:
        before = self._session.access_token
        with locked(self._session.target):
            kept = read_session(self._session.target)
            if kept is None:
                return False
            if kept.access_token == before:
                kept = kept if kept.pending else replace(kept, pending=str(uuid4()))
                write_session(kept)
                try:
                    answer = self._refresh(
                        kept.auth,
                        api.RefreshRequest(request_id=kept.pending, refresh_token=kept.refresh_token),
                    )
                except grpc.RpcError:
                    return False
                kept = with_tokens(kept, answer.tokens)
                write_session(kept)
            self._session = kept
        return self._session.access_token != before


def with_tokens(session: StoredSession, tokens: api.Tokens) -> StoredSession:
    """A session with its next tokens."""
    return replace(
        session,
        access_token=tokens.access_token,
        access_expires_at=float(tokens.access_expires_at.seconds),
        refresh_token=tokens.refresh_token,
        refresh_expires_at=float(tokens.refresh_expires_at.seconds),
        pending="",
    )


def refresh_by(security: ChannelSecurity) -> Refresh:
    """Sends a refresh over a channel of its own, which waits for the answer: it is called in the middle of another call."""

    def refresh(address: str, request: api.RefreshRequest) -> api.RefreshResponse:
        if security.tls is None:
            channel = grpc.insecure_channel(address)
        else:
            named = security.server_name
            options = [("grpc.ssl_target_name_override", named)] if named else []
            channel = grpc.secure_channel(address, channel_credentials(security.tls.contents), options)
        with channel:
            call = channel.unary_unary(
                REFRESH, api.RefreshRequest.SerializeToString, api.RefreshResponse.FromString
            )
            answer: api.RefreshResponse = call(request, timeout=REFRESH_SECONDS)
            return answer

    return refresh


def with_session(security: ChannelSecurity, target: str) -> ChannelSecurity:
    """How to connect, with the token of the session at this target where there is one and no other token was named.

    Raises:
        InvalidInput: the session's file can't be used.
    """
    if security.token is not None:
        return security
    session = read_session(target)
    if session is None:
        return security
    return replace(security, token=SessionToken(session, refresh_by(security)))
