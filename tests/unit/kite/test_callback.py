"""The address that Zerodha's login page sends a person to, and the command that waits for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alphapanda.commands import kite_callback
from alphapanda.commands.kite_callback import AddressNeeded, completed_login, listen
from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput
from alphapanda.kite.callback import Redirect, read_redirect
from panda.auth.v1.broker_session_pb2 import BeginBrokerLoginResponse

TAIL = "action=login&type=login&status=success&request_token=r-1&state=s.1"


@pytest.mark.parametrize(
    "address",
    [
        f"http://127.0.0.1:5017/kite/callback?{TAIL}",
        f"  'https://desk.example/kite?{TAIL}#x'\n",
        f"/kite/callback?{TAIL}",
        f"?{TAIL}",
        TAIL,
    ],
)
def test_whatever_a_person_copies_is_read(address: str) -> None:
    """The whole address, quoted or not, or its end: token and state are found."""
    assert read_redirect(address) == Redirect("r-1", "s.1")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1/?status=cancelled&state=s.1", "status=cancelled"),
        ("https://kite.zerodha.com/connect/login?v=3&api_key=k", "has no request_token"),
        ("http://127.0.0.1/?status=success&request_token=canary-1", "begin with `alphapanda kite login`"),
        ("", "has no request_token"),
    ],
)
def test_an_address_without_a_login_is_told(address: str, told: str) -> None:
    """What is missing is said, and a token isn't."""
    with pytest.raises(InvalidInput, match=told) as refused:
        read_redirect(address)
    assert "canary" not in str(refused.value)


async def ask(port: int, request: str) -> str:
    """What the callback answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


async def test_the_callback_takes_its_own_login_alone() -> None:
    """Other paths, methods, states and failures are answered and waited on; the right one ends the wait."""
    found: asyncio.Future[Redirect] = asyncio.get_running_loop().create_future()
    server = await listen("127.0.0.1", 0, "/kite/callback", "s.1", found)
    port = server.sockets[0].getsockname()[1]
    for request, status in (
        (f"GET /other?{TAIL}", "404"),
        (f"POST /kite/callback?{TAIL}", "404"),
        (f"GET /kite/callback?{TAIL}2", "400"),
        ("GET /kite/callback?status=<b>no</b>", "400"),
    ):
        answer = await ask(port, request)
        assert answer.startswith(f"HTTP/1.1 {status}")
        assert "<b>" not in answer
    assert not found.done()
    assert "You may close this page" in await ask(port, f"GET /kite/callback?{TAIL}")
    assert await asyncio.wait_for(found, 5) == Redirect("r-1", "s.1")
    server.close()


async def test_where_nothing_can_come_back_the_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a terminal, and with a callback elsewhere, a second command takes the address."""

    class Pipe:
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(kite_callback.sys, "stdin", Pipe())
    made: dict[str, Any] = {"state": "s.1", "expires_at": timestamp(datetime.now(UTC) + timedelta(minutes=1))}
    with pytest.raises(AddressNeeded, match="alphapanda kite login 'ADDRESS'"):
        await completed_login(BeginBrokerLoginResponse(callback_url="https://desk.example/kite", **made))
