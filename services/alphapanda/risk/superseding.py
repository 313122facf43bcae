"""Has orders cancelled that rest at the exchange while a target waits for their end: the target takes their place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

import grpc
import structlog

from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.core.book import Superseded
from alphapanda.risk.store.port import RiskStore
from panda.trading.v1 import trading_pb2 as trading

_AT_ONCE: Final = 16
"""Orders that trading is asked about at once."""
_log = structlog.get_logger(__name__)


class WayMaking(Protocol):
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def MakeWay(  # noqa: N802 - the contract's name
        self, request: trading.MakeWayRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.MakeWayResponse]:
        """Cancels the order of a signal, if it rests, for a target that waits for its end."""


class SupersededOrders:
    """Asks trading to cancel orders; what it couldn't be asked is found again in the rows, at an interval of wall time.

    Args:
        store: finds the orders.
        trading: cancels them.
        brokers: the active brokers.
        interval_seconds: wall time between two rounds.
        timeout_seconds: timeout for trading's answer, which comes once the order has ended.

    Attributes:
        rounds: the background rounds, to be started and stopped.
    """

    def __init__(
        self,
        store: RiskStore,
        trading: WayMaking,
        brokers: Sequence[str],
        interval_seconds: float = 5.0,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._store = store
        self._trading = trading
        self._brokers = tuple(brokers)
        self._timeout = timeout_seconds
        self._noted: dict[str, Superseded] = {}
        self.rounds = Rounds("superseded orders", self._round, interval_seconds, _log, at_once=True)

    def note(self, found: Sequence[Superseded]) -> None:
        """Notes orders that are to be cancelled."""
        for one in found:
            self._noted[one.order_signal_id] = one

    async def cancel(self) -> None:
        """Has the noted orders cancelled. Never raises: what fails is tried again by the rounds."""
        while self._noted:
            now = [self._noted.pop(order) for order in list(self._noted)[:_AT_ONCE]]
            await asyncio.gather(*(self._cancel(one) for one in now))

    async def _round(self) -> None:
        self.note(await self._store.superseded(self._brokers))
        await self.cancel()

    async def _cancel(self, one: Superseded) -> None:
        request = trading.MakeWayRequest(signal_id=one.order_signal_id, target_signal_id=one.target_signal_id)
        try:
            await self._trading.MakeWay(request, timeout=self._timeout)
        except (grpc.aio.AioRpcError, OSError) as failed:
            _log.warning(
                "order.cancellation_delayed",
                broker=one.key.broker,
                account=one.key.account,
                strategy_id=one.key.strategy_id,
                instrument_id=one.key.instrument_id,
                signal_id=one.order_signal_id,
                error=in_one_line(failed),
            )
