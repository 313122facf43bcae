"""RiskService: verdicts, limits, kill switches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.contract.wire import optional_moment, protection_from, terms_from
from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import EPOCH
from alphapanda.domain.order import Product, Side
from alphapanda.domain.routing import DEFAULT_BROKER
from alphapanda.domain.signal import MANUAL, PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import NotFound, Unavailable
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.risk.core.check import Inputs
from alphapanda.risk.decision_inputs import Instruments
from alphapanda.risk.decision_service import DecisionService
from alphapanda.risk.instrument_halts import set_instrument_halts
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.limit_service import LimitService
from alphapanda.risk.live_accounts import LiveAccounts
from alphapanda.risk.messages import (
    exposure_message,
    limit_messages,
    set_limit_message,
    verdict_message,
    waiting_message,
)
from alphapanda.risk.names import Names
from alphapanda.risk.reconciliation import BrokerReconciliation
from alphapanda.risk.store.port import RiskStore, SwitchScope, VerdictFilter
from alphapanda.risk.switch_events import kill_switch_message
from alphapanda.storage.group_commit import GroupCommit
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk
from panda.risk.v1.risk_pb2_grpc import RiskServiceServicer

DEFAULT_PAGE = 50
"""Verdicts on a page if the request doesn't set page_size."""
_READ_TOGETHER = 1000

Context = grpc.aio.ServicerContext[Any, Any]


