"""`alphapanda up --auth` through the front door: it trades, and who hasn't signed in, or may not, does nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from cookbook import disagreement, entries, value_of
from running import Platform, until

from alphapanda.cli import main
from alphapanda.mesh.status import call_failure
from panda.auth.v1.auth_pb2 import CreateUserRequest, LoginRequest
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub
from panda.risk.v1.risk_pb2 import SetKillSwitchRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1.trading_pb2 import PlaceOrderRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

PASSWORD = re.compile(r"`admin`, password (\S+) ")
BEARER = '"authorization: Bearer $TOKEN"'
LIMIT = re.compile(r"(-max-time|timeout) 1\b")
ROOT = Path(__file__).parents[2]
ORDER = PlaceOrderRequest(request_id="o-1", symbol="NSE:INFY", side=1, quantity=1)
HALT = SetKillSwitchRequest(request_id="k-1", broker="paper", state=3, reason="a test")


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[Platform]:
    """A demo whose callers sign in."""
    with Platform(tmp_path_factory.mktemp("auth") / "data", "--demo", "--auth") as platform:
        platform.start()
        yield platform
        platform.stop()


@pytest.fixture(scope="module")
def password(secured: Platform) -> str:
    """The first administrator's, as it was shown."""
    return PASSWORD.search(secured.complaints)[1]


def bearer(platform: Platform, user: str, password: str) -> tuple[tuple[str, str], ...]:
    request = LoginRequest(request_id=f"login-{user}", user_name=user, password=password)
    answer = AuthServiceStub(platform.channel).Login(request, timeout=20)
    return (("authorization", f"Bearer {answer.tokens.access_token}"),)


@pytest.fixture(scope="module")
def admin(secured: Platform, password: str) -> tuple[tuple[str, str], ...]:
    return bearer(secured, "admin", password)


def reason(call, request, metadata=()) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call(request, metadata=metadata, timeout=10)
    return call_failure(refused.value).reason


def ran(platform: Platform, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--target", platform.target])


def test_the_demo_trades_and_the_password_is_in_no_log(secured: Platform, password: str) -> None:
    """Its own calls between services have tokens of their own; the password stands on stderr once, and nowhere else."""
    until(lambda: secured.logged("fill.reported"), 60, "a fill")
    assert secured.complaints.count(password) == 1
    for file in (secured.data_dir / "logs").rglob("*.log"):
        assert password not in file.read_text(errors="replace"), file
    assert not secured.logged("auth.left_off")


def test_who_has_not_signed_in_does_nothing(secured: Platform) -> None:
    """Orders, kill switches and reads are refused, by commands in one line that says what to do."""
    assert reason(TradingServiceStub(secured.channel).PlaceOrder, ORDER) == "TOKEN_MISSING"
    assert reason(RiskServiceStub(secured.channel).SetKillSwitch, HALT) == "TOKEN_MISSING"
    result = ran(secured, "orders")
    assert (result.exit_code, "alphapanda login" in result.stderr) == (1, True)


def test_a_viewer_sees_and_does_not_trade(secured: Platform, admin, tmp_path: Path) -> None:
    """A user with the role viewer reads; an order is refused with the permission that is missing and who has it, and leaves no order."""
    own = token_urlsafe()
    request = CreateUserRequest(request_id="u-1", user_name="meera", password=own, roles=["viewer"])
    AuthServiceStub(secured.channel).CreateUser(request, metadata=admin, timeout=20)
    viewer = bearer(secured, "meera", own)
    trading = TradingServiceStub(secured.channel)
    with pytest.raises(grpc.RpcError) as refused:
        trading.PlaceOrder(ORDER, metadata=viewer, timeout=10)
    failure = call_failure(refused.value)
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    assert "TRADE, which meera (viewer) lacks; trader, admin have it" in failure.message
    assert reason(RiskServiceStub(secured.channel).SetKillSwitch, HALT, viewer) == "PERMISSION_MISSING"
    file = tmp_path / "token"
    file.write_text(viewer[0][1].removeprefix("Bearer "))
    assert ran(secured, "orders", "--token-file", str(file)).exit_code == 0


def test_a_caller_is_not_made_by_metadata(secured: Platform, admin) -> None:
    """The admin's order is the admin's whatever the call's metadata says, and the audit names who did it."""
    forged = (*admin, ("x-caller", "somebody"), ("caller", "service:risk"))
    TradingServiceStub(secured.channel).PlaceOrder(ORDER, metadata=forged, timeout=20)
    audited = {line["caller"] for line in secured.log() if line["event"] == "command.completed"}
    assert "admin" in audited
    assert audited <= {"admin", "anonymous", "service:up", "service:alphapanda"}


def test_every_command_of_the_cookbook_answers_as_it_says(
    secured: Platform, password: str, admin, grpcurl: Path, tmp_path: Path
) -> None:
    """Each command of clients/COOKBOOK.md, in order, gives what the page shows; where it has no token yet, the admin's."""
    until(lambda: secured.logged("fill.reported"), 60, "a fill")
    path = os.pathsep.join([str(grpcurl.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    known = {"PASSWORD": password, "TOKEN": admin[0][1].removeprefix("Bearer ")}
    wrong = []
    for heading, commands in entries((ROOT / "clients/COOKBOOK.md").read_text()):
        for one in commands:
            command = one.command.replace("localhost:50051", secured.target)
            command = command.replace("/srv/backups", str(tmp_path))
            if heading != "Sign in":
                command = command.replace("-plaintext", f"-plaintext -H {BEARER}")
                reflecting = "" if "--schema" in command else f" --reflect-header {BEARER}"
                command = command.replace(
                    "--http2-prior-knowledge", f"--http2-prior-knowledge -H {BEARER}{reflecting}"
                )
            for seconds in (1, 15):  # a busy machine is given longer for a watch, and asked again
                said = subprocess.run(
                    ["bash", "-c", LIMIT.sub(rf"\g<1> {seconds}", command)],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                    cwd=ROOT,
                    env={"PATH": path, "HOME": str(tmp_path), **known},
                )
                answer: Any = said.stdout or said.stderr
                why = disagreement(one, answer.replace(str(tmp_path), "/srv/backups"))
                if not why or not (LIMIT.search(command) or "DEADLINE_EXCEEDED" in answer):
                    break
            if why:
                wrong.append(f"{heading}: {one.command}\n    {why}")
            for name, kept in one.kept.items():
                known[name] = value_of(json.loads(answer), kept)
    assert not wrong, "\n".join(wrong)
