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


class KillSwitchReceiver(Protocol):
    """The one RPC of TradingService that is called here; its stub fits."""

    def ApplyKillSwitch(  # noqa: N802 - the contract's name
        self, request: trading.ApplyKillSwitchRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.ApplyKillSwitchResponse]:
        """Applies a kill switch in trading; it answers with the revision it holds."""


class KillSwitches:
    """Sets kill switches: row, event, mirror and trading's acknowledgement, in this order. What fails is sent again until it succeeds.

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
        rounds: send again what was not confirmed, and what Redis has lost.
    """

    def __init__(
        self,
        store: RiskStore,
        mirror: KillSwitchMirror,
        trading: KillSwitchReceiver,
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
        self._unconfirmed = {SwitchScope(broker) for broker in self._brokers}
        self.rounds = Rounds("kill switches", self._send_again, retry_seconds, _log, at_once=True)

    async def start(self) -> None:
        """Shows every broker's switch in the mirror and tells trading again; what fails is repeated in the background."""
        await self._store.prepare(self._brokers)
        for broker in self._brokers:
            await self._show(await self._store.kill_switch(SwitchScope(broker)))
        self._unconfirmed.update(
            switch.scope for switch in await self._store.strategy_switches(self._brokers)
        )
        await self.rounds.start()

    async def stop(self) -> None:
        """Sends no more; what is on its way is finished first."""
        await self.rounds.stop()

    async def get(self, scope: SwitchScope) -> KillSwitch:
        """A kill switch."""
        return await self._store.kill_switch(scope)

    async def set(self, caller: str, request: risk.SetKillSwitchRequest) -> risk.SetKillSwitchResponse:
        """Sets a switch; the same request sets it once and tells trading each time."""
        key = CommandKey(caller, "SetKillSwitch", request.request_id)
        command = ids.command_id(key.caller, key.method, key.request_id)
        scope = SwitchScope(request.broker, request.strategy_id)

        def change(current: KillSwitch) -> tuple[KillSwitch, Event] | None:
            state, now = TradingState(request.state), self._wall_time()
            if current.revision and current.state is state:
                return None
            changed = KillSwitch(scope, state, current.revision + 1, caller, request.reason, now)
            return changed, switch_event(changed, command)

        given = await self._store.set_kill_switch(key, request, scope, change, kill_switch_message)
        message = risk.KillSwitch.FromString(given)
        warning = await self._send(await self._store.kill_switch(scope))
        if warning:
            self._unconfirmed.add(scope)
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

    async def _send_again(self) -> None:
        """Sends again what was not confirmed, and what Redis has lost: without its mirror no entry passes."""
        for broker in self._brokers:
            if await self._mirror.is_missing(broker):
                self._unconfirmed.add(SwitchScope(broker))
        for scope in sorted(self._unconfirmed):
            self._unconfirmed.discard(
                scope
            )  # before it is read: what is set meanwhile and fails is sent again
            confirmed = False
            try:
                confirmed = not await self._send(await self._store.kill_switch(scope))
            finally:
                if not confirmed:
                    self._unconfirmed.add(scope)

    async def _send(self, switch: KillSwitch) -> str:
        """Writes the mirror and calls trading; why it was not confirmed, empty where it was. A switch never set isn't sent."""
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
            return f"trading did not confirm ({why}); it is sent again until it does"
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
