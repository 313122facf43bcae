"""`alphapanda reconcile` on the command line: one command compares and releases, tables say what differs, the exit code says whether."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from alphapanda.commands import reconcile as commands
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.risk.v1 import risk_pb2 as risk

FOUND = portfolio.Discrepancy(
    discrepancy_id="8d3c",
    broker="zerodha",
    account="default",
    kind=portfolio.DISCREPANCY_KIND_POSITION,
    severity=portfolio.DISCREPANCY_SEVERITY_CRITICAL,
    state=portfolio.DISCREPANCY_STATE_OPEN,
    instrument_id="NSE:INFY",
    product=common.PRODUCT_CNC,
    subject="position",
    ours="10",
    theirs="7",
    probable_cause="the broker is flat",
)


class NotDue(grpc.aio.AioRpcError):
    """The broker isn't halted for a repair or a restore."""

    def __init__(self) -> None:
        nothing = grpc.aio.Metadata()
        super().__init__(grpc.StatusCode.FAILED_PRECONDITION, nothing, nothing, "not halted")


class Platform:
    """RiskService and PortfolioService of a platform, with what they answer."""

    def __init__(self) -> None:
        self.risk = self.portfolio = self
        self.due: risk.ReconcileBrokerResponse | None = None
        self.account = portfolio.AccountReconciliation(broker="zerodha", account="default")
        self.asked: list[Any] = []

    async def ReconcileBroker(self, request: Any) -> risk.ReconcileBrokerResponse:  # noqa: N802
        self.asked.append(request)
        if self.due is None:
            raise NotDue
        return self.due

    async def Reconcile(self, request: Any) -> portfolio.ReconcileResponse:  # noqa: N802
        self.asked.append(request)
        return portfolio.ReconcileResponse(accounts=[self.account])

    async def ListDiscrepancies(self, request: Any) -> portfolio.ListDiscrepanciesResponse:  # noqa: N802
        self.asked.append(request)
        return portfolio.ListDiscrepanciesResponse(discrepancies=[FOUND])

    async def ResolveDiscrepancy(self, request: Any) -> portfolio.ResolveDiscrepancyResponse:  # noqa: N802
        self.asked.append(request)
        return portfolio.ResolveDiscrepancyResponse(discrepancy=FOUND)

    async def ImportContractNote(self, request: Any) -> portfolio.ImportContractNoteResponse:  # noqa: N802
        self.asked.append(request)
        return portfolio.ImportContractNoteResponse(fills=3)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform that the commands ask."""
    made = Platform()

    def ask(_: object, question: Callable[[Platform], Any]) -> Any:
        async def answered() -> Any:
            answer = question(made)
            return await answer if inspect.isawaitable(answer) else answer

        return asyncio.run(answered())

    class Failure:
        reason = "NO_RECONCILIATION_DUE"

    monkeypatch.setattr(commands, "ask", ask)
    monkeypatch.setattr(commands, "call_failure", lambda _: Failure)
    return made


def invoked(*words: str) -> Result:
    return CliRunner().invoke(commands.reconcile, [*words])


def test_a_broker_that_is_not_halted_is_compared(platform: Platform) -> None:
    """Without a word it is `reconcile run`; where the books agree it ends with 0."""
    result = invoked("--broker", "zerodha")
    assert result.exit_code == 0, result.output
    assert "zerodha default: the books agree" in result.stdout
    released, compared = platform.asked
    assert released.request_id == compared.request_id
    assert compared.broker == "zerodha"


def test_what_differs_is_shown_with_both_values_and_the_cause(platform: Platform) -> None:
    """And the exit code is 1, with what to do."""
    platform.account.discrepancies.append(FOUND)
    result = invoked("run", "--broker", "zerodha")
    assert result.exit_code == 1
    for word in ("8d3c", "NSE:INFY CNC", "10", "7", "the broker is flat"):
        assert word in result.stdout
    assert "reconcile resolve ID accept|book|corrected" in result.stderr


def test_what_could_not_be_compared_is_said(platform: Platform) -> None:
    """Nobody is signed in: nothing was compared, and that is no agreement."""
    platform.account.problem = "nobody is signed in; run `alphapanda kite login`"
    result = invoked("--broker", "zerodha")
    assert result.exit_code == 1
    assert "not compared: nobody is signed in" in result.stdout


def test_a_broker_that_is_halted_is_released_as_before(platform: Platform) -> None:
    """After a repair or a restore the same command releases it, or says what differs."""
    platform.due = risk.ReconcileBrokerResponse(released=True)
    assert invoked("--broker", "paper").exit_code == 0
    platform.due = risk.ReconcileBrokerResponse(differences=["order T: the broker has it"])
    result = invoked("--broker", "paper", "--accept-differences", "--reason", "compared")
    assert result.exit_code == 1
    assert "order T: the broker has it" in result.stderr
    assert platform.asked[-1].accept_differences


def test_a_list_and_a_resolution(platform: Platform) -> None:
    """`list --all` asks for those that are over, too; `resolve` needs a reason and one of two words."""
    assert "8d3c" in invoked("list", "--all", "--broker", "zerodha").stdout
    assert platform.asked[-1].include_resolved
    assert invoked("resolve", "8d3c", "accept", "--reason", "bought by phone").exit_code == 0
    assert platform.asked[-1].resolution == portfolio.DISCREPANCY_RESOLUTION_ACCEPTED
    assert invoked("resolve", "8d3c", "accept").exit_code == 2
    booked = ("resolve", "8d3c", "book", "--reason", "a split of 1 into 2")
    assert invoked(*booked, "--ratio", "2:1").exit_code == 0
    assert (platform.asked[-1].new_units, platform.asked[-1].old_units) == (2, 1)
    assert invoked(*booked, "--strategy", "ema").exit_code == 0
    assert platform.asked[-1].strategy_id == "ema"
    for wrong in ("2", "0:1", "2:x", "20000:1"):
        refused = invoked(*booked, "--ratio", wrong)
        assert refused.exit_code != 0
        assert f"--ratio: '{wrong}' is not allowed; NEW:OLD" in refused.stderr
    assert invoked("resolve", "8d3c", "ignore", "--reason", "why").exit_code == 2


def test_a_note_needs_its_day(platform: Platform, tmp_path: Path) -> None:
    """From the file or the option; a file that is no note is refused before anybody is asked."""
    file = tmp_path / "note.csv"
    file.write_text("name,amount\nSTT,4\n")
    result = invoked("note", str(file))
    assert (result.exit_code, platform.asked) == (1, [])
    assert "--day" in result.stderr
    assert "fills 3" in invoked("note", str(file), "--day", "2026-12-01").stdout
    assert (platform.asked[-1].day, platform.asked[-1].lines[0].name) == ("2026-12-01", "stt")
    file.write_text("name,amount\nfees,4\n")
    assert "one of brokerage" in invoked("note", str(file), "--day", "2026-12-01").stderr
