"""Setting kill switches, and telling everybody who acts on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import grpc
import structlog
from redis.exceptions import RedisError

from alphapanda.domain import ids
from alphapanda.domain.order import TradingState
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.store.port import KillSwitch, RiskStore, SwitchScope
from alphapanda.risk.switch_events import kill_switch_message, switch_event
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.storage.requests import CommandKey
from panda.common.v1 import common_pb2 as common
from panda.events.v1.events_pb2 import Event
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

_log = structlog.get_logger(__name__)


class TradingToTell(Protocol):
    """The one RPC of TradingService that is called here; its stub fits."""

    def ApplyKillSwitch(  # noqa: N802 - the contract's name
        self, request: trading.ApplyKillSwitchRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.ApplyKillSwitchResponse]:
        """Tells trading."""


class KillSwitches:
    """Row, event, mirror and trading's acknowledgement, in this order. What couldn't be told is told again until it is.

    So is what the mirror has lost: a Redis that comes back empty would hold up every entry for good.

    Args:
        store: has the rows.
        mirror: shows them in Redis.
        trading: acts on them.
        brokers: the active ones.
        wall_time: now, aware.
        timeout_seconds: how long trading's acknowledgement is waited for.
        retry_seconds: wall time between two attempts to tell.

    Attributes:
        rounds: tell what couldn't be told, and what was lost.
    """

    def __init__(
        self,
        store: RiskStore,
        mirror: KillSwitchMirror,
        trading: TradingToTell,
        brokers: Sequence[str],
        wall_time: Callable[[], datetime],
        timeout_seconds: float = 2.0,
        retry_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._trading = trading
        self._brokers = tuple(brokers)
        self._wall_time = wall_time
        self._timeout = timeout_seconds
        self._untold = {SwitchScope(broker) for broker in self._brokers}
        self.rounds = Rounds("kill switches", self._tell_again, retry_seconds, _log, at_once=True)

    async def start(self) -> None:
        """Shows every broker's switch in the mirror and tells trading again; what fails is repeated in the background."""
        await self._store.prepare(self._brokers)
        for broker in self._brokers:
            await self._show(await self._store.kill_switch(SwitchScope(broker)))
        self._untold.update(switch.scope for switch in await self._store.strategy_switches(self._brokers))
        await self.rounds.start()

    async def stop(self) -> None:
        """Tells no more; what is being told is told first."""
        await self.rounds.stop()

    async def get(self, scope: SwitchScope) -> KillSwitch:
        """A kill switch."""
        return await self._store.kill_switch(scope)

    async def set(self, caller: str, request: risk.SetKillSwitchRequest) -> risk.SetKillSwitchResponse:
        """Sets a switch; the same request sets it once and tells trading each time."""
        key = CommandKey(caller, "SetKillSwitch", request.request_id)
        command = ids.command_id(key.caller, key.method, key.request_id)
        scope = SwitchScope(request.broker, request.strategy_id)

        def change(stands: KillSwitch) -> tuple[KillSwitch, Event] | None:
            state, now = TradingState(request.state), self._wall_time()
            if stands.revision and stands.state is state:
                return None
            changed = KillSwitch(scope, state, stands.revision + 1, caller, request.reason, now)
            return changed, switch_event(changed, command)

        given = await self._store.set_kill_switch(key, request, scope, change, kill_switch_message)
        message = risk.KillSwitch.FromString(given)
        warning = await self._tell(await self._store.kill_switch(scope))
        if warning:
            self._untold.add(scope)
            _log.warning(
                "kill_switch.unconfirmed", broker=scope.broker, strategy_id=scope.strategy_id, error=warning
            )
        _log.info(
            "kill_switch.set",
            broker=scope.broker,
            strategy_id=scope.strategy_id,
            state=TradingState(message.state).name,
        )
        return risk.SetKillSwitchResponse(
            kill_switch=message, acknowledged_by_trading=not warning, warning=warning
        )

    async def _tell_again(self) -> None:
        """What couldn't be told, and what Redis has lost: without its mirror no entry passes."""
        for broker in self._brokers:
            if await self._mirror.is_missing(broker):
                self._untold.add(SwitchScope(broker))
        for scope in sorted(self._untold):
            self._untold.discard(
                scope
            )  # before it is read: what is set meanwhile and can't be told comes again
            confirmed = False
            try:
                confirmed = not await self._tell(await self._store.kill_switch(scope))
            finally:
                if not confirmed:
                    self._untold.add(scope)

    async def _tell(self, switch: KillSwitch) -> str:
        """Mirror and trading; why trading did not confirm, empty where it did. A switch never set isn't told."""
        shown = await self._show(switch)
        if not switch.revision:
            return shown
        request = trading.ApplyKillSwitchRequest(
            broker=switch.scope.broker,
            state=common.TradingState.ValueType(switch.state),
            revision=switch.revision,
            strategy_id=switch.scope.strategy_id,
        )
        try:
            held = await self._trading.ApplyKillSwitch(request, timeout=self._timeout)
        except grpc.RpcError as error:
            why = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            return f"trading did not confirm ({why}); it is told again until it does"
        if held.revision < switch.revision:
            return f"trading holds revision {held.revision} still"
        if held.revision > switch.revision:  # set again meanwhile, or by somebody else
            newest = await self._store.kill_switch(switch.scope)
            if held.revision > newest.revision:
                return (
                    f"trading holds revision {held.revision}, which was never set: it doesn't act on this one"
                )
        return shown

    async def _show(self, switch: KillSwitch) -> str:
        """A strategy's switch isn't mirrored: who reads the mirror fails closed by the broker's, trading has a copy."""
        if switch.scope.strategy_id:
            return ""
        try:
            await self._mirror.write(switch.scope.broker, switch.state, switch.revision)
        except (RedisError, OSError) as error:
            return f"the mirror in Redis could not be written ({type(error).__name__}); it is written again"
        return ""
