"""`alphapanda login`: begins a session at a target and keeps its tokens for the other commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from alphapanda import __version__
from alphapanda.commands.asking import Services, ask, asks, new_request_id, show
from alphapanda.commands.finding import Target
from alphapanda.commands.passwords import password_file_option, password_of
from alphapanda.commands.session_file import StoredSession, write_session
from alphapanda.commands.session_token import with_tokens
from alphapanda.commands.wording import market_moment, shown_time
from panda.auth.v1.auth_pb2 import LoginRequest, LoginResponse


@click.command()
@click.option("--user", help="name of the user  [default: asked for]")
@password_file_option
@asks
def login(user: str | None, password_file: Path | None, target: Target, *, as_json: bool) -> None:
    """Sign in. Commands then send your token to this target, and refresh it by themselves."""
    name = user or str(click.prompt("user", err=True))
    password = password_of(password_file, f"password of {name}")
    request = LoginRequest(
        request_id=new_request_id(), user_name=name, password=password, client=f"alphapanda {__version__}"
    )
    address = ""

    async def sign_in(services: Services) -> LoginResponse:
        nonlocal address
        address = services.addresses["auth"]
        answer: LoginResponse = await services.auth.Login(request)
        return answer

    answer = ask(replace(target, security=replace(target.security, token=None)), sign_in)
    session = StoredSession(target.first, address, name, answer.session.session_id, "", 0.0, "", 0.0)
    write_session(with_tokens(session, answer.tokens))
    answer.ClearField("tokens")
    roles = ", ".join(answer.roles) or "no role"
    until = shown_time(market_moment(answer.session, "expires_at"), "%d %b %H:%M IST")
    text = f"signed in at {target.first} as {name} ({roles}); unused, the session lasts until {until}"
    show(answer, as_json=as_json, table=lambda: text)
