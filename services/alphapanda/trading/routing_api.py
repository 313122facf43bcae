"""The part of TradingService that switches brokers off and on."""

from __future__ import annotations

from typing import Any

import grpc
from typing_extensions import override

from alphapanda.mesh.caller import current_caller
from alphapanda.trading.routing import BrokerRoutings
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class RoutingApi(TradingServiceServicer):
    """The part of TradingService that is about routing."""

    _routings: BrokerRoutings

    @override
    async def GetBrokerRouting(
        self, request: trading.GetBrokerRoutingRequest, context: Context
    ) -> trading.GetBrokerRoutingResponse:
        return trading.GetBrokerRoutingResponse(brokers=await self._routings.list())

    @override
    async def SetBrokerRouting(
        self, request: trading.SetBrokerRoutingRequest, context: Context
    ) -> trading.SetBrokerRoutingResponse:
        return await self._routings.set(current_caller.get(), request)
