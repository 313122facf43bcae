"""Builds the cycle of the exchange's day, where a live broker is enabled: what each step asks of which service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import grpc

from alphapanda.app.clocks import wall_clock
from alphapanda.app.kite_accounts import BROKER_SESSION_SERVICE, accounts_of_brokers, kite_accounts
from alphapanda.app.resources import ProcessResources, enabled_brokers
from alphapanda.contract.wire import exact
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.ops.day_cycle import Check, DayCycle, NotYet
from alphapanda.ops.day_steps import DayStep
from alphapanda.storage.audit import PostgresAudit
from panda.auth.v1.broker_session_pb2 import BROKER_SESSION_STATE_LIVE, GetBrokerSessionRequest
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.common.v1.common_pb2 import (
    ORDER_STATUS_OPEN,
    ORDER_STATUS_PARTIALLY_FILLED,
    ORDER_STATUS_SUBMITTING,
    ORDER_STATUS_UNKNOWN,
    PRODUCT_MIS,
    SIDE_BUY,
)
from panda.instruments.v1.instruments_pb2 import ListInstrumentsRequest
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2 import GetExposureRequest, GetLiveAccountsRequest, LiveAccount
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

SEGMENT: Final = "NSE_EQ"
"""Whose sessions are the day's."""
_NEWEST_POINTS: Final = 5_000
RISK_SERVICE: Final = "panda.risk.v1.RiskService"
PORTFOLIO_SERVICE: Final = "panda.portfolio.v1.PortfolioService"
INSTRUMENT_SERVICE: Final = "panda.instruments.v1.InstrumentService"
TRADING_SERVICE: Final = "panda.trading.v1.TradingService"
NOTHING_INTRADAY: Final = "no MIS position is held"
_WORKING: Final = (
    ORDER_STATUS_SUBMITTING,
    ORDER_STATUS_UNKNOWN,
    ORDER_STATUS_OPEN,
    ORDER_STATUS_PARTIALLY_FILLED,
)

Account = tuple[str, str]


