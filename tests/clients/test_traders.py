"""The programs of all languages on one platform: they say the same, and the books say what they say."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import grpc
import pytest
from languages import CLIENTS, Language
from running import Platform, until

from alphapanda.commands.making_certs import make_certificates
from panda.auth.v1.auth_pb2 import CreateUserRequest, LoginRequest
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub
from panda.common.v1 import common_pb2 as common
from panda.marketdata.v1.marketdata_pb2 import GetQuotesRequest
from panda.portfolio.v1.portfolio_pb2 import ListFillsRequest, ListPositionsRequest
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2 import SetKillSwitchRequest
from panda.trading.v1.trading_pb2 import (
    GetOrderRequest,
    PlaceOrderRequest,
    WatchOrdersRequest,
    WatchOrdersResponse,
)
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

SCENARIOS = CLIENTS / "scenarios.json"
NOTEBOOK = CLIENTS / "python/examples/day.ipynb"
SYMBOLS = ("NSE:INFY", "NSE:RELIANCE", "NSE:HDFCBANK", "NSE:SBIN")
"""One for each language."""
FIELDS = {
    "books": {"cash", "positions"},
    "quote": {"symbol", "price"},
    "order": {"order_id", "same"},
    "filled": {"order_id", "quantity"},
    "square-off": {"positions"},
}
"""What each step tells, as clients/README.md says."""

SECONDS = 180.0
SLOW = {"ALPHAPANDA_MARKETDATA__FRAME_INTERVAL_MS": "20000"}
"""Between two frames there is time to kill a platform under all who wait for the next."""
FIRST_PASSWORD = re.compile(r"`admin`, password (\S+) ")
OWN_PASSWORD = "bought-and-sold-side-by-side"  # pragma: allowlist secret

Metadata = tuple[tuple[str, str], ...]


def ended(programs: Mapping[str, subprocess.Popen[str]]) -> dict[str, tuple[int, str, str]]:
    """The exit codes, outputs and complaints of programs that run side by side."""
    try:
        told = {name: program.communicate(timeout=SECONDS) for name, program in programs.items()}
        return {name: (programs[name].returncode, *told[name]) for name in programs}
    finally:
        for program in programs.values():
            program.kill()


def ended_well(programs: Mapping[str, subprocess.Popen[str]]) -> dict[str, str]:
    """What programs that run side by side print; each must end well."""
    results = ended(programs)
    for name, (code, out, err) in results.items():
        assert code == 0, f"{name} ended with {code}:\n{out}\n{err}"
    return {name: out for name, (_, out, _) in results.items()}


def traders(
    languages: Sequence[Language], target: str, **environment: str
) -> dict[str, subprocess.Popen[str]]:
    """A trader in each language, all started at once.

    Each has a symbol of its own: of one position's orders a second is refused while the first is open.
    """
    return {
        language.name: language.start("trader", target, symbol, **environment)
        for language, symbol in zip(languages, SYMBOLS, strict=True)
    }


def check_scenarios(languages: Sequence[Language], target: str, **environment: str) -> None:
    """Every language passes every scenario, and says so in the same words."""
    names = [one["name"] for one in json.loads(SCENARIOS.read_text())["scenarios"]]
    started = {one.name: one.start("scenarios", target, str(SCENARIOS), **environment) for one in languages}
    for name, out in ended_well(started).items():
        assert out.splitlines() == [f"{scenario}: passed" for scenario in names], name


def check_traders(outputs: Mapping[str, str], channel: grpc.Channel, metadata: Metadata = ()) -> None:
    """Every language tells the same steps, and the books have the order that each placed, once, and nothing of it is held."""
    orders = [
        order_of(name, symbol, [json.loads(line) for line in out.splitlines()])
        for (name, out), symbol in zip(outputs.items(), SYMBOLS, strict=True)
    ]
    check_books(orders, channel, metadata)


def check_books(orders: Sequence[str], channel: grpc.Channel, metadata: Metadata = ()) -> None:
    """Each order was filled once, and nothing that they bought is held in the end."""
    assert len(set(orders)) == len(orders)
    trading, books = TradingServiceStub(channel), PortfolioServiceStub(channel)
    for order_id in orders:
        state = trading.GetOrder(
            GetOrderRequest(order_id=order_id), metadata=metadata, timeout=20
        ).order.state
        assert (state.side, state.quantity, state.filled_quantity) == (common.SIDE_BUY, 10, 10)
        fills = books.ListFills(ListFillsRequest(order_id=order_id), metadata=metadata, timeout=20).fills
        assert sum(fill.quantity for fill in fills) == 10

    def left() -> set[str]:
        held = ListPositionsRequest(broker="paper", strategy_id="manual")
        positions = books.ListPositions(held, metadata=metadata, timeout=20).positions
        return {one.symbol for one in positions} & set(SYMBOLS)

    until(lambda: not left(), 30, "that nothing is held")


def order_of(name: str, symbol: str, lines: list[dict[str, Any]]) -> str:
    """The id of the order that a trader placed; its lines must be as clients/README.md says."""
    assert [step for step, _ in groupby(line["step"] for line in lines)] == list(FIELDS), name
    for line in lines:
        assert set(line) == {"step"} | FIELDS[line["step"]], name
    of = {line["step"]: line for line in lines}
    quotes = [line for line in lines if line["step"] == "quote"]
    assert len(quotes) >= 3, name
    assert re.fullmatch(r"\d+\.\d\d", of["books"]["cash"]), name
    for quote in quotes:
        assert quote["symbol"] == symbol, name
        assert re.fullmatch(r"\d+\.\d\d", quote["price"]), name
        assert Decimal(quote["price"]) > 0, name
    assert of["order"]["same"] is True, name
    assert of["filled"] == {"step": "filled", "order_id": of["order"]["order_id"], "quantity": 10}, name
    return str(of["order"]["order_id"])


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform without TLS and tokens, as on a desk's own machine."""
    with Platform(tmp_path_factory.mktemp("plain") / "data") as running:
        running.start()
        yield running
        running.stop()


