"""The programs of all languages on one platform: they say the same, and the books say what they say."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import grpc
from languages import CLIENTS, Language
from running import Platform, until

from alphapanda.commands.making_certs import make_certificates
from panda.auth.v1.auth_pb2 import CreateUserRequest, LoginRequest
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub
from panda.common.v1 import common_pb2 as common
from panda.portfolio.v1.portfolio_pb2 import ListFillsRequest, ListPositionsRequest
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.trading.v1.trading_pb2 import GetOrderRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

SCENARIOS = CLIENTS / "scenarios.json"
FIELDS = {
    "books": {"cash", "positions"},
    "quote": {"symbol", "price"},
    "order": {"order_id", "same"},
    "filled": {"order_id", "quantity"},
    "square-off": {"positions"},
}
"""What each step tells, as clients/README.md says."""

SECONDS = 180.0
SLOW_FRAMES_MS = 6000
"""Between two frames there is time to kill a platform under all who wait for the next."""
FIRST_PASSWORD = re.compile(r"`admin`, password (\S+) ")
OWN_PASSWORD = "bought-and-sold-side-by-side"  # pragma: allowlist secret

Metadata = tuple[tuple[str, str], ...]


def ended(programs: dict[str, subprocess.Popen[str]]) -> dict[str, tuple[int, str, str]]:
    """The exit codes, outputs and complaints of programs that run side by side."""
    try:
        return {
            name: (program.wait(SECONDS), *told)
            for name, program in programs.items()
            if (told := program.communicate(timeout=SECONDS))
        }
    finally:
        for program in programs.values():
            program.kill()


def side_by_side(
    languages: Sequence[Language], program: str, *arguments: str, **environment: str
) -> dict[str, str]:
    """What a program prints in each language, all started at once; each must end well."""
    results = ended(
        {language.name: language.start(program, *arguments, **environment) for language in languages}
    )
    for name, (code, out, err) in results.items():
        assert code == 0, f"{name}'s {program} ended with {code}:\n{out}\n{err}"
    return {name: out for name, (_, out, _) in results.items()}


def check_scenarios(languages: Sequence[Language], target: str, **environment: str) -> None:
    """Every language passes every scenario, and says so in the same words."""
    names = [one["name"] for one in json.loads(SCENARIOS.read_text())["scenarios"]]
    for name, out in side_by_side(languages, "scenarios", target, str(SCENARIOS), **environment).items():
        assert out.splitlines() == [f"{scenario}: passed" for scenario in names], name


def check_traders(
    languages: Sequence[Language],
    target: str,
    channel: grpc.Channel,
    metadata: Metadata = (),
    **environment: str,
) -> None:
    """Every language tells the same steps, and the books have the order that each placed, once, and nothing is held."""
    outputs: dict[str, str] = {}
    # One after another: of one position's orders a second is refused while the first is open (OPEN_ORDER).
    for language in languages:
        outputs |= side_by_side([language], "trader", target, **environment)
    orders = [
        order_of(name, [json.loads(line) for line in out.splitlines()]) for name, out in outputs.items()
    ]
    check_books(orders, channel, metadata)


def check_books(orders: Sequence[str], channel: grpc.Channel, metadata: Metadata = ()) -> None:
    """Each order was filled once, and nothing is held in the end."""
    assert len(set(orders)) == len(orders)
    trading, books = TradingServiceStub(channel), PortfolioServiceStub(channel)
    for order_id in orders:
        state = trading.GetOrder(
            GetOrderRequest(order_id=order_id), metadata=metadata, timeout=20
        ).order.state
        assert (state.side, state.quantity, state.filled_quantity) == (common.SIDE_BUY, 10, 10)
        fills = books.ListFills(ListFillsRequest(order_id=order_id), metadata=metadata, timeout=20).fills
        assert sum(fill.quantity for fill in fills) == 10
    held = ListPositionsRequest(broker="paper", strategy_id="manual")
    until(
        lambda: not books.ListPositions(held, metadata=metadata, timeout=20).positions,
        30,
        "that nothing is held",
    )


def order_of(name: str, lines: list[dict[str, Any]]) -> str:
    """The id of the order that a trader placed; its lines must be as clients/README.md says."""
    assert [step for step, _ in groupby(line["step"] for line in lines)] == list(FIELDS), name
    for line in lines:
        assert set(line) == {"step"} | FIELDS[line["step"]], name
    of = {line["step"]: line for line in lines}
    quotes = [line for line in lines if line["step"] == "quote"]
    assert len(quotes) >= 3, name
    assert re.fullmatch(r"\d+\.\d\d", of["books"]["cash"]), name
    for quote in quotes:
        assert quote["symbol"] == "NSE:INFY", name
        assert re.fullmatch(r"\d+\.\d\d", quote["price"]), name
        assert Decimal(quote["price"]) > 0, name
    assert of["order"]["same"] is True, name
    assert of["filled"] == {"step": "filled", "order_id": of["order"]["order_id"], "quantity": 10}, name
    return str(of["order"]["order_id"])


def test_all_languages_trade_without_tls(languages: tuple[Language, ...], tmp_path: Path) -> None:
    """On a desk's own machine, without TLS and tokens: scenarios side by side, then traders, who sell what all have bought."""
    with Platform(tmp_path / "data") as platform:
        platform.start()
        check_scenarios(languages, platform.target)
        check_traders(languages, platform.target, platform.channel)
        platform.stop()


