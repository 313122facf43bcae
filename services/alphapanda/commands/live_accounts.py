"""`alphapanda live`: which live accounts are armed; arm one for the exchange's day, and disarm it."""

from __future__ import annotations

import click

from alphapanda.commands.asking import ListsByDefault, ask, asks, new_request_id, show
from alphapanda.commands.finding import Target
from alphapanda.commands.risk_tables import live_accounts_table
from panda.risk.v1.risk_pb2 import (
    ArmLiveAccountRequest,
    DisarmLiveAccountRequest,
    GetLiveAccountsRequest,
)


@click.group(cls=ListsByDefault)
def live() -> None:
    """Show, arm and disarm live accounts: real money is at stake only on days for which you have armed one."""


@live.command("status")
@click.option("--broker", default="", help="only this broker's")
@asks
def status(broker: str, target: Target, *, as_json: bool) -> None:
    """Show which live accounts are armed for today, by whom, and their required limits."""
    answer = ask(
        target, lambda services: services.risk.GetLiveAccounts(GetLiveAccountsRequest(broker=broker))
    )
    show(
        answer,
        as_json=as_json,
        table=lambda: live_accounts_table(answer.accounts) if answer.accounts else "no live broker is active",
    )


@live.command("arm")
@click.option("--reason", required=True, help="why, one sentence")
@click.option("--broker", default="zerodha", show_default=True)
@click.option("--account", default="", help="[default: the broker's only one]")
@click.option("--day", default="", metavar="YYYY-MM-DD", help="the day that you mean  [default: today]")
@asks
def arm(reason: str, broker: str, account: str, day: str, target: Target, *, as_json: bool) -> None:
    """Let a live account take entries for the rest of the exchange's day."""
    request = ArmLiveAccountRequest(
        request_id=new_request_id(), broker=broker, account=account, day=day, reason=reason
    )
    answer = ask(target, lambda services: services.risk.ArmLiveAccount(request))
    show(answer, as_json=as_json, table=lambda: live_accounts_table([answer.account]))


@live.command("disarm")
@click.option("--reason", required=True, help="why, one sentence")
@click.option("--broker", default="zerodha", show_default=True)
@click.option("--account", default="", help="[default: the broker's only one]")
@asks
def disarm(reason: str, broker: str, account: str, target: Target, *, as_json: bool) -> None:
    """Take no more entries of a live account; its positions can be reduced all the same."""
    request = DisarmLiveAccountRequest(
        request_id=new_request_id(), broker=broker, account=account, reason=reason
    )
    answer = ask(target, lambda services: services.risk.DisarmLiveAccount(request))
    show(answer, as_json=as_json, table=lambda: live_accounts_table([answer.account]))
