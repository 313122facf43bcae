"""A broker that is halted for a repair or a restore is released when its books agree, or when a person says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import money
from alphapanda.domain.order import TradingState
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.reconciliation import BrokerReconciliation
from alphapanda.risk.store.port import SwitchScope
from alphapanda.risk.store.postgres import PostgresRiskStore
from alphapanda.risk.store.recovery import halt_until_reconciled
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

CAUSE = "a backup was restored"
PAPER = SwitchScope("paper")


class FakeBooks:
    """Trading's and portfolio's books: ten INFY bought for 1,000 rupees, or what a test makes of them."""

    def __init__(self) -> None:
        self.cash = Decimal(-1000)
        self.portfolio_holds = 0
        self.day_charges: Decimal | None = None
        self.differences: Sequence[str] = ()

    async def GetBrokerComparison(self, _) -> trading.GetBrokerComparisonResponse:  # noqa: N802
        cash = [trading.BrokerCash(account="default", traded=money(Decimal(-1000)))]
        return trading.GetBrokerComparisonResponse(differences=self.differences, cash=cash)

    async def ListPortfolios(self, _) -> portfolio.ListPortfoliosResponse:  # noqa: N802
        starting = Decimal(5000)
        account = portfolio.Portfolio(
            account="default",
            starting_cash=money(starting),
            cash=money(starting + self.cash),
            day_charges=money(self.day_charges),
        )
        return portfolio.ListPortfoliosResponse(portfolios=[account])

    async def ListPositions(self, _) -> portfolio.ListPositionsResponse:  # noqa: N802
        position = portfolio.Position(
            instrument_id="NSE:INFY", product=common.PRODUCT_MIS, quantity=self.portfolio_holds
        )
        return portfolio.ListPositionsResponse(positions=[position])


@pytest.fixture
async def halted(tables: str, mirror, trading):
    """A broker that was REDUCING and is halted since a restore."""
    engine = open_engine(tables, 5)
    outbox = Outbox("risk", TopicMap(("paper",)))
    store = PostgresRiskStore(engine, outbox)
    switches = KillSwitches(
        store,
        mirror,
        trading,
        ("paper",),
        lambda: datetime.now(UTC),
    )
    await switches.set("me", wanted(common.TRADING_STATE_REDUCING, "before"))
    async with engine.begin() as connection:
        await halt_until_reconciled(connection, outbox, "paper", CAUSE, datetime.now(UTC), 7)
    books = FakeBooks()
    yield switches, BrokerReconciliation(store, switches, books, books, ("paper",)), books
    await engine.dispose()


def wanted(state: common.TradingState.ValueType, request_id: str) -> risk.SetKillSwitchRequest:
    return risk.SetKillSwitchRequest(request_id=request_id, broker="paper", state=state, reason="because")


def asked(request_id: str, **more) -> risk.ReconcileBrokerRequest:
    return risk.ReconcileBrokerRequest(request_id=request_id, broker="paper", **more)


async def test_books_that_agree_give_the_broker_its_state_of_before(halted) -> None:
    """The broker is HALTED with a revision beyond trading's copy; where all books agree it is REDUCING again, as it was."""
    switches, reconciliation, _ = halted
    held = await switches.get(PAPER)
    assert (held.state, held.revision) == (TradingState.HALTED, 8)
    assert CAUSE in held.reason
    answer = await reconciliation.reconcile("me", asked("r1"))
    assert answer.released
    assert (await switches.get(PAPER)).state is TradingState.REDUCING
    with pytest.raises(FailedPrecondition, match="not halted for a repair or a restore"):
        await reconciliation.reconcile("me", asked("r2"))


async def test_charges_that_only_portfolio_books_are_no_difference(halted) -> None:
    """A day's rounding and DP charges aren't in the cash of the broker's trades."""
    _, reconciliation, books = halted
    books.cash, books.day_charges = Decimal("-1015.84"), Decimal("15.84")
    assert (await reconciliation.reconcile("me", asked("r1"))).released


async def test_a_difference_keeps_the_broker_halted(halted) -> None:
    """Orders, positions or cash that differ are named, and only a person who says why releases the broker in spite of them."""
    switches, reconciliation, books = halted
    books.cash, books.portfolio_holds = Decimal(-900), 10
    books.differences = ("order T1: the broker has it with 10 filled, trading doesn't know it",)
    answer = await reconciliation.reconcile("me", asked("r1"))
    assert not answer.released
    assert list(answer.differences) == [
        *books.differences,
        "cash of default: the broker's trades made -1000, portfolio's -900",
        "NSE:INFY MIS of default: portfolio holds 10, trading 0",
    ]
    assert (await switches.get(PAPER)).state is TradingState.HALTED
    with pytest.raises(ValueError, match="say why"):
        await reconciliation.reconcile("me", asked("r2", accept_differences=True))
    answer = await reconciliation.reconcile("me", asked("r3", accept_differences=True, reason="compared"))
    assert answer.released
    switch = await switches.get(PAPER)
    assert switch.state is TradingState.REDUCING
    assert "3 differences accepted: compared" in switch.reason


async def test_a_kill_switch_does_not_release_it(halted) -> None:
    """Until it was reconciled the broker's switch can be set to HALTED only; the refusal names the command that releases it."""
    switches, _, _ = halted
    with pytest.raises(FailedPrecondition, match="alphapanda reconcile --broker paper"):
        await switches.set("me", wanted(common.TRADING_STATE_ACTIVE, "now"))
    await switches.set("me", wanted(common.TRADING_STATE_HALTED, "still"))
    assert (await switches.get(PAPER)).state is TradingState.HALTED
