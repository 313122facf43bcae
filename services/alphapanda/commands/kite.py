"""`alphapanda kite`: signs in to Zerodha, shows who is signed in and until when, signs out."""

from __future__ import annotations

import webbrowser
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

import click
import grpc
from rich.console import Group, RenderableType
from rich.text import Text

from alphapanda.commands.asking import Services, ask, asks, new_request_id, page, pages, show
from alphapanda.commands.console import USAGE, err, fail
from alphapanda.commands.finding import Target
from alphapanda.commands.kite_callback import AddressNeeded, completed_login
from alphapanda.commands.tables import row, table
from alphapanda.commands.wording import market_moment, shown_time
from alphapanda.domain.errors import InvalidInput
from alphapanda.kite.callback import Redirect, read_redirect
from alphapanda.mesh.status import call_failure, describe_rpc_error
from panda.auth.v1.broker_session_pb2 import (
    BROKER_SESSION_STATE_LIVE,
    BeginBrokerLoginRequest,
    BeginBrokerLoginResponse,
    BrokerSession,
    BrokerSessionState,
    CompleteBrokerLoginRequest,
    CompleteBrokerLoginResponse,
    EndBrokerSessionRequest,
    ListBrokerSessionsRequest,
    ListBrokerSessionsResponse,
)

BROKER: Final = "zerodha"
UNTIL: Final = "%a %d %b %H:%M IST"
COMPLETING_SECONDS: Final = 30.0
Answer = TypeVar("Answer")

account_option = click.option(
    "--account", default="", help="our name of the account  [default: the only one]"
)


@click.group()
def kite() -> None:
    """Sign in to Zerodha (Kite Connect), see who is signed in and until when, sign out.

    A session lasts until 06:00 IST, as Zerodha's rules are: sign in once a day, before 09:00.
    """


@kite.command("login")
@click.argument("address", required=False)
@account_option
@click.option("--no-browser", is_flag=True, help="don't open the login page, only show its address")
@click.option("--other-user", is_flag=True, help="the account is another Zerodha user's from now on")
@asks
def login(
    address: str | None, account: str, target: Target, *, no_browser: bool, other_user: bool, as_json: bool
) -> None:
    """Sign in to Zerodha: opens its login page, and waits for what comes back.

    Where the browser is on another machine, such as a phone: open the address that is shown there, sign in, and paste the address that
    you are sent to, here or as ADDRESS of a second `alphapanda kite login`.
    """
    given = None if address is None else _read(address)

    async def sign_in(services: Services) -> CompleteBrokerLoginResponse:
        found = given
        if found is None:
            begin = BeginBrokerLoginRequest(request_id=new_request_id(), account=account)
            begun = await _answer(services, services.broker_sessions.BeginBrokerLogin(begin))
            _show_begun(begun, opens=not no_browser and err.is_terminal)
            try:
                found = await completed_login(begun)
            except AddressNeeded as needed:
                fail(str(needed))
        request = CompleteBrokerLoginRequest(
            request_id=new_request_id(),
            state=found.state,
            request_token=found.request_token,
            other_user=other_user,
        )
        return await _answer(
            services, services.broker_sessions.CompleteBrokerLogin(request, timeout=COMPLETING_SECONDS)
        )

    answer = ask(target, sign_in)
    show(answer, as_json=as_json, table=lambda: f"signed in to Zerodha: {_in_words(answer.session)}")


@kite.command("status")
@click.option("--history", is_flag=True, help="sessions that are over, too")
@pages
@asks
def status(page_size: int, page_token: str, target: Target, *, history: bool, as_json: bool) -> None:
    """Show each account's session: who is signed in, until when; exit code 1 where somebody has to sign in."""
    request = ListBrokerSessionsRequest(broker=BROKER, page_size=page_size, page_token=page_token)
    answer = ask(
        target, lambda services: _answer(services, services.broker_sessions.ListBrokerSessions(request))
    )
    newest = _newest(answer)
    show(
        answer,
        as_json=as_json,
        table=lambda: page(_table(answer.sessions), answer.next_page_token) if history else _lines(newest),
    )
    if any(one is None or one.state != BROKER_SESSION_STATE_LIVE for one in newest.values()):
        raise SystemExit(1)


@kite.command("logout")
@account_option
@asks
def logout(account: str, target: Target, *, as_json: bool) -> None:
    """Sign out of Zerodha: nothing calls it for the account any more, until somebody signs in."""
    request = EndBrokerSessionRequest(request_id=new_request_id(), account=account)
    answer = ask(
        target, lambda services: _answer(services, services.broker_sessions.EndBrokerSession(request))
    )
    there = "" if answer.ended_at_broker else "; Zerodha hasn't confirmed it, so sign out there, too"
    show(answer, as_json=as_json, table=lambda: f"account {answer.session.account}: signed out{there}")


async def _answer(services: Services, call: Awaitable[Answer]) -> Answer:
    """The answer; where no service keeps sessions at brokers, the command ends with what to do."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() not in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE}:
            raise
        if call_failure(error).reason:
            raise
        fail(
            f"nothing at {services.asked} keeps sessions at Zerodha ({describe_rpc_error(error)}): start the platform with"
            " zerodha.api_key and zerodha.api_secret set, in the mesh `alphapanda serve auth`"
        )


def _read(address: str) -> Redirect:
    try:
        return read_redirect(address)
    except InvalidInput as error:
        fail(str(error), USAGE)


def _show_begun(begun: BeginBrokerLoginResponse, *, opens: bool) -> None:
    """Shows the login page's address, and opens it where there is a browser."""
    if opens and webbrowser.open(begun.login_url):
        err.print("Zerodha's login page is open in your browser; its address is", markup=False)
    else:
        err.print("open this address in a browser, and sign in to Zerodha", markup=False)
    err.print(begun.login_url, markup=False, soft_wrap=True)


def _newest(answer: ListBrokerSessionsResponse) -> dict[str, BrokerSession | None]:
    """The newest session of each account that can sign in; None where nobody has."""
    found: dict[str, BrokerSession | None] = {
        name.partition(":")[2]: None for name in answer.accounts if name.startswith(f"{BROKER}:")
    }
    for session in reversed(answer.sessions):
        found[session.account] = session
    return found


def _lines(newest: dict[str, BrokerSession | None]) -> RenderableType:
    return Group(
        *(
            Text(f"account {account}: {_in_words(session)}", style="" if _lives(session) else "yellow")
            for account, session in newest.items()
        )
    )


def _lives(session: BrokerSession | None) -> bool:
    return session is not None and session.state == BROKER_SESSION_STATE_LIVE


def _in_words(session: BrokerSession | None) -> str:
    if session is None:
        return "nobody has signed in yet; run `alphapanda kite login`"
    if not _lives(session):
        return f"{session.ended_because}; run `alphapanda kite login`"
    until = shown_time(market_moment(session, "valid_until"), UNTIL)
    return f"{session.broker_user_id} is signed in until {until}"


def _table(sessions: Sequence[BrokerSession]) -> RenderableType:
    made = table("account", "user", "state", "since", "until", "by", "ended because")
    for one in sessions:
        state = BrokerSessionState.Name(one.state).removeprefix("BROKER_SESSION_STATE_").lower()
        since, until = (shown_time(market_moment(one, name), UNTIL) for name in ("opened_at", "valid_until"))
        row(made, one.account, one.broker_user_id, state, since, until, one.opened_by, one.ended_because)
    return made