class LiveDay:
    """What the steps ask and say of the live accounts.

    Args:
        resources: shared by the services of this process.
        brokers: the live brokers that are enabled.
    """

    def __init__(self, resources: ProcessResources, brokers: Sequence[str]) -> None:
        self._brokers = brokers
        self._sessions_of = kite_accounts(resources.settings) if "zerodha" in brokers else ()
        named = accounts_of_brokers(resources.settings, brokers)
        self._accounts = [(broker, account) for broker in brokers for account in named[broker]]
        risk = resources.channel("risk", RISK_SERVICE, caller="ops")
        books = resources.channel("portfolio", PORTFOLIO_SERVICE, caller="ops")
        registry = resources.channel("instruments", INSTRUMENT_SERVICE, caller="ops")
        sessions = resources.channel("auth", BROKER_SESSION_SERVICE, caller="ops")
        orders = resources.channel("trading", TRADING_SERVICE, caller="ops")
        self.channels = (risk, books, registry, sessions, orders)
        self._trading = TradingServiceStub(orders)
        self._risk = RiskServiceStub(risk)
        self._portfolio = PortfolioServiceStub(books)
        self._instruments = InstrumentServiceStub(registry)
        self._sessions = BrokerSessionServiceStub(sessions)

    @property
    def checks(self) -> dict[DayStep, Check]:
        """What each step does."""
        return {
            DayStep.SESSION: _asking(self.session),
            DayStep.INSTRUMENTS: _asking(self.instruments),
            DayStep.LIMITS: _asking(self.limits),
            DayStep.RECONCILIATION: _asking(self.reconciliation),
            DayStep.OPEN: _asking(self.open),
            DayStep.CUT_OFF: _asking(self.covered),
            DayStep.COVERED: _asking(self.covered),
            DayStep.FLAT: _asking(self.flat),
            DayStep.SNAPSHOT: _asking(self.snapshot),
            DayStep.REPORT: _asking(self.report),
        }

    async def session(self) -> str:
        """Somebody is signed in to each account."""
        users = []
        for account in self._sessions_of:
            asked = GetBrokerSessionRequest(broker="zerodha", account=account)
            session = (await self._sessions.GetBrokerSession(asked)).session
            if session.state != BROKER_SESSION_STATE_LIVE:
                raise NotYet(f"nobody is signed in to zerodha/{account}: `alphapanda kite login`")
            users.append(f"{session.broker_user_id} is signed in to zerodha/{account}")
        return "; ".join(users) or "no broker here needs a session"

    async def instruments(self) -> str:
        """Instruments are known."""
        found = await self._instruments.ListInstruments(ListInstrumentsRequest(page_size=1))
        if not found.instruments:
            raise NotYet("no instruments are known: `alphapanda instruments` imports them")
        return f"instruments are known, at revision {found.revision} of their registry"

    async def limits(self) -> str:
        """Each live account has its required limits; whether it is armed is said, and is a person's decision."""
        accounts = await self._live()
        for one in accounts:
            if unset := [limit.name for limit in one.limits if limit.value == "off"]:
                raise NotYet(f"{one.broker}/{one.account} has no {', '.join(unset)}")
        return "; ".join(f"{one.broker}/{one.account} has its limits, {_armed(one)}" for one in accounts)

    async def reconciliation(self) -> str:
        """The brokers' books agree with ours, but for what is only worth a warning."""
        compared, told = 0, list[str]()
        for broker in self._brokers:
            asked = portfolio.GetReconciliationRequest(broker=broker)
            for one in (await self._portfolio.GetReconciliation(asked)).accounts:
                whose = f"{one.broker}/{one.account}"
                if one.problem:
                    raise NotYet(f"{whose} couldn't be compared: {one.problem}")
                critical = [
                    found.sentence
                    for found in one.discrepancies
                    if found.severity == portfolio.DISCREPANCY_SEVERITY_CRITICAL
                ]
                if critical:
                    raise NotYet(f"{whose}: {critical[0]} ({len(critical)} in all): `alphapanda reconcile`")
                compared += one.compared
                told += [f"{whose}: {line}" for line in one.not_compared]
        known = f"; {told[0]} ({len(told)} to know of: `alphapanda reconcile`)" if told else ""
        return f"books agree: {compared} entries of the brokers' were compared{known}"

    async def open(self) -> str:
        """The market is open; says which accounts take entries."""
        return "; ".join(f"{one.broker}/{one.account}: {_armed(one)}" for one in await self._live())

    async def covered(self) -> str:
        """What is held intraday is on its way out: an exit of its units works, a stop that waits for its trigger aside."""
        leaving: list[str] = []
        left: list[str] = []
        for account in self._accounts:
            if not (held := await self._intraday(account)):
                continue
            exits = await self._exits(account)
            for one in held:
                way = exits[(one.strategy_id, one.symbol, -1 if one.quantity > 0 else 1)]
                (leaving if way >= abs(one.quantity) else left).append(_position(one, account))
        if left:
            raise NotYet(f"MIS positions without an exit on its way: {', '.join(left)}")
        return f"on their way out: {', '.join(leaving)}" if leaving else NOTHING_INTRADAY

    async def flat(self) -> str:
        """Nothing intraday is held any more."""
        held = [
            _position(one, account) for account in self._accounts for one in await self._intraday(account)
        ]
        if held:
            raise NotYet(f"MIS positions are held after the cut-off: {', '.join(held)}")
        return NOTHING_INTRADAY

    async def snapshot(self) -> str:
        """The day's last snapshot of each account holds all its fills."""
        for account in self._accounts:
            found = await self._books(account)
            if found is None:
                continue
            points = (
                await self._portfolio.GetEquityCurve(
                    portfolio.GetEquityCurveRequest(
                        broker=account[0],
                        account=account[1],
                        start_time=found.changed_at if found.HasField("changed_at") else None,
                        page_size=_NEWEST_POINTS,
                    )
                )
            ).points
            if not points or points[-1].revision < found.revision:
                raise NotYet(f"{account[0]}/{account[1]} has no snapshot after its last fill yet")
        return "each account's last fill is in a snapshot"

    async def report(self) -> str:
        """What the day brought, by account."""
        lines = []
        for broker, account in self._accounts:
            found = await self._books((broker, account))
            if found is None:
                lines.append(f"{broker}/{account}: no fill yet")
                continue
            day = await self._risk.GetExposure(GetExposureRequest(broker=broker, account=account))
            profit = exact(found.day_pnl.amount) if found.HasField("day_pnl") else None
            lines.append(
                f"{broker}/{account} on {day.day}: {day.trades} orders, profit"
                f" {'unknown' if profit is None else f'{profit:.2f}'}, charges {exact(day.charges.amount):.2f} rupees"
            )
        return "; ".join(lines)

    async def _live(self) -> Sequence[LiveAccount]:
        answer = await self._risk.GetLiveAccounts(GetLiveAccountsRequest())
        return [one for one in answer.accounts if one.broker in self._brokers]

    async def _books(self, account: Account) -> portfolio.Portfolio | None:
        """An account's portfolio; None where it has no books yet."""
        asked = portfolio.GetPortfolioRequest(broker=account[0], account=account[1])
        try:
            return (await self._portfolio.GetPortfolio(asked)).portfolio
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def _intraday(self, account: Account) -> Sequence[portfolio.Position]:
        if await self._books(account) is None:
            return ()
        asked = portfolio.ListPositionsRequest(broker=account[0], account=account[1], page_size=1000)
        held = (await self._portfolio.ListPositions(asked)).positions
        return [one for one in held if one.product == PRODUCT_MIS and one.quantity]

    async def _exits(self, account: Account) -> Counter[tuple[str, str, int]]:
        """Units that working MIS orders may still trade, by strategy, symbol and sign; a stop that waits trades nothing yet."""
        asked = trading.ListOrdersRequest(
            broker=account[0], account=account[1], statuses=_WORKING, page_size=500
        )
        units: Counter[tuple[str, str, int]] = Counter()
        for one in (await self._trading.ListOrders(asked)).orders:
            order = one.state
            if order.product == PRODUCT_MIS and not order.trigger_pending:
                sign = 1 if order.side == SIDE_BUY else -1
                units[(order.strategy_id, one.symbol, sign)] += order.leaves_quantity
        return units


def day_cycle(
    resources: ProcessResources, market_time: Callable[[], Awaitable[datetime | None]]
) -> tuple[DayCycle, Sequence[grpc.aio.Channel]] | None:
    """Builds the cycle and returns it with its channels; None where no live broker is enabled."""
    enabled = enabled_brokers(resources.settings)
    live = [name for name in resources.brokers.live(resources.settings.active_brokers) if name in enabled]
    if not live:
        return None
    steps = LiveDay(resources, live)
    audit = PostgresAudit(resources.engine)
    cycle = DayCycle(resources.calendar, SEGMENT, market_time, steps.checks, audit, wall_clock)
    return cycle, steps.channels


def _position(held: portfolio.Position, account: Account) -> str:
    return f"{held.quantity} {held.symbol} of {held.strategy_id} at {account[0]}/{account[1]}"


def _armed(account: LiveAccount) -> str:
    return account.why_not or "armed"


def _asking(step: Check) -> Check:
    """A step whose refused and unanswered calls are reasons to try again, in words."""

    async def asked() -> str:
        try:
            return await step()
        except grpc.aio.AioRpcError as error:
            raise NotYet(describe_rpc_error(error)) from error

    return asked
