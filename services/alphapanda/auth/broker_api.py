"""BrokerSessionService: sessions at brokers, for people and for the services that call them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.auth.broker_messages import broker_session_message
from alphapanda.auth.broker_sessions import BrokerSessions
from alphapanda.auth.store.broker_sessions import PostgresBrokerSessionStore
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from panda.auth.v1 import broker_session_pb2 as api
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceServicer

DEFAULT_PAGE = 100

Context = grpc.aio.ServicerContext[Any, Any]


class BrokerSessionApi(BrokerSessionServiceServicer):
    """Implements BrokerSessionService.

    Args:
        sessions: keeps the sessions.
        store: their store.
    """

    def __init__(self, sessions: BrokerSessions, store: PostgresBrokerSessionStore) -> None:
        self._sessions = sessions
        self._store = store

    @override
    async def BeginBrokerLogin(
        self, request: api.BeginBrokerLoginRequest, context: Context
    ) -> api.BeginBrokerLoginResponse:
        return await self._sessions.begin(current_caller.get(), request)

    @override
    async def CompleteBrokerLogin(
        self, request: api.CompleteBrokerLoginRequest, context: Context
    ) -> api.CompleteBrokerLoginResponse:
        return await self._sessions.complete(current_caller.get(), request)

    @override
    async def EndBrokerSession(
        self, request: api.EndBrokerSessionRequest, context: Context
    ) -> api.EndBrokerSessionResponse:
        return await self._sessions.end(current_caller.get(), request)

    @override
    async def GetBrokerSession(
        self, request: api.GetBrokerSessionRequest, context: Context
    ) -> api.GetBrokerSessionResponse:
        session = await self._sessions.newest(self._sessions.owner_of(request.broker, request.account))
        return api.GetBrokerSessionResponse(session=broker_session_message(session))

    @override
    async def ListBrokerSessions(
        self, request: api.ListBrokerSessionsRequest, context: Context
    ) -> api.ListBrokerSessionsResponse:
        filters = f"broker sessions {request.broker} {request.account}"
        before = decode_page_token(request.page_token, filters, int)
        size = request.page_size or DEFAULT_PAGE
        async with self._store.reading() as reads:
            found = await reads.sessions(
                request.broker, request.account, before[0] if before else None, size + 1
            )
        more = len(found) > size
        return api.ListBrokerSessionsResponse(
            sessions=[broker_session_message(session) for session in found[:size]],
            next_page_token=encode_page_token((found[size - 1].number,), filters) if more else "",
            accounts=[owner.text for owner in self._sessions.accounts],
        )

    @override
    async def WatchBrokerSession(
        self, request: api.WatchBrokerSessionRequest, context: Context
    ) -> AsyncIterator[api.WatchBrokerSessionResponse]:
        owner = self._sessions.owner_of(request.broker, request.account)
        async for session in self._sessions.watch(owner):
            yield api.WatchBrokerSessionResponse(session=broker_session_message(session))

    @override
    async def WatchBrokerCredentials(
        self, request: api.WatchBrokerCredentialsRequest, context: Context
    ) -> AsyncIterator[api.WatchBrokerCredentialsResponse]:
        owner = self._sessions.owner_of(request.broker, request.account)
        async for session in self._sessions.watch(owner):
            yield api.WatchBrokerCredentialsResponse(
                session=broker_session_message(session), sealed_token=session.sealed_token
            )

    @override
    async def ReportBrokerRefusal(
        self, request: api.ReportBrokerRefusalRequest, context: Context
    ) -> api.ReportBrokerRefusalResponse:
        session = await self._sessions.refused(request.session_id, request.message)
        return api.ReportBrokerRefusalResponse(session=broker_session_message(session))
