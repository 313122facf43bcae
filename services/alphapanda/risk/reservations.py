"""Releases reservations whose order never appeared, after trading has confirmed that it never will."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Protocol

import grpc
import structlog

from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.decision_service import DecisionService
from alphapanda.risk.store.port import RiskStore
from panda.trading.v1 import trading_pb2 as trading

EXIT_GRACE = timedelta(minutes=10)
"""Market time after valid_until before an exit's reservation is released, because trading executes late exits."""

_log = structlog.get_logger(__name__)


class OrderConfirmation(Protocol):
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def ConfirmNoOrder(  # noqa: N802 - the contract's name
        self, request: trading.ConfirmNoOrderRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.ConfirmNoOrderResponse]:
        """Answers whether a signal has no order and never will have one."""


class ReservationReleaser:
    """Releases overdue reservations, at an interval of wall time.

    Args:
        decisions: releases a reservation.
        store: finds overdue reservations.
        trading: confirms that there is no order.
        brokers: the active brokers.
        interval_seconds: wall time between two rounds.
        timeout_seconds: timeout for trading's answer.

    Attributes:
        rounds: the background rounds, to be started and stopped.
    """

    def __init__(
        self,
        decisions: DecisionService,
        store: RiskStore,
        trading: OrderConfirmation,
        brokers: Sequence[str],
        interval_seconds: float = 5.0,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._decisions = decisions
        self._store = store
        self._trading = trading
        self._brokers = tuple(brokers)
        self._timeout = timeout_seconds
        self.rounds = Rounds("reservations", self.release_due, interval_seconds, _log, at_once=True)

    async def release_due(self) -> list[str]:
        """Releases the reservations that are overdue at the current market time; returns their signals' ids."""
        now = (await self._decisions.inputs.market(())).market_time
        if now is None:
            return []
        released = []
        for key, signal_id in await self._store.overdue_reservations(self._brokers, now, now - EXIT_GRACE):
            request = trading.ConfirmNoOrderRequest(signal_id=signal_id)
            try:
                answer = await self._trading.ConfirmNoOrder(request, timeout=self._timeout)
            except grpc.RpcError as error:
                why = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
                _log.warning("reservation.kept", signal_id=signal_id, error=why)
                continue
            if answer.never:
                await self._decisions.release(key, signal_id)
                released.append(signal_id)
                _log.warning(
                    "reservation.released",
                    signal_id=signal_id,
                    broker=key.broker,
                    account=key.account,
                    strategy_id=key.strategy_id,
                    instrument_id=key.instrument_id,
                )
        return released
