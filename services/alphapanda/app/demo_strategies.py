"""Creates and starts the demo's strategies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import grpc

from alphapanda.app.waiting import until, within
from alphapanda.mesh.failures import is_away
from alphapanda.resilience.attempts import until_it_works
from alphapanda.strategy.demo import demo_requests
from panda.strategy.v1 import strategy_pb2 as strategy

SECONDS: Final = 60.0
"""How long a strategy may take to start."""
_PAUSE_SECONDS: Final = 0.5

T = TypeVar("T")


class Strategies(Protocol):
    """The part of StrategyService that is called here; StrategyServiceStub implements it."""

    def CreateStrategy(  # noqa: N802 - the contract's name
        self, request: strategy.CreateStrategyRequest, /
    ) -> Awaitable[strategy.CreateStrategyResponse]:
        """Creates one."""

    def StartStrategy(  # noqa: N802 - the contract's name
        self, request: strategy.StartStrategyRequest, /
    ) -> Awaitable[strategy.StartStrategyResponse]:
        """Starts one."""


async def start_demo(
    strategies: Strategies,
    brokers: Sequence[str],
    knows: Callable[[str, int], bool],
    progress: Callable[[str], None],
) -> None:
    """Creates and starts the demo's strategies; returns once each receives ticks.

    A call that isn't answered in time is made again: a busy machine takes long at its first start, and a request id has one effect.

    Args:
        strategies: the strategy service.
        brokers: brokers that some of them opt in to.
        knows: whether the strategy consumer knows a revision of a strategy.
        progress: called with a line for a person.

    Raises:
        StartTimedOut: one didn't start in time.
        grpc.aio.AioRpcError: one was refused.
    """
    for create, start in demo_requests(brokers):
        what = f"strategy {create.strategy_id} to start"
        await within(
            _started(strategies, create, start, knows),
            lambda: what,  # noqa: B023 - awaited in this turn
            SECONDS,
            progress,
        )


async def _started(
    strategies: Strategies,
    create: strategy.CreateStrategyRequest,
    start: strategy.StartStrategyRequest,
    knows: Callable[[str, int], bool],
) -> None:
    try:
        await _answered(partial(strategies.CreateStrategy, create))
    except grpc.aio.AioRpcError as refusal:
        # An earlier version's demo, or a user's strategy of that name: it is left unchanged.
        if refusal.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise
    started = await _answered(partial(strategies.StartStrategy, start))
    await until(partial(knows, create.strategy_id, started.strategy.revision))


async def _answered(call: Callable[[], Awaitable[T]]) -> T:
    async def wait(_: Exception, __: int) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)

    return await until_it_works(call, wait, is_away)