class RiskApi(RiskServiceServicer):
    """Implements RiskService.

    Args:
        decisions: makes the decisions.
        store: risk's store.
        kill_switches: reads and sets kill switches.
        limit_service: changes limits.
        instruments: returns today's instruments.
        names: checks the names in requests.
        reconciliation: reconciles brokers after a repair or a restore.
        live_accounts: arms and disarms live accounts.
    """

    def __init__(
        self,
        decisions: DecisionService,
        store: RiskStore,
        kill_switches: KillSwitches,
        limit_service: LimitService,
        instruments: Instruments,
        names: Names,
        reconciliation: BrokerReconciliation,
        live_accounts: LiveAccounts,
    ) -> None:
        self._decisions = decisions
        self._store = store
        self._kill_switches = kill_switches
        self._limit_service = limit_service
        self._instruments = instruments
        self._names = names
        self._reconciliation = reconciliation
        self._live_accounts = live_accounts
        self._market_times = GroupCommit(self._read_market_time, _READ_TOGETHER)

    @override
    async def AuthorizeOrder(
        self, request: risk.AuthorizeOrderRequest, context: Context
    ) -> risk.AuthorizeOrderResponse:
        broker = self._names.broker(request.broker)
        now = await self._market_times.submit(request) or EPOCH
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
            terms=terms_from(request),
            market_time=now,
            valid_until=valid_until or self._session_end(request.instrument_id, now),
            protection=protection_from(request),
        )
        return risk.AuthorizeOrderResponse(verdict=verdict_message(await self._decisions.authorize(signal)))

    @override
    async def GetVerdict(self, request: risk.GetVerdictRequest, context: Context) -> risk.GetVerdictResponse:
        found = await self._store.verdict(request.signal_id)
        if found is None:
            raise NotFound(
                "VERDICT_NOT_FOUND", f"signal {request.signal_id} was not judged", signal_id=request.signal_id
            )
        return risk.GetVerdictResponse(
            verdict=waiting_message(found) if isinstance(found, Signal) else verdict_message(found)
        )

    @override
    async def ListVerdicts(
        self, request: risk.ListVerdictsRequest, context: Context
    ) -> risk.ListVerdictsResponse:
        wanted = VerdictFilter(
            request.broker,
            request.account,
            request.strategy_id,
            request.instrument_id,
            request.approved if request.HasField("approved") else None,
            optional_moment(request, "since"),
            optional_moment(request, "until"),
            request.correlation_id.lower(),
        )
        filters = f"verdicts {wanted}"
        before = decode_page_token(request.page_token, filters, int)
        size = request.page_size or DEFAULT_PAGE
        found = await self._store.verdicts(wanted, before[0] if before else None, size + 1)
        if not found and before is None:
            await self._check_filter(request)
        page, more = found[:size], len(found) > size
        return risk.ListVerdictsResponse(
            verdicts=[verdict_message(one.verdict) for one in page],
            next_page_token=encode_page_token((page[-1].number,), filters) if more else "",
        )

    @override
    async def EvaluateSignal(
        self, request: risk.EvaluateSignalRequest, context: Context
    ) -> risk.EvaluateSignalResponse:
        broker = self._names.broker(request.broker or DEFAULT_BROKER)
        key = PositionKey(
            broker,
            await self._names.account(broker, request.account),
            request.strategy_id or MANUAL,
            self._names.instrument(request.instrument_id),
            Product(request.product or Product.MIS),
        )
        known = self._instruments().by_id(key.instrument_id)
        token = known.instrument_token if known is not None else 0
        book, inputs = await self._decisions.inspect(key.broker, key.account, [key], [token])
        now = inputs.market.market_time or EPOCH
        explicit = request.WhichOneof("wanted") == "explicit_order"
        signal_id = ids.derived_id("evaluation", key)
        signal = Signal(
            signal_id=signal_id,
            correlation_id=signal_id,
            causation_id="",
            key=key,
            instrument_token=token,
            config_revision=self._revision(request.strategy_id, inputs),
            target=None if explicit else request.target_position,
            side=Side(request.explicit_order.side) if explicit else None,
            quantity=request.explicit_order.quantity if explicit else None,
            terms=AT_MARKET,
            market_time=now,
            valid_until=self._session_end(key.instrument_id, now),
        )
        held = book.position(key).quantity
        given = [one for one in book.judge(signal, inputs) if one.signal_id == signal_id]
        verdict = verdict_message(given[0]) if given else waiting_message(signal)
        return risk.EvaluateSignalResponse(verdict=verdict, held=held)

    @override
    async def GetExposure(
        self, request: risk.GetExposureRequest, context: Context
    ) -> risk.GetExposureResponse:
        broker = self._names.broker(request.broker or DEFAULT_BROKER)
        account = await self._names.account(broker, request.account)
        return exposure_message(broker, account, *await self._decisions.inspect(broker, account))

    @override
    async def GetLimits(self, request: risk.GetLimitsRequest, context: Context) -> risk.GetLimitsResponse:
        broker, account = self._names.broker(request.broker or DEFAULT_BROKER), request.account
        if not (account and request.even_if_unknown):
            account = await self._names.account(broker, account)
        async with self._store.unit(broker, account, dry=True) as unit:
            scoped = unit.limits
        if not request.even_if_unknown:
            await self._names.strategy(request.strategy_id, {row.scope.strategy_id for row in scoped.rows})
            if request.instrument_id:
                self._names.instrument(
                    request.instrument_id, {row.scope.instrument_id for row in scoped.rows}
                )
        return risk.GetLimitsResponse(
            broker=broker,
            account=account,
            limits=limit_messages(
                self._decisions.inputs.limits_at(broker), scoped, request.strategy_id, request.instrument_id
            ),
            version=scoped.version,
            set=[set_limit_message(row) for row in scoped.rows],
        )

    @override
    async def SetInstrumentHalts(
        self, request: risk.SetInstrumentHaltsRequest, context: Context
    ) -> risk.SetInstrumentHaltsResponse:
        self._names.broker(request.broker)
        return await set_instrument_halts(self._store, request)

    @override
    async def UpdateLimits(
        self, request: risk.UpdateLimitsRequest, context: Context
    ) -> risk.UpdateLimitsResponse:
        broker = self._names.broker(request.broker)
        if not request.even_if_unknown:
            await self._names.account(broker, request.account)
            if unverified := await self._names.strategy(request.strategy_id):
                raise Unavailable("NAMES_UNREADABLE", unverified)
            if request.instrument_id:
                self._names.instrument(request.instrument_id)
        return await self._limit_service.update(current_caller.get(), request)

    @override
    async def GetKillSwitch(
        self, request: risk.GetKillSwitchRequest, context: Context
    ) -> risk.GetKillSwitchResponse:
        if request.strategy_id and request.account:
            raise InvalidInput("account", request.account, "a strategy or an account, not both")
        broker = self._names.broker(request.broker or DEFAULT_BROKER)
        scope = SwitchScope(broker, request.strategy_id, request.account)
        switch = await self._kill_switches.get(scope)
        if not switch.revision:  # a switch that was set is known, whatever its name
            await self._names.account(broker, request.account)
            await self._names.strategy(request.strategy_id)
        return risk.GetKillSwitchResponse(
            kill_switch=kill_switch_message(switch), difference=self._kill_switches.difference(scope)
        )

    @override
    async def ReconcileBroker(
        self, request: risk.ReconcileBrokerRequest, context: Context
    ) -> risk.ReconcileBrokerResponse:
        self._names.broker(request.broker)
        return await self._reconciliation.reconcile(current_caller.get(), request)

    @override
    async def SetKillSwitch(
        self, request: risk.SetKillSwitchRequest, context: Context
    ) -> risk.SetKillSwitchResponse:
        self._names.broker(request.broker)
        unverified = "" if request.even_if_unknown else await self._check_strategy(request)
        if unverified and request.state == common.TRADING_STATE_ACTIVE:
            raise Unavailable("NAMES_UNREADABLE", unverified)
        answer = await self._kill_switches.set(current_caller.get(), request)
        answer.unverified = unverified
        return answer

    @override
    async def GetLiveAccounts(
        self, request: risk.GetLiveAccountsRequest, context: Context
    ) -> risk.GetLiveAccountsResponse:
        if request.broker:
            self._names.broker(request.broker)
        return risk.GetLiveAccountsResponse(accounts=await self._live_accounts.list(request.broker))

    @override
    async def ArmLiveAccount(
        self, request: risk.ArmLiveAccountRequest, context: Context
    ) -> risk.ArmLiveAccountResponse:
        self._names.broker(request.broker)
        return await self._live_accounts.arm(current_caller.get(), request)

    @override
    async def DisarmLiveAccount(
        self, request: risk.DisarmLiveAccountRequest, context: Context
    ) -> risk.DisarmLiveAccountResponse:
        self._names.broker(request.broker)
        return await self._live_accounts.disarm(current_caller.get(), request)

    async def _read_market_time(self, asked: Sequence[risk.AuthorizeOrderRequest]) -> list[datetime | None]:
        """Reads market time once for a group of orders, so that many at once don't cause as many Redis reads."""
        return [(await self._decisions.inputs.market(())).market_time] * len(asked)

    async def _check_strategy(self, request: risk.SetKillSwitchRequest) -> str:
        """Checks the strategy whose switch is set; returns why that isn't possible now."""
        try:
            return await self._names.strategy(request.strategy_id)
        except UnknownName:
            scope = SwitchScope(request.broker, request.strategy_id)
            if (await self._kill_switches.get(scope)).revision:  # whoever meant it can take it back
                return ""
            raise

    async def _check_filter(self, request: risk.ListVerdictsRequest) -> None:
        """Refuses a filter that names nothing known: an empty page would read as if nothing had been decided."""
        if request.broker:
            self._names.broker(request.broker)
        await self._names.account(request.broker, request.account)
        await self._names.strategy(request.strategy_id)
        if request.instrument_id:
            self._names.instrument(request.instrument_id)

    def _revision(self, strategy_id: str, inputs: Inputs) -> int:
        """The newest revision of a strategy; 0 for manual orders."""
        if strategy_id in ("", MANUAL):
            return 0
        status = inputs.strategy_statuses.get(strategy_id)
        if status is None:
            raise UnknownName("strategy_id", strategy_id, [*inputs.strategy_statuses, MANUAL])
        return status.revision

    def _session_end(self, instrument_id: str, now: datetime) -> datetime:
        """The end of the current session; outside a session `now`, because no order passes then."""
        known = self._instruments().by_id(instrument_id)
        try:
            session = (
                self._decisions.inputs.calendar.session_at(now, known.session_segment) if known else None
            )
        except CalendarNotCovered:
            session = None
        return session.close if session else now
