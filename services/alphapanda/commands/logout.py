"""`alphapanda logout`: ends the session at a target."""

from __future__ import annotations

import click
import grpc

from alphapanda.commands.asking import Services, ask, asks, new_request_id, show
from alphapanda.commands.console import fail
from alphapanda.commands.finding import Target
from alphapanda.commands.session_file import forget_session, read_session
from alphapanda.mesh.status import call_failure
from panda.auth.v1.auth_pb2 import LogoutRequest, LogoutResponse

OVER = frozenset({"TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_INVALID"})


@click.command()
@click.option("--everywhere", is_flag=True, help="end all your sessions, on other machines, too")
@asks
def logout(target: Target, *, everywhere: bool, as_json: bool) -> None:
    """End your session at this target and forget its tokens."""
    if read_session(target.first) is None:
        fail(f"you are not signed in at {target.first}")
    request = LogoutRequest(request_id=new_request_id(), everywhere=everywhere)

    async def end(services: Services) -> LogoutResponse:
        try:
            answer: LogoutResponse = await services.auth.Logout(request)
        except grpc.aio.AioRpcError as error:
            if call_failure(error).reason not in OVER:
                raise
            return LogoutResponse()
        return answer

    answer = ask(target, end)
    forget_session(target.first)
    number = answer.sessions_ended
    text = f"signed out at {target.first}" + (f"; {number} sessions ended" if everywhere else "")
    show(answer, as_json=as_json, table=lambda: text)
