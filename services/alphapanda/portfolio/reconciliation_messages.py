"""Converts discrepancies and reconciliations to the contract's messages."""

from __future__ import annotations

from datetime import datetime

from alphapanda.contract.wire import timestamp
from alphapanda.domain.money import ZERO
from alphapanda.portfolio.core.discrepancies import Discrepancy
from alphapanda.portfolio.core.discrepancy import Difference, State
from alphapanda.portfolio.core.reconciled_books import BrokerMoney
from alphapanda.portfolio.messages import money
from alphapanda.portfolio.reconciler import Look, Outcome
from alphapanda.portfolio.store.contract_notes import Noted
from alphapanda.portfolio.store.port import AccountName
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio


def discrepancy_message(one: Discrepancy) -> portfolio.Discrepancy:
    """A discrepancy as it is kept."""
    made = _difference(one.difference, AccountName(one.broker, one.account), one.state, one.seen_at)
    made.MergeFrom(
        portfolio.Discrepancy(
            discrepancy_id=one.discrepancy_id,
            found_at=timestamp(one.found_at),
            seen=one.seen,
            resolution=portfolio.DiscrepancyResolution.ValueType(one.resolution),
            resolved_at=timestamp(one.resolved_at),
            resolved_by=one.resolved_by,
            reason=one.reason,
        )
    )
    return made


def outcome_message(outcome: Outcome) -> portfolio.AccountReconciliation:
    """What a reconciliation has found and kept."""
    made = _account(outcome.name, outcome.look)
    made.discrepancies.extend(discrepancy_message(one) for one in outcome.alive)
    made.agreed.extend(discrepancy_message(one) for one in outcome.agreed)
    return made


def look_message(name: AccountName, look: Look) -> portfolio.AccountReconciliation:
    """What a comparison has found, of which nothing was kept."""
    made = _account(name, look)
    made.discrepancies.extend(_difference(one, name, State.SUSPECTED, look.at) for one in look.found)
    return made


def funds_message(told: BrokerMoney, read_at: datetime) -> portfolio.BrokerFunds:
    """The broker's money."""
    return portfolio.BrokerFunds(
        opening_balance=money(told.opening),
        cash=money(told.cash),
        available=money(told.available),
        used=money(told.used),
        collateral=money(told.collateral),
        read_at=timestamp(read_at),
    )


def note_message(noted: Noted) -> portfolio.ImportContractNoteResponse:
    """What a contract note has changed."""
    lines = noted.corrections.lines
    return portfolio.ImportContractNoteResponse(
        lines=[
            portfolio.ContractNoteLine(
                name=line.name,
                booked=money(line.booked),
                noted=money(line.noted),
                corrected=money(line.corrected),
            )
            for line in lines
        ],
        corrected=money(sum((line.corrected for line in lines), ZERO)),
        fills=noted.fills,
    )


def _account(name: AccountName, look: Look) -> portfolio.AccountReconciliation:
    theirs = look.theirs
    return portfolio.AccountReconciliation(
        broker=name.broker,
        account=name.account,
        problem=look.problem,
        funds=funds_message(theirs.money, look.at) if theirs and theirs.money else None,
        reconciled_at=timestamp(look.at),
        compared=theirs.size if theirs else 0,
        not_compared=theirs.not_compared if theirs else (),
    )


def _difference(one: Difference, name: AccountName, state: State, seen_at: datetime) -> portfolio.Discrepancy:
    return portfolio.Discrepancy(
        broker=name.broker,
        account=name.account,
        kind=portfolio.DiscrepancyKind.ValueType(one.kind),
        severity=portfolio.DiscrepancySeverity.ValueType(one.severity),
        state=portfolio.DiscrepancyState.ValueType(state),
        instrument_id=one.instrument_id,
        product=common.Product.ValueType(one.product or 0),
        subject=one.subject,
        ours=one.ours,
        theirs=one.theirs,
        probable_cause=one.cause,
        seen_at=timestamp(seen_at),
        sentence=one.sentence,
    )
