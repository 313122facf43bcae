"""Setting kill switches, and telling everybody who acts on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import grpc
import structlog
from redis.exceptions import RedisError

from alphapanda.domain import ids
from alphapanda.domain.order import TradingState
from alphapanda.eventlog.failures import in_one_line, is_transient
from alphapanda.eventlog.wire import envelope, timestamp
from alphapanda.risk.desk import SOURCE
from alphapanda.risk.store.port import KillSwitch, RiskStore
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.storage.requests import CommandKey
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import control_pb2
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

    Args:
        store: has the rows.
        mirror: shows them in Redis.
        trading: acts on them.
        brokers: the active ones.
        wall_time: now, aware.
        timeout_seconds: how long trading's acknowledgement is waited for.
        retry_seconds: wall time between two attempts to tell.
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
        self._retry = retry_seconds
        self._untold = set(self._brokers)
        self._something_to_tell = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Shows every broker's switch in the mirror and tells trading again; what fails is repeated in the background."""
        await self._store.prepare(self._brokers)
        for broker in self._brokers:
            await self._show(await self._store.kill_switch(broker))
        self._something_to_tell.set()
        self._task = asyncio.create_task(self._keep_telling(), name="kill switches")

    async def stop(self) -> None:
        """Tells no more; what is being told is told first. Not by cancelling: the Redis client may swallow that."""
        self._stopping.set()
        self._something_to_tell.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def get(self, broker: str) -> KillSwitch:
        """A broker's kill switch."""
        return await self._store.kill_switch(broker)

    async def set(self, caller: str, request: risk.SetKillSwitchRequest) -> risk.SetKillSwitchResponse:
        """Sets a switch; the same request sets it once and tells trading each time."""
        key = CommandKey(caller, "SetKillSwitch", request.request_id)
        command = ids.command_id(key.caller, key.method, key.request_id)

        def change(stands: KillSwitch) -> tuple[KillSwitch, Event] | None:
            state, now = TradingState(request.state), self._wall_time()
            if stands.revision and stands.state is state:
                return None
            changed = KillSwitch(request.broker, state, stands.revision + 1, caller, request.reason, now)
            return changed, _changed_event(changed, command, now)

        given = await self._store.set_kill_switch(key, request, request.broker, change, kill_switch_message)
        message = risk.KillSwitch.FromString(given)
        warning = await self._tell(await self._store.kill_switch(request.broker))
        if warning:
            self._untold.add(request.broker)
            self._something_to_tell.set()
            _log.warning("kill switch not confirmed", broker=request.broker, why=warning)
        _log.info("kill switch set", broker=request.broker, state=TradingState(message.state).name)
        return risk.SetKillSwitchResponse(
            kill_switch=message, acknowledged_by_trading=not warning, warning=warning
        )

    async def _keep_telling(self) -> None:
        await self._something_to_tell.wait()
        while not self._stopping.is_set():
            self._something_to_tell.clear()
            await self._tell_the_untold()
            if self._untold:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._retry)
            else:
                await self._something_to_tell.wait()

    async def _tell_the_untold(self) -> None:
        try:
            for broker in sorted(self._untold):
                if not await self._tell(await self._store.kill_switch(broker)):
                    self._untold.discard(broker)
        except Exception as error:
            if is_transient(error):
                _log.warning("kill switches can't be read", error=in_one_line(error))
                return
            _log.exception("kill switches are told no more")
            raise

    async def _tell(self, switch: KillSwitch) -> str:
        """Mirror and trading; why trading did not confirm, empty where it did. A switch never set isn't told."""
        shown = await self._show(switch)
        if not switch.revision:
            return shown
        request = trading.ApplyKillSwitchRequest(
            broker=switch.broker,
            state=common.TradingState.ValueType(switch.state),
            revision=switch.revision,
        )
        try:
            held = await self._trading.ApplyKillSwitch(request, timeout=self._timeout)
        except grpc.RpcError as error:
            why = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            return f"trading did not confirm ({why}); it is told again until it does"
        if held.revision < switch.revision:
            return f"trading holds revision {held.revision} still"
        return shown

    async def _show(self, switch: KillSwitch) -> str:
        try:
            await self._mirror.write(switch.broker, switch.state, switch.revision)
        except (RedisError, OSError) as error:
            return f"the mirror in Redis could not be written ({type(error).__name__}); it is written again"
        return ""


def kill_switch_message(switch: KillSwitch) -> risk.KillSwitch:
    """A kill switch as the contract shows it."""
    return risk.KillSwitch(
        broker=switch.broker,
        state=common.TradingState.ValueType(switch.state),
        revision=switch.revision,
        changed_by=switch.changed_by,
        reason=switch.reason,
        changed_at=timestamp(switch.changed_at),
    )


def _changed_event(switch: KillSwitch, command: str, now: datetime) -> Event:
    event = envelope(
        event_id=ids.output_id(SOURCE, command, "kill_switch"),
        correlation_id=command,
        causation_id=command,
        broker="",
        source=SOURCE,
        occurred_at=now,
    )
    event.kill_switch_changed.CopyFrom(
        control_pb2.KillSwitchChanged(
            state=common.TradingState.ValueType(switch.state),
            broker=switch.broker,
            revision=switch.revision,
            changed_by=switch.changed_by,
            reason=switch.reason,
            changed_at=timestamp(now),
        )
    )
    return event
