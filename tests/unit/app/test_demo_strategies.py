"""The demo's start: calls that a busy machine doesn't answer in time are made again, refusals aren't."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import Metadata

from alphapanda.app import demo_strategies
from alphapanda.app.demo_strategies import start_demo
from alphapanda.strategy.demo import demo_requests
from panda.strategy.v1 import strategy_pb2 as strategy

LATE, THERE, DENIED = (
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
)


class Service:
    """A strategy service that answers as told: the codes of its next calls, then OK."""

    def __init__(self, *codes: grpc.StatusCode) -> None:
        self._codes = list(codes)
        self.asked: list[str] = []

    async def CreateStrategy(  # noqa: N802 - the contract's name
        self, request: strategy.CreateStrategyRequest, /
    ) -> strategy.CreateStrategyResponse:
        self._answer(request.request_id)
        return strategy.CreateStrategyResponse()

    async def StartStrategy(  # noqa: N802 - the contract's name
        self, request: strategy.StartStrategyRequest, /
    ) -> strategy.StartStrategyResponse:
        self._answer(request.request_id)
        return strategy.StartStrategyResponse()

    def _answer(self, request_id: str) -> None:
        self.asked.append(request_id)
        if self._codes:
            raise grpc.aio.AioRpcError(self._codes.pop(0), Metadata(), Metadata(), "as told")


async def started(service: Service) -> None:
    await start_demo(service, (), lambda *_: True, lambda _: None)


async def test_what_was_not_answered_in_time_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same request id, which has one effect; a strategy that is there already is started as it is."""
    monkeypatch.setattr(demo_strategies, "_PAUSE_SECONDS", 0.0)
    service = Service(LATE, THERE, LATE, LATE)
    await started(service)
    first = demo_requests()[0]
    assert service.asked[:5] == [first[0].request_id] * 2 + [first[1].request_id] * 3
    assert len(service.asked) == 2 * len(demo_requests()) + 3


async def test_a_refusal_ends_the_start() -> None:
    """Nobody waits a minute for what is refused."""
    with pytest.raises(grpc.aio.AioRpcError):
        await started(Service(DENIED))
