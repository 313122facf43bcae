"""Reconciles brokers that are halted since a repair or a restore: orders, positions and cash of all books have to agree.

A broker that only simulates is reconciled by itself, against the exchange's own journal. At a live broker a person asks for
it, because the broker may know of orders that the database has forgotten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import grpc
import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import Product
from alphapanda.mesh.errors import FailedPrecondition, Unavailable
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.store.port import DueReconciliation, RiskStore, SwitchScope
from alphapanda.risk.switch_events import kill_switch_message
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

_ROUND_SECONDS = 1.0
_CALLER = "reconciliation"
_log = structlog.get_logger(__name__)


class Holding(NamedTuple):
    """Account, instrument and product, under which the positions of all strategies are added up for the comparison."""

    account: str
    instrument_id: str
    product: Product


Held = Mapping[Holding, int]


class Comparer(Protocol):
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def GetBrokerComparison(  # noqa: N802 - the contract's name
        self, request: trading.GetBrokerComparisonRequest, /
    ) -> Awaitable[trading.GetBrokerComparisonResponse]:
        """What trading holds."""


class Books(Protocol):
    """The part of PortfolioService that is called here; PortfolioServiceStub implements it."""

    def GetReconciliation(  # noqa: N802 - the contract's name
        self, request: portfolio.GetReconciliationRequest, /
    ) -> Awaitable[portfolio.GetReconciliationResponse]:
        """How the broker's books, trading's and portfolio's compare."""


class BrokerReconciliation:
    """Compares the books of a broker and gives it back its kill switch of before.

    Args:
        store: risk's store.
        kill_switches: sets the broker's switch.
        comparer: tells what trading holds.
        books: compares the broker's own books, trading's and portfolio's.
        simulated: the brokers that are reconciled without a person.

    Attributes:
        rounds: reconciles the simulated brokers that are due.
    """

    def __init__(
        self,
        store: RiskStore,
        kill_switches: KillSwitches,
        comparer: Comparer,
        books: Books,
        simulated: Collection[str],
    ) -> None:
        self._store = store
        self._kill_switches = kill_switches
        self._comparer = comparer
        self._books = books
        self._due = set(simulated)
        self._said: dict[str, Sequence[str]] = {}
        self.rounds = Rounds("reconciliation of brokers", self._round, _ROUND_SECONDS, _log)

    async def reconcile(
        self, caller: str, request: risk.ReconcileBrokerRequest
    ) -> risk.ReconcileBrokerResponse:
        """Reconciles a broker that is due.

        Raises:
            FailedPrecondition: it isn't.
            InvalidInput: differences are to be accepted without a reason.
            Unavailable: trading or portfolio doesn't answer.
        """
        due = await self._store.reconciliation_due(request.broker)
        if due is None:
            raise FailedPrecondition(
                "NO_RECONCILIATION_DUE", f"broker {request.broker!r} is not halted for a repair or a restore"
            )
        if request.accept_differences and not request.reason:
            raise InvalidInput("reason", "", "say why the differences are accepted")
        try:
            found = await self._differences(request.broker)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(
                "BOOKS_UNREADABLE", f"trading or portfolio doesn't tell its books now: {error.details()}"
            ) from error
        released = not found or request.accept_differences
        if released:
            await self._release(caller, request, due, found)
        switch = await self._kill_switches.get(SwitchScope(request.broker))
        return risk.ReconcileBrokerResponse(
            released=released, differences=found, kill_switch=kill_switch_message(switch)
        )

    async def _release(
        self,
        caller: str,
        request: risk.ReconcileBrokerRequest,
        due: DueReconciliation,
        accepted: Sequence[str],
    ) -> None:
        reason = f"reconciled after: {due.cause}"
        wanted = risk.SetKillSwitchRequest(
            request_id=request.request_id,
            broker=request.broker,
            state=common.TradingState.ValueType(due.state_before),
            reason=f"{reason}; {len(accepted)} differences accepted: {request.reason}"
            if accepted
            else reason,
        )
        await self._kill_switches.set(caller, wanted, reconciled=True)
        await self._store.end_reconciliation(request.broker)
        _log.info("broker.reconciled", broker=request.broker, reason=due.cause, differences=list(accepted))

    async def _round(self) -> None:
        for broker in sorted(self._due):
            due = await self._store.reconciliation_due(broker)
            if due is None:
                self._due.discard(broker)
                continue
            request = risk.ReconcileBrokerRequest(
                request_id=f"{broker}-{due.due_since.isoformat()}", broker=broker
            )
            answer = await self.reconcile(_CALLER, request)
            if not answer.released and self._said.get(broker) != list(answer.differences):
                self._said[broker] = list(answer.differences)
                _log.error(
                    "broker.not_reconciled", alarm=True, broker=broker, differences=list(answer.differences)
                )

    async def _differences(self, broker: str) -> list[str]:
        compared = await self._comparer.GetBrokerComparison(trading.GetBrokerComparisonRequest(broker=broker))
        in_trading = {
            Holding(one.account, one.instrument_id, Product(one.product)): one.quantity
            for one in compared.held
        }
        in_risk = {Holding(*whose): quantity for whose, quantity in (await self._store.held(broker)).items()}
        found: list[str] = []
        answer = await self._books.GetReconciliation(portfolio.GetReconciliationRequest(broker=broker))
        for account in answer.accounts:
            if account.problem:
                found.append(f"account {account.account}: {account.problem}")
            found += [
                one.sentence
                for one in account.discrepancies
                if one.severity > portfolio.DISCREPANCY_SEVERITY_INFO
            ]
        known = {account.account for account in answer.accounts}
        found += [
            f"account {account}: portfolio has none, and trading holds positions in it"
            for account in sorted({whose.account for whose in in_trading} - known)
        ]
        return [*dict.fromkeys(found), *_apart("risk", in_risk, in_trading)]


def _apart(name: str, held: Held, in_trading: Held) -> list[str]:
    return [
        f"{which.instrument_id} {which.product.name} of {which.account}: {name} holds {held.get(which, 0)},"
        f" trading {in_trading.get(which, 0)}"
        for which in sorted(held.keys() | in_trading.keys())
        if held.get(which, 0) != in_trading.get(which, 0)
    ]
