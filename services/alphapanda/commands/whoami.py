"""`alphapanda whoami`: who the target takes you for, and what you may do."""

from __future__ import annotations

import click
from rich.console import Group

from alphapanda.commands.asking import ask, asks, show
from alphapanda.commands.finding import Target
from alphapanda.commands.user_tables import permission_names, sessions_table
from panda.auth.v1.auth_pb2 import WhoAmIRequest


@click.command()
@asks
def whoami(target: Target, *, as_json: bool) -> None:
    """Show who you are at this target: roles, permissions and your sessions."""
    answer = ask(target, lambda services: services.auth.WhoAmI(WhoAmIRequest()))

    def table() -> Group:
        user = answer.user
        return Group(
            f"{user.user_name} at {target.first}: {', '.join(user.roles) or 'no role'}",
            f"may {', '.join(permission_names(answer.permissions)) or 'nothing'}",
            "",
            sessions_table(answer.sessions, answer.session_id),
        )

    show(answer, as_json=as_json, table=table)
