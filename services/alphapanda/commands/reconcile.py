"""`alphapanda reconcile`: compares a broker's books with ours, lists what differs, resolves it; releases a broker after a repair or a restore."""

from __future__ import annotations

from pathlib import Path

import click
import grpc

from alphapanda.commands.asking import (
    ListsByDefault,
    Services,
    ask,
    asks,
    new_request_id,
    page,
    pages,
    show,
)
from alphapanda.commands.console import fail, warn
from alphapanda.commands.contract_note_file import read_note
from alphapanda.commands.discrepancy_tables import discrepancies_table, note_view, reconciliation_view
from alphapanda.commands.finding import Target
from alphapanda.commands.risk_tables import kill_switch_table
from alphapanda.contract.wire import decimal
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.status import call_failure
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.risk.v1.risk_pb2 import ReconcileBrokerRequest, ReconcileBrokerResponse

_RESOLUTIONS = {
    "accept": portfolio.DISCREPANCY_RESOLUTION_ACCEPTED,
    "corrected": portfolio.DISCREPANCY_RESOLUTION_CORRECTED,
    "book": portfolio.DISCREPANCY_RESOLUTION_BOOKED,
}


_MOST_UNITS = 10_000


@click.group(cls=ListsByDefault)
def reconcile() -> None:
    """Compare a broker's books with ours, list what differs, and resolve it.

    Without a command it is `reconcile run`.
    """


@reconcile.command("run")
@click.option("--broker", default="paper", show_default=True)
@click.option("--account", default="", help="only this account of the broker")
@click.option(
    "--accept-differences",
    is_flag=True,
    help="of a broker that is halted since a repair or a restore: release it all the same, you have compared its books yourself",
)
@click.option("--reason", default="", help="why the differences are accepted, one sentence")
@asks
def run(
    broker: str, account: str, reason: str, target: Target, *, accept_differences: bool, as_json: bool
) -> None:
    """Compare orders, trades, positions, holdings, margin and cash now; heal what can be proved, and refuse entries where the books differ.

    A broker that is halted since a repair or a restore is released where the books of broker, trading, risk and portfolio agree.
    """
    request_id = new_request_id()
    release = ReconcileBrokerRequest(
        request_id=request_id, broker=broker, accept_differences=accept_differences, reason=reason
    )
    compare = portfolio.ReconcileRequest(request_id=request_id, broker=broker, account=account)

    async def question(services: Services) -> ReconcileBrokerResponse | portfolio.ReconcileResponse:
        try:
            return await services.risk.ReconcileBroker(release)
        except grpc.aio.AioRpcError as error:
            if call_failure(error).reason != "NO_RECONCILIATION_DUE" or accept_differences:
                raise
        return await services.portfolio.Reconcile(compare)

    answer = ask(target, question)
    if isinstance(answer, ReconcileBrokerResponse):
        _released(answer, broker, as_json=as_json)
        return
    show(answer, as_json=as_json, table=lambda: reconciliation_view(answer))
    if any(one.problem for one in answer.accounts):
        raise SystemExit(1)
    differing = [
        one
        for account_ in answer.accounts
        for one in account_.discrepancies
        if one.severity > portfolio.DISCREPANCY_SEVERITY_INFO
    ]
    if differing:
        warn(
            "what differs stays until the books agree, or until you resolve it: `alphapanda reconcile resolve ID"
            " accept|book|corrected --reason WHY`"
        )
        raise SystemExit(1)


