"""Switches brokers off and on while everything runs, and has trading's router follow the switches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.mesh.recording import record_change
from alphapanda.resilience.rounds import Rounds
from alphapanda.storage.requests import CommandKey
from alphapanda.trading.store.broker_routing import RoutingSwitch, RoutingSwitches
from panda.trading.v1 import trading_pb2 as trading

READ_SECONDS: Final = 5.0
"""Wall time between two readings of the switches, which another process of trading may have set."""

_log = structlog.get_logger(__name__)


class BrokerRoutings:
    """Which brokers orders go to: where the settings allow it and nobody has switched them off.

    Args:
        switches: the stored switches.
        router: follows them.
        brokers: the active brokers.
        wall_time: returns the current wall time, aware.

    Attributes:
        rounds: reads the switches again.
    """

    def __init__(
        self,
        switches: RoutingSwitches,
        router: ExecutionRouter,
        brokers: Sequence[str],
        wall_time: Callable[[], datetime],
    ) -> None:
        self._switches = switches
        self._router = router
        self._brokers = tuple(brokers)
        self._wall_time = wall_time
        self.rounds = Rounds("broker routing", self._follow, READ_SECONDS, _log)

    async def start(self) -> None:
        """Has the router follow the stored switches before anything is sent."""
        await self._follow()
        await self.rounds.start()

    async def stop(self) -> None:
        """Stops reading the switches."""
        await self.rounds.stop()

    async def list(self) -> Sequence[trading.BrokerRouting]:
        """The routing of every active broker."""
        stored = await self._switches.all()
        return [self._message(broker, stored.get(broker)) for broker in self._brokers]

    async def set(
        self, caller: str, request: trading.SetBrokerRoutingRequest
    ) -> trading.SetBrokerRoutingResponse:
        """Switches a broker off or on; a repeated request does it once.

        Raises:
            UnknownName: the broker isn't active.
            RequestReused: the request_id came with another body.
        """
        if request.broker not in self._brokers:
            raise UnknownName("broker", request.broker, self._brokers)
        before = (await self._switches.all()).get(request.broker)
        switch = RoutingSwitch(request.broker, request.on, caller, request.reason, self._wall_time())

        def answer() -> trading.SetBrokerRoutingResponse:
            record_change({"switched_on": before is None or before.switched_on}, {"switched_on": request.on})
            return trading.SetBrokerRoutingResponse(routing=self._message(request.broker, switch))

        key = CommandKey(caller, "SetBrokerRouting", request.request_id)
        given = await self._switches.set(key, request, switch, answer)
        await self._follow()
        return trading.SetBrokerRoutingResponse.FromString(given)

    async def _follow(self) -> None:
        off = {broker for broker, switch in (await self._switches.all()).items() if not switch.switched_on}
        was_off = {broker for broker in self._router.enabled if not self._router.is_enabled(broker)}
        self._router.switch_off(off)
        for broker in sorted(off.symmetric_difference(was_off) & {*self._router.enabled}):
            _log.warning("broker.switched_off" if broker in off else "broker.switched_on", broker=broker)

    def _message(self, broker: str, switch: RoutingSwitch | None) -> trading.BrokerRouting:
        allowed, on = broker in self._router.enabled, switch is None or switch.switched_on
        return trading.BrokerRouting(
            broker=broker,
            routed=allowed and on,
            allowed=allowed,
            switched_on=on,
            changed_by="" if switch is None else switch.changed_by,
            reason="" if switch is None else switch.reason,
            changed_at=timestamp(None if switch is None else switch.changed_at),
        )