def test_all_languages_pass_the_scenarios(languages: tuple[Language, ...], platform: Platform) -> None:
    """All scenarios in all languages, side by side."""
    check_scenarios(languages, platform.target)


def test_all_languages_trade_without_tls(languages: tuple[Language, ...], platform: Platform) -> None:
    """On a desk's own machine, without TLS and tokens, side by side."""
    check_traders(ended_well(traders(languages, platform.target)), platform.channel)


def test_an_order_that_fails_is_told_of(languages: tuple[Language, ...], platform: Platform) -> None:
    """Under HALTED every trader says the same of its order, in a line for programs and one for people, and ends with 1."""
    set_switch(platform, common.TRADING_STATE_HALTED)
    try:
        results = ended(traders(languages, platform.target))
    finally:
        set_switch(platform, common.TRADING_STATE_ACTIVE)
    for name, (code, out, err) in results.items():
        *_, order, failed = [json.loads(line) for line in out.splitlines()]
        assert code == 1, name
        assert failed.pop("order_id") == order["order_id"], name
        assert "KILL_SWITCH" in failed["message"], name
        assert failed == {
            "step": "failed",
            "status": "ORDER_STATUS_FAILED",
            "reason": "FAILURE_REASON_RISK_REJECTED",
            "message": failed["message"],
        }, name
        assert err.strip() == f"order {order['order_id']} wasn't filled: {failed['message']}", name


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    languages: tuple[Language, ...], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cell by cell in one namespace, as Jupyter does it; what its frames say is what the books say."""
    monkeypatch.syspath_prepend(str(CLIENTS / "python"))
    monkeypatch.setenv("ALPHAPANDA_TARGET", platform.target)
    known: dict[str, Any] = {"__name__": "__main__"}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, cell {number}", "exec"), known)
    order = known["order"].state
    fills = platform.books.ListFills(ListFillsRequest(order_id=order.order_id)).fills
    assert known["fills"]["price"].tolist() == [Decimal(fill.price.value) for fill in fills]
    assert known["fills"]["quantity"].sum() == order.filled_quantity == 10
    held = known["positions"].set_index("symbol").loc["NSE:TCS"]
    assert (held["quantity"], held["average_price"]) == (10, Decimal(fills[0].price.value))
    bought = known["by_symbol"].loc[("NSE:TCS", "SIDE_BUY")]
    assert bought["quantity"] >= 10
    assert known["drawdown"].max() <= 0
    assert [line.symbol for line in known["squared"].plan] == ["NSE:TCS"]


def test_all_languages_trade_with_tls_and_tokens(languages: tuple[Language, ...], tmp_path: Path) -> None:
    """Where callers show a certificate and sign in: without either nobody gets in, and with a trader's token all trade."""
    certificates = tmp_path / "certs"
    make_certificates(certificates, 30, ())
    ca = certificates / "ca.pem"
    tls = {
        "ALPHAPANDA_TLS__CERTIFICATE": str(certificates / "server.pem"),
        "ALPHAPANDA_TLS__KEY": str(certificates / "server.key"),
        "ALPHAPANDA_TLS__CA": str(ca),
        "ALPHAPANDA_TLS__CLIENT_CERTIFICATES": "required",
    }
    with Platform(tmp_path / "data", "--auth", environment=tls) as platform:
        platform.start()
        files = (ca, certificates / "client.key", certificates / "client.pem")
        trusted = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        with grpc.secure_channel(platform.target, trusted) as channel:
            token = trader_token(channel, FIRST_PASSWORD.search(platform.complaints)[1])
            file = tmp_path / "token"
            file.write_text(f"{token}\n")
            shown = {
                "ALPHAPANDA_CA": str(ca),
                "ALPHAPANDA_CERT": str(certificates / "client.pem"),
                "ALPHAPANDA_CERT_KEY": str(certificates / "client.key"),
            }
            bare = ended(traders(languages, platform.target, ALPHAPANDA_CA=str(ca)))
            assert {(code, out) for code, out, _ in bare.values()} == {(1, "")}
            told = ended(traders(languages, platform.target, **shown))
            for name, (code, out, err) in told.items():
                assert (code, out, "alphapanda login" in err) == (1, "", True), f"{name}: {err}"
            signed = {**shown, "ALPHAPANDA_TOKEN_FILE": str(file)}
            bearer = (("authorization", f"Bearer {token}"),)
            check_scenarios(languages, platform.target, **signed)
            check_traders(ended_well(traders(languages, platform.target, **signed)), channel, bearer)
        platform.stop()


