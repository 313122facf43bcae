"""Discrepancies and reconciliations as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from alphapanda.commands.tables import figures, row, table
from alphapanda.commands.wording import DOWN, UP, amount, rupees, word
from panda.portfolio.v1.portfolio_pb2 import (
    AccountReconciliation,
    BrokerFunds,
    Discrepancy,
    ImportContractNoteResponse,
    ReconcileResponse,
)

_STYLES = {"critical": DOWN, "warning": "yellow"}


def discrepancies_table(discrepancies: Iterable[Discrepancy]) -> RenderableType:
    """What differs: both values, and below each the probable cause."""
    made = table("id", "of", "instrument", "kind", "state", ">ours", ">broker", "")
    some = False
    for one in discrepancies:
        some = True
        severity, state = word(one, "severity"), word(one, "state")
        product = word(one, "product").upper()
        how = f"{state}: {word(one, 'resolution')}" if one.resolution else state
        cause = f"{one.reason} ({one.resolved_by})" if one.resolved_by else one.probable_cause
        row(
            made,
            one.discrepancy_id or "-",
            f"{one.broker} {one.account}",
            f"{one.instrument_id} {product}".strip(),
            Text(word(one, "kind"), style=_STYLES.get(severity, "")),
            how,
            one.ours,
            one.theirs,
            Text(f"{one.subject}: {cause}" if one.subject != cause else cause, style="dim"),
        )
    return made if some else "nothing differs"


def reconciliation_view(answer: ReconcileResponse) -> RenderableType:
    """What a reconciliation has found, account by account."""
    if not answer.accounts:
        return "the broker has no open account"
    return Group(*(part for account in answer.accounts for part in _account(account)))


def note_view(answer: ImportContractNoteResponse) -> RenderableType:
    """A day's charges beside its contract note."""
    made = table("charge", ">booked", ">note", ">corrected")
    for one in answer.lines:
        row(
            made,
            one.name,
            rupees(amount(one, "booked")),
            rupees(amount(one, "noted")),
            rupees(amount(one, "corrected")),
        )
    sum_ = rupees(amount(answer, "corrected"))
    return Group(made, figures([("fills", str(answer.fills)), ("corrected in all", sum_)]))


def _account(account: AccountReconciliation) -> Iterable[RenderableType]:
    whose = f"{account.broker} {account.account}"
    if account.problem:
        yield Text(f"{whose}: not compared: {account.problem}", style=DOWN)
        return
    if account.discrepancies:
        yield Text(f"{whose}: {len(account.discrepancies)} differences", style="yellow")
        yield discrepancies_table(account.discrepancies)
    else:
        yield Text(f"{whose}: the books agree", style=UP)
    for one in account.agreed:
        yield Text(f"over: {one.sentence} ({word(one, 'resolution')})", style="dim")
    for line in account.not_compared:
        yield Text(f"to know: {line}", style="yellow")
    if account.HasField("funds"):
        yield _funds(account.funds)


def _funds(funds: BrokerFunds) -> Text:
    names = (("available", "available"), ("used", "used"), ("cash", "cash"), ("collateral", "collateral"))
    return figures([(f"broker's {label}", rupees(amount(funds, field))) for label, field in names])
