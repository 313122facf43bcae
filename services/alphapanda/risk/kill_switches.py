"""Sets kill switches, and distributes them to trading and to Redis."""

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
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def ApplyKillSwitch(  # noqa: N802 - the contract's name
        self, request: trading.ApplyKillSwitchRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.ApplyKillSwitchResponse]:
        """Applies a kill switch in trading; the answer has the revision that trading holds now."""


class KillSwitches:
    """Sets kill switches: database row and event, then the mirror in Redis, then trading's acknowledgement.

    Mirror and acknowledgement are retried until they succeed. A mirror that Redis has lost is written again, because
    without it every entry would be refused.

    Args:
        store: risk's store.
        mirror: the copy in Redis.
        trading: acknowledges switches and acts on them.
        brokers: the active brokers.
        wall_time: returns the current wall time, aware.
        timeout_seconds: timeout for trading's acknowledgement.
        retry_seconds: wall time between two attempts.

    Attributes:
        rounds: retries what was not confirmed, and what Redis has lost.
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
        """Writes each broker's switch to the mirror and sends all switches to trading again; retries in the background."""
        await self._store.prepare(self._brokers)
        for broker in self._brokers:
            await self._show(await self._store.kill_switch(SwitchScope(broker)))
        self._unconfirmed.update(
            switch.scope for switch in await self._store.strategy_switches(self._brokers)
        )
        await self.rounds.start()

    async def stop(self) -> None:
        """Stops retrying, after the current round."""
        await self.rounds.stop()

    async def get(self, scope: SwitchScope) -> KillSwitch:
        """Reads a kill switch."""
        return await self._store.kill_switch(scope)

    async def set(self, caller: str, request: risk.SetKillSwitchRequest) -> risk.SetKillSwitchResponse:
        """Sets a switch. A repeated request sets it once, but sends it to trading each time."""
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
        """Sends again what was not confirmed, and what Redis has lost."""
        for broker in self._brokers:
            if await self._mirror.is_missing(broker):
                self._unconfirmed.add(SwitchScope(broker))
        for scope in sorted(self._unconfirmed):
            self._unconfirmed.discard(
                scope
            )  # before the read, so that a switch set meanwhile that fails stays unconfirmed
            confirmed = False
            try:
                confirmed = not await self._send(await self._store.kill_switch(scope))
            finally:
                if not confirmed:
                    self._unconfirmed.add(scope)

    async def _send(self, switch: KillSwitch) -> str:
        """Writes the mirror and calls trading; returns why it was not confirmed, empty if it was. Skips unset switches."""
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
            return f"trading still holds revision {held.revision}"
        if held.revision > switch.revision:  # set again meanwhile, or by another process
            newest = await self._store.kill_switch(switch.scope)
            if held.revision > newest.revision:
                return (
                    f"trading holds revision {held.revision}, which was never set: it doesn't act on this one"
                )
        return shown

    async def _show(self, switch: KillSwitch) -> str:
        """Writes the mirror; returns an error or an empty text. Only brokers' switches are mirrored."""
        if switch.scope.strategy_id:
            return ""
        try:
            await self._mirror.write(switch.scope.broker, switch.state, switch.revision)
        except (RedisError, OSError) as error:
            return f"the mirror in Redis could not be written ({type(error).__name__}); it is written again"
        return ""