def test_all_languages_trade_with_tls_and_tokens(languages: tuple[Language, ...], tmp_path: Path) -> None:
    """Where callers sign in over TLS: who has no token is told so in each language, and with a trader's all trade."""
    certificates = tmp_path / "certs"
    make_certificates(certificates, 30, ())
    ca = certificates / "ca.pem"
    tls = {
        "ALPHAPANDA_TLS__CERTIFICATE": str(certificates / "server.pem"),
        "ALPHAPANDA_TLS__KEY": str(certificates / "server.key"),
        "ALPHAPANDA_TLS__CA": str(ca),
    }
    with Platform(tmp_path / "data", "--auth", environment=tls) as platform:
        platform.start()
        with grpc.secure_channel(platform.target, grpc.ssl_channel_credentials(ca.read_bytes())) as channel:
            token = trader_token(channel, FIRST_PASSWORD.search(platform.complaints)[1])
            file = tmp_path / "token"
            file.write_text(f"{token}\n")
            told = ended(
                {one.name: one.start("trader", platform.target, ALPHAPANDA_CA=str(ca)) for one in languages}
            )
            for name, (code, out, err) in told.items():
                assert (code, out, "alphapanda login" in err) == (1, "", True), f"{name}: {err}"
            signed = {"ALPHAPANDA_CA": str(ca), "ALPHAPANDA_TOKEN_FILE": str(file)}
            bearer = (("authorization", f"Bearer {token}"),)
            check_scenarios(languages, platform.target, **signed)
            check_traders(languages, platform.target, channel, bearer, **signed)
        platform.stop()


def test_watches_outlive_a_platform_that_is_killed(languages: tuple[Language, ...], tmp_path: Path) -> None:
    """Killed while all watch quotes: every trader watches on when it is there again, and places its order."""
    with (
        ExitStack() as stack,
        Platform(
            tmp_path / "data",
            "--port",
            str(free_port()),
            environment={"ALPHAPANDA_MARKETDATA__FRAME_INTERVAL_MS": str(SLOW_FRAMES_MS)},
        ) as platform,
    ):
        platform.start()
        outs = {one.name: tmp_path / f"{one.name}.out" for one in languages}
        programs = {
            one.name: one.start(
                "trader", platform.target, stdout=stack.enter_context(outs[one.name].open("w"))
            )
            for one in languages
        }
        try:
            until(lambda: all('"quote"' in out.read_text() for out in outs.values()), 30, "a quote each")
            platform.kill()
            assert not any('"order"' in out.read_text() for out in outs.values())
            platform.start()
            until(lambda: all('"order"' in out.read_text() for out in outs.values()), 30, "an order each")
        finally:
            for program in programs.values():
                program.kill()
                program.communicate()
        platform.stop()


def free_port() -> int:
    """A port that nobody has: a platform that starts again keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def trader_token(channel: grpc.Channel, first_password: str) -> str:
    """The access token of a user who may trade, made by the first administrator."""
    auth = AuthServiceStub(channel)

    def signed_in(user: str, password: str) -> str:
        request = LoginRequest(request_id=f"login-{user}", user_name=user, password=password)
        return str(auth.Login(request, timeout=20).tokens.access_token)

    asha = CreateUserRequest(request_id="asha", user_name="asha", password=OWN_PASSWORD, roles=["trader"])
    bearer = (("authorization", f"Bearer {signed_in('admin', first_password)}"),)
    auth.CreateUser(asha, metadata=bearer, timeout=20)
    return signed_in("asha", OWN_PASSWORD)