@reconcile.command("list")
@click.option("--broker", default="", help="only this broker's  [default: all]")
@click.option("--account", default="", help="only this account's")
@click.option("--all", "everything", is_flag=True, help="those that are over, too")
@pages
@asks
def list_(
    broker: str,
    account: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """List what differs between brokers' books and ours, newest first."""
    request = portfolio.ListDiscrepanciesRequest(
        broker=broker,
        account=account,
        include_resolved=everything,
        page_size=page_size,
        page_token=page_token,
    )
    answer = ask(target, lambda services: services.portfolio.ListDiscrepancies(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(discrepancies_table(answer.discrepancies), answer.next_page_token),
    )


@reconcile.command("resolve")
@click.argument("discrepancy_id")
@click.argument("how", type=click.Choice(list(_RESOLUTIONS)))
@click.option("--reason", required=True, help="why, one sentence")
@click.option(
    "--ratio",
    default="",
    metavar="NEW:OLD",
    help="to book a CORPORATE_ACTION: 2:1 for a split of 1 into 2 or a bonus of 1 for 1, 3:2 for a bonus of 1 for 2",
)
@click.option(
    "--strategy",
    "strategy_id",
    default="",
    help="to book a PRODUCT_CONVERTED or OPPOSED: of this strategy's units  [default: first those of `foreign`, then the largest position]",
)
@asks
def resolve(
    discrepancy_id: str,
    how: str,
    reason: str,
    ratio: str,
    strategy_id: str,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """Resolve a discrepancy: accept, book it, or say that you have corrected it.

    `accept`: the broker's units count as held outside from then on. `book`: what happened is booked in our ledger, as the broker has it;
    for PRODUCT_CONVERTED, CORPORATE_ACTION (with --ratio) and OPPOSED. `corrected`: what still differs is found again by the next comparison.
    Entries in its instrument pass again.
    """
    new, old = _ratio(ratio)
    request = portfolio.ResolveDiscrepancyRequest(
        request_id=new_request_id(),
        discrepancy_id=discrepancy_id,
        resolution=_RESOLUTIONS[how],
        reason=reason,
        new_units=new,
        old_units=old,
        strategy_id=strategy_id,
    )
    answer = ask(target, lambda services: services.portfolio.ResolveDiscrepancy(request))
    show(answer, as_json=as_json, table=lambda: discrepancies_table([answer.discrepancy]))


@reconcile.command("note")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--broker", default="zerodha", show_default=True)
@click.option("--account", default="", help="[default: default]")
@click.option("--day", default="", help="day of the note, YYYY-MM-DD  [default: the file's]")
@asks
def note(file: Path, broker: str, account: str, day: str, target: Target, *, as_json: bool) -> None:
    """Put a day's charges right after the broker's contract note, line by line, from a CSV file (name,amount) or JSON.

    What differs is booked as corrections; the same note again changes nothing.
    """
    try:
        told = read_note(file)
    except (InvalidInput, OSError) as error:
        fail(str(error))
    if not (day or told.day):
        fail("--day: the day of the note is missing, as YYYY-MM-DD")
    request = portfolio.ImportContractNoteRequest(
        request_id=new_request_id(),
        broker=broker,
        account=account,
        day=day or told.day,
        lines=[common.ChargeLine(name=name, amount=decimal(amount)) for name, amount in told.lines.items()],
    )
    answer = ask(target, lambda services: services.portfolio.ImportContractNote(request))
    show(answer, as_json=as_json, table=lambda: note_view(answer))


def _ratio(text: str) -> tuple[int, int]:
    """New units for old ones; (0, 0) where none is given."""
    if not text:
        return 0, 0
    new, _, old = text.partition(":")
    if not (
        new.isdecimal() and old.isdecimal() and 0 < int(new) <= _MOST_UNITS and 0 < int(old) <= _MOST_UNITS
    ):
        fail(
            f"--ratio: {text!r} is not allowed; NEW:OLD, two whole numbers from 1 to {_MOST_UNITS}, such as 2:1"
        )
    return int(new), int(old)


def _released(answer: ReconcileBrokerResponse, broker: str, *, as_json: bool) -> None:
    show(answer, as_json=as_json, table=lambda: kill_switch_table(answer.kill_switch))
    for difference in answer.differences:
        warn(difference)
    if not answer.released:
        warn(
            f"{broker} stays halted; correct what differs, or release it with"
            " --accept-differences --reason WHY once you have compared its books"
        )
        raise SystemExit(1)
