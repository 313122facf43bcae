"""`alphapanda token`: prints an access token, for grpcurl and for services."""

from __future__ import annotations

import click

from alphapanda.commands.asking import ask, asks, new_request_id, show
from alphapanda.commands.console import fail
from alphapanda.commands.finding import Target
from panda.auth.v1.auth_pb2 import CreateServiceTokenRequest, WhoAmIRequest


@click.command()
@click.option("--service-account", metavar="NAME", help="issue a new token for this service account")
@click.option("--days", type=click.IntRange(1, 3650), default=None, help="days that it is valid")
@asks
def token(service_account: str | None, days: int | None, target: Target, *, as_json: bool) -> None:
    """Print an access token: yours, valid for minutes, or a new one of a service account.

    With grpcurl: -H "authorization: Bearer $(alphapanda token)".
    """
    if service_account is None:
        if days is not None:
            raise click.UsageError("--days is for --service-account NAME")
        if target.security.token is None:
            fail(f"you are not signed in at {target.first}: `alphapanda login`")
        ask(target, lambda services: services.auth.WhoAmI(WhoAmIRequest()))  # refreshes it, or says why not
        click.echo(target.security.token())
        return
    request = CreateServiceTokenRequest(
        request_id=new_request_id(), user_name=service_account, valid_days=days or 0
    )
    answer = ask(target, lambda services: services.auth.CreateServiceToken(request))
    show(answer, as_json=as_json, table=lambda: answer.tokens.access_token)