def test_watches_outlive_a_platform_that_is_killed(
    languages: tuple[Language, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed under all watches: traders watch quotes on and trade once; a watch of orders goes on and sees all of it."""
    monkeypatch.syspath_prepend(str(CLIENTS / "python"))
    where = (tmp_path / "data", "--port", str(free_port()))
    outs = {one.name: tmp_path / f"{one.name}.out" for one in languages}
    with ExitStack() as stack, Platform(*where) as quick, Platform(*where, environment=SLOW) as slow:
        slow.start()
        seen = stack.enter_context(orders_watched(slow.target))
        before = PlaceOrderRequest(request_id="before", symbol="NSE:ITC", side=common.SIDE_BUY, quantity=1)
        until(lambda: slow.market.GetQuotes(GetQuotesRequest(symbols=["NSE:ITC"])).quotes, 30, "a price")
        slow.trading.PlaceOrder(before, timeout=60)
        until(lambda: "NSE:ITC" in filled_symbols(seen), 30, "that its fill is seen")
        told_before = len(seen)
        programs = {
            one.name: one.start(
                "trader",
                slow.target,
                symbol,
                stdout=stack.enter_context(outs[one.name].open("w")),
                ALPHAPANDA_PATIENCE_SECONDS=str(int(SECONDS)),
            )
            for one, symbol in zip(languages, SYMBOLS, strict=True)
        }
        until(lambda: all('"quote"' in out.read_text() for out in outs.values()), 30, "a quote each")
        slow.kill()
        assert not any('"order"' in out.read_text() for out in outs.values())
        quick.start()
        ended_well(programs)
        check_traders({name: out.read_text() for name, out in outs.items()}, quick.channel)
        until(lambda: set(SYMBOLS) <= filled_symbols(seen), 30, "that all fills are seen")
        assert not [message for message in seen[told_before:] if message.snapshot]
        assert [one.revision for one in seen] == sorted(one.revision for one in seen)
        quick.stop()


@contextmanager
def orders_watched(target: str) -> Iterator[list[WatchOrdersResponse]]:
    """What the Python client's watch of orders tells, as it grows; the watch ends with the context."""
    from alphapanda_client import Client, PlatformError

    seen: list[WatchOrdersResponse] = []

    def watch() -> None:
        with suppress(PlatformError, ValueError):  # the one or the other of a client that is closed
            for message in client.watch_orders(WatchOrdersRequest(broker="paper")):
                seen.append(message)  # noqa: PERF402  # it is read while it grows

    with ThreadPoolExecutor(1) as beside, Client(target) as client:
        watching = beside.submit(watch)
        yield seen
        assert not watching.done(), watching.result()


def filled_symbols(seen: Sequence[WatchOrdersResponse]) -> set[str]:
    """The symbols of orders that were seen filled."""
    return {
        order.symbol
        for message in tuple(seen)
        for order in message.orders
        if order.state.status == common.ORDER_STATUS_FILLED
    }


def free_port() -> int:
    """A port that nobody has: a platform that starts again keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def set_switch(platform: Platform, state: common.TradingState) -> None:
    """Sets the kill switch of paper."""
    platform.risk.SetKillSwitch(
        SetKillSwitchRequest(
            request_id=f"switch-{state}", broker="paper", state=state, reason="how traders tell of it"
        ),
        timeout=20,
    )


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
