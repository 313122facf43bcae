"""`alphapanda reconcile`: releases a broker that is halted since a repair or a restore."""

from __future__ import annotations

import click

from alphapanda.commands.asking import ask, asks, new_request_id, show
from alphapanda.commands.console import warn
from alphapanda.commands.finding import Target
from alphapanda.commands.risk_tables import kill_switch_table
from panda.risk.v1.risk_pb2 import ReconcileBrokerRequest


@click.command()
@click.option("--broker", default="paper", show_default=True)
@click.option(
    "--accept-differences", is_flag=True, help="release it all the same: you have compared its books yourself"
)
@click.option("--reason", default="", help="why the differences are accepted, one sentence")
@asks
def reconcile(broker: str, reason: str, target: Target, *, accept_differences: bool, as_json: bool) -> None:
    """Compare orders, positions and cash of a broker, trading, risk and portfolio; release the broker where they agree."""
    request = ReconcileBrokerRequest(
        request_id=new_request_id(), broker=broker, accept_differences=accept_differences, reason=reason
    )
    answer = ask(target, lambda services: services.risk.ReconcileBroker(request))
    show(answer, as_json=as_json, table=lambda: kill_switch_table(answer.kill_switch))
    for difference in answer.differences:
        warn(difference)
    if not answer.released:
        warn(
            f"{broker} stays halted; correct what differs, or release it with"
            " --accept-differences --reason WHY once you have compared its books"
        )
        raise SystemExit(1)
