"""SquareOff: stores the plan and publishes its signals with target 0, in one transaction with the command.

The positions are those of trading's own fills, read in that transaction. Portfolio's positions are later by one topic,
and asking portfolio would make closing a position depend on one more service. The exits are targets, not quantities:
risk computes the quantity from position and open order when the exit's turn comes, so a fill between plan and order
can't reverse a position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import MappingProxyType

import structlog
from redis.exceptions import RedisError

from alphapanda.contract.wire import signal_event
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.market import NOTHING_KNOWN, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.domain.signal import FOREIGN
from alphapanda.storage.price_cache import MarketViews
from alphapanda.storage.requests import CommandKey
from alphapanda.trading.core.intent import PRODUCER
from alphapanda.trading.core.square_off import (
    OrderPace,
    PlanLine,
    SquareOffCommand,
    SquareOffContext,
    estimated,
    plan,
)
from alphapanda.trading.execution_context import Instruments
from alphapanda.trading.store.port import PositionFilter, SwitchScope, TradingStore, TradingTransaction
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading

_log = structlog.get_logger(__name__)


class SquareOffs:
    """Executes SquareOff commands.

    Args:
        store: positions, open orders, kill switches.
        enabled: brokers that orders may go to.
        market: market time.
        calendar: sessions.
        instruments: today's instruments.
        wall_clock: aware wall time.
        paces: how many order requests brokers take; one that is absent has no limits.
    """

    def __init__(
        self,
        store: TradingStore,
        enabled: Collection[str],
        market: MarketViews,
        calendar: TradingCalendar,
        instruments: Instruments,
        wall_clock: Callable[[], datetime],
        paces: Mapping[str, OrderPace] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._enabled = enabled
        self._market = market
        self._calendar = calendar
        self._instruments = instruments
        self._wall_clock = wall_clock
        self._paces = paces

    async def square_off(
        self,
        command: SquareOffCommand,
        wanted: PositionFilter,
        key: CommandKey,
        request: trading.SquareOffRequest,
    ) -> trading.SquareOffResponse:
        """Makes the plan and sends its signals to risk; a repeated command gets the same plan and sends nothing.

        Raises:
            RequestReused: the request_id came with another body.
        """
        market = await self._now()
        async with self._store.transaction() as transaction:
            before = await transaction.claim(key, request)
            if before is not None:
                return trading.SquareOffResponse.FromString(before)
            exposures = [one for one in await transaction.exposures(wanted) if one.key.strategy_id != FOREIGN]
            scopes = {SwitchScope(exposure.key.broker, exposure.key.strategy_id) for exposure in exposures}
            switches = await transaction.kill_switches(scopes) if scopes else {}
            halted = {
                scope: switch.scope.words
                for scope, switch in switches.items()
                if switch.state is TradingState.HALTED
            }
            context = SquareOffContext(
                enabled=self._enabled,
                halted=lambda key: halted.get(SwitchScope(key.broker, key.strategy_id), ""),
                instruments=self._instruments(),
                calendar=self._calendar,
                market_time=market.market_time,
                wall_time=self._wall_clock(),
            )
            lines = plan(command, exposures, context)
            answer = trading.SquareOffResponse(plan=[self._message(line) for line in lines])
            estimate = estimated(lines, context.instruments, self._paces)
            if estimate is not None:
                answer.estimate.FromTimedelta(estimate)
            await self._send(transaction, lines)
            await transaction.remember(key, answer)
        for line in lines:
            _log.info(
                "square_off.planned",
                broker=line.exposure.key.broker,
                account=line.exposure.key.account,
                strategy_id=line.exposure.key.strategy_id,
                instrument_id=line.exposure.key.instrument_id,
                held=line.exposure.held,
                skipped=line.message,
                correlation_id=command.correlation_id,
            )
        return answer

    async def _send(self, transaction: TradingTransaction, lines: Collection[PlanLine]) -> None:
        signals = [line.signal for line in lines if line.signal is not None]
        now = self._wall_clock()
        await transaction.publish([signal_event(signal, PRODUCER, now) for signal in signals])

    async def _now(self) -> MarketView:
        try:
            return await self._market.view(())
        except (RedisError, OSError):
            return NOTHING_KNOWN

    def _message(self, line: PlanLine) -> trading.SquareOffLine:
        key, held = line.exposure.key, line.exposure.held
        instrument = self._instruments().by_id(key.instrument_id)
        return trading.SquareOffLine(
            broker=key.broker,
            account=key.account,
            strategy_id=key.strategy_id,
            instrument_id=key.instrument_id,
            symbol=instrument.symbol if instrument else key.instrument_id,
            product=common.Product.ValueType(key.product),
            held=held,
            side=common.Side.ValueType(line.side or 0),
            quantity=abs(held),
            signal_id=line.signal.signal_id if line.signal else "",
            skipped=trading.SquareOffSkip.ValueType(line.skipped or 0),
            message=line.message,
        )
