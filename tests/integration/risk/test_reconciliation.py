"""A broker that is halted for a repair or a restore is released when its books agree, or when a person says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from alphapanda.contract.topics import TopicMap
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
    """What trading holds, and how portfolio compares everybody's books; nothing differs, unless a test makes it."""

    def __init__(self) -> None:
        self.differences: Sequence[str] = ()
        self.problem = ""
        self.held: Sequence[trading.HeldQuantity] = ()

    async def GetBrokerComparison(self, _) -> trading.GetBrokerComparisonResponse:  # noqa: N802
        return trading.GetBrokerComparisonResponse(held=self.held)

    async def GetReconciliation(self, _) -> portfolio.GetReconciliationResponse:  # noqa: N802
        found = [
            portfolio.Discrepancy(severity=portfolio.DISCREPANCY_SEVERITY_WARNING, sentence=sentence)
            for sentence in self.differences
        ]
        known = portfolio.Discrepancy(severity=portfolio.DISCREPANCY_SEVERITY_INFO, sentence="held outside")
        account = portfolio.AccountReconciliation(
            account="default", problem=self.problem, discrepancies=[*found, *found, known]
        )
        return portfolio.GetReconciliationResponse(accounts=[account])


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


async def test_a_difference_keeps_the_broker_halted(halted) -> None:
    """Orders, positions or cash that differ are named, and only a person who says why releases the broker in spite of them."""
    switches, reconciliation, books = halted
    books.differences = ("order T1: the broker has it with 10 filled, trading doesn't know it",)
    books.problem = "trading doesn't tell its books now"
    books.held = [
        trading.HeldQuantity(
            account=account, instrument_id="NSE:INFY", product=common.PRODUCT_MIS, quantity=10
        )
        for account in ("default", "other")
    ]
    answer = await reconciliation.reconcile("me", asked("r1"))
    assert not answer.released
    assert list(answer.differences) == [
        "account default: trading doesn't tell its books now",
        *books.differences,
        "account other: portfolio has none, and trading holds positions in it",
        "NSE:INFY MIS of default: risk holds 0, trading 10",
        "NSE:INFY MIS of other: risk holds 0, trading 10",
    ]
    assert (await switches.get(PAPER)).state is TradingState.HALTED
    with pytest.raises(ValueError, match="say why"):
        await reconciliation.reconcile("me", asked("r2", accept_differences=True))
    answer = await reconciliation.reconcile("me", asked("r3", accept_differences=True, reason="compared"))
    assert answer.released
    switch = await switches.get(PAPER)
    assert switch.state is TradingState.REDUCING
    assert "5 differences accepted: compared" in switch.reason


async def test_a_kill_switch_does_not_release_it(halted) -> None:
    """Until it was reconciled the broker's switch can be set to HALTED only; the refusal names the command that releases it."""
    switches, _, _ = halted
    with pytest.raises(FailedPrecondition, match="alphapanda reconcile --broker paper"):
        await switches.set("me", wanted(common.TRADING_STATE_ACTIVE, "now"))
    await switches.set("me", wanted(common.TRADING_STATE_HALTED, "still"))
    assert (await switches.get(PAPER)).state is TradingState.HALTED
