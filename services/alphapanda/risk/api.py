"""RiskService: verdicts, limits, kill switches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import EPOCH
from alphapanda.domain.order import OrderType, Product, Side
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.domain.signal import MANUAL, PositionKey, Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.eventlog.wire import optional_moment, rule_results, timestamp
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import NotFound
from alphapanda.risk.core.limits import FREEZE_SLICES
from alphapanda.risk.core.rules import (
    instrument,
    market_hours,
    order_quantity,
    position_quantity,
    price,
)
from alphapanda.risk.desk import Instruments, RiskDesk
from alphapanda.risk.kill_switches import KillSwitches, kill_switch_message
from alphapanda.risk.store.port import RiskStore
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk
from panda.risk.v1.risk_pb2_grpc import RiskServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class RiskApi(RiskServiceServicer):
    """The servicer.

    Args:
        desk: decides.
        store: has the verdicts.
        kill_switches: sets them.
        instruments: the day's instruments.
        brokers: the active ones.
        account: the one that an empty account means.
    """

    def __init__(
        self,
        desk: RiskDesk,
        store: RiskStore,
        kill_switches: KillSwitches,
        instruments: Instruments,
        brokers: Sequence[str],
        account: str,
    ) -> None:
        self._desk = desk
        self._store = store
        self._kill_switches = kill_switches
        self._instruments = instruments
        self._brokers = tuple(brokers)
        self._account = account

    @override
    async def AuthorizeOrder(
        self, request: risk.AuthorizeOrderRequest, context: Context
    ) -> risk.AuthorizeOrderResponse:
        broker = self._active(request.broker)
        now = (await self._desk.market(())).market_time or EPOCH
        valid_until = optional_moment(request, "valid_until")
        signal = Signal(
            signal_id=request.intent_id,
            correlation_id=request.correlation_id,
            causation_id=request.intent_id,
            key=PositionKey(broker, request.account, MANUAL, request.instrument_id, Product(request.product)),
            instrument_token=request.instrument_token,
            config_revision=0,
            target=None,
            side=Side(request.side),
            quantity=request.quantity,
            order_type=OrderType(request.order_type),
            market_time=now,
            valid_until=valid_until or self._session_end(request.instrument_id, now),
        )
        return risk.AuthorizeOrderResponse(verdict=_verdict(await self._desk.authorize(signal)))

    @override
    async def GetVerdict(self, request: risk.GetVerdictRequest, context: Context) -> risk.GetVerdictResponse:
        found = await self._store.verdict(request.signal_id)
        if found is None:
            raise NotFound(
                "VERDICT_NOT_FOUND", f"signal {request.signal_id} was not judged", signal_id=request.signal_id
            )
        return risk.GetVerdictResponse(
            verdict=_waiting(found) if isinstance(found, Signal) else _verdict(found)
        )

    @override
    async def GetLimits(self, request: risk.GetLimitsRequest, context: Context) -> risk.GetLimitsResponse:
        limits = self._desk.limits
        lines = (
            (instrument.NAME, "freeze_slices", FREEZE_SLICES, "freeze quantities"),
            (price.NAME, "price_max_age", f"{limits.price_max_age.total_seconds():g}", "seconds"),
            (market_hours.NAME, "mis_cut_off", f"{limits.mis_cut_off:%H:%M}", "time in IST"),
            (order_quantity.NAME, "max_order_quantity", limits.max_order_quantity or "off", "units"),
            (position_quantity.NAME, "max_position_quantity", limits.max_position_quantity or "off", "units"),
        )
        return risk.GetLimitsResponse(
            broker=self._active(request.broker or DEFAULT_BROKER),
            account=request.account or self._account,
            limits=[
                risk.Limit(rule=rule, name=name, value=str(value), unit=unit)
                for rule, name, value, unit in lines
            ],
        )

    @override
    async def GetKillSwitch(
        self, request: risk.GetKillSwitchRequest, context: Context
    ) -> risk.GetKillSwitchResponse:
        switch = await self._kill_switches.get(self._active(request.broker or DEFAULT_BROKER))
        return risk.GetKillSwitchResponse(kill_switch=kill_switch_message(switch))

    @override
    async def SetKillSwitch(
        self, request: risk.SetKillSwitchRequest, context: Context
    ) -> risk.SetKillSwitchResponse:
        self._active(request.broker)
        return await self._kill_switches.set(current_caller.get(), request)

    def _active(self, broker: str) -> str:
        if broker not in self._brokers:
            raise InvalidInput("broker", broker, f"an active broker: {', '.join(self._brokers)}")
        return broker

    def _session_end(self, instrument_id: str, now: datetime) -> datetime:
        """The session's end; outside a session now, as nothing passes then."""
        known = self._instruments().by_id(instrument_id)
        try:
            session = self._desk.calendar.session_at(now, known.session_segment) if known else None
        except CalendarNotCovered:
            session = None
        return session.close if session else now


def _verdict(verdict: Verdict) -> risk.Verdict:
    message = risk.Verdict(
        signal_id=verdict.signal_id,
        broker=verdict.key.broker,
        account=verdict.key.account,
        strategy_id=verdict.key.strategy_id,
        instrument_id=verdict.key.instrument_id,
        instrument_token=verdict.instrument_token,
        rules=rule_results(verdict.rules),
        decided_at=timestamp(verdict.decided_at),
    )
    if isinstance(verdict, Approved):
        message.approved = True
        message.side = common.Side.ValueType(verdict.side)
        message.quantity = verdict.quantity
        message.position_effect = common.PositionEffect.ValueType(verdict.effect)
    else:
        message.reason = verdict.reason
        message.message = verdict.message
    return message


def _waiting(signal: Signal) -> risk.Verdict:
    return risk.Verdict(
        signal_id=signal.signal_id,
        broker=signal.key.broker,
        account=signal.key.account,
        strategy_id=signal.key.strategy_id,
        instrument_id=signal.key.instrument_id,
        instrument_token=signal.instrument_token,
        waiting=True,
        message="it waits for the open order under its position",
    )
