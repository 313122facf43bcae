"""Signing in to Zerodha through the front door: the command, the platform, and a stub of Kite; no token is seen anywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import requests
from click.testing import CliRunner, Result
from running import Platform
from tests.kite_exchange.clock import IST
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.server import ServerThread, serving

from alphapanda.cli import main
from panda.auth.v1 import broker_session_pb2 as api
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub


def settings_of(stub: ServerThread) -> dict[str, str]:
    """What points a platform at the stub."""
    root = "ALPHAPANDA_ZERODHA__"
    return {
        f"{root}API_KEY": APP.api_key,
        f"{root}API_SECRET": APP.api_secret,
        f"{root}LOGIN_ROOT": stub.server.api_root,
        f"{root}API_ROOT": stub.server.api_root,
        f"{root}WS_ROOT": stub.server.ws_root,
        "ALPHAPANDA_LOGGING__LEVEL": "debug",
    }


def kite(platform: Platform, *arguments: str) -> Result:
    """Runs `alphapanda kite`."""
    return CliRunner().invoke(main, ["kite", *arguments, "--target", platform.target])


def redirected(stub: Any) -> str:
    """The address that a person is sent to who opens the login page and signs in."""
    begun = stub.BeginBrokerLogin(api.BeginBrokerLoginRequest(request_id="begin"), timeout=20)
    return requests.get(begun.login_url, allow_redirects=False, timeout=20).headers["Location"]


def tokens(exchange: Exchange) -> list[str]:
    """The access tokens that are valid at the stub."""
    return [*exchange.sessions._by_token]


def test_a_person_signs_in_and_no_token_is_seen(up: Callable[..., Platform]) -> None:
    """A pasted address begins a session until 06:00; a refusal ends it and says what to do; nothing shows key or token."""
    with serving(Exchange.of(rows=40)) as stub:
        platform = up(environment=settings_of(stub))
        sessions = BrokerSessionServiceStub(platform.channel)
        nobody = kite(platform, "status")
        assert (
            nobody.exit_code,
            "nobody has signed in yet; run `alphapanda kite login`" in nobody.output,
        ) == (1, True)
        address = redirected(sessions)
        signed_in = kite(platform, "login", address)
        now = datetime.now(IST)
        ends = now.replace(hour=6, minute=0) + timedelta(days=now.hour >= 6)
        assert f"{APP.user_id} is signed in until {ends:%a %d %b} 06:00 IST" in signed_in.output
        seen = [*stub.do(tokens), address.partition("request_token=")[2].partition("&")[0]]
        again = kite(platform, "login", address)
        assert again.output == signed_in.output
        assert kite(platform, "status").exit_code == 0

        platform.restart()
        sessions = BrokerSessionServiceStub(platform.channel)
        platform.wait_for("kite.session_received", 20)
        assert kite(platform, "status").exit_code == 0

        session = sessions.GetBrokerSession(api.GetBrokerSessionRequest(), timeout=20).session
        report = api.ReportBrokerRefusalRequest(
            session_id=session.session_id, message="Incorrect `access_token`."
        )
        sessions.ReportBrokerRefusal(report, timeout=20)
        assert "Zerodha has refused the session" in kite(platform, "status").output
        sessions.BeginBrokerLogin(api.BeginBrokerLoginRequest(request_id="other"), timeout=20)
        begun = sessions.BeginBrokerLogin(api.BeginBrokerLoginRequest(request_id="third"), timeout=20)
        back = requests.get(begun.login_url, allow_redirects=False, timeout=20).headers["Location"]
        assert "is signed in until" in kite(platform, "login", back).output
        seen += stub.do(tokens)
        ended = kite(platform, "logout")
        assert ended.output == "account default: signed out\n"
        assert stub.do(tokens) == []
        history = kite(platform, "status", "--history").output
        assert ("refused" in history, "ended" in history) == (True, True)
        assert "has no request_token" in kite(platform, "login", "https://kite.zerodha.com/").output
        platform.stop()

    outputs = [*platform.data_dir.parent.glob("*.log")]
    said = "".join(one.read_text() for one in outputs) + history + signed_in.output
    assert said.count("broker_session.opened") == 2
    for secret in [*seen, APP.api_secret]:
        assert len(secret) > 8
        assert secret not in said
        found = subprocess.run(
            ["grep", "-rlaF", secret, str(platform.data_dir)], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""
