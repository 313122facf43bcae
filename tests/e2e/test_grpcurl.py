"""What somebody with grpcurl and nothing else finds: every name, and a platform that trades, books and refuses."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from running import Platform, until

from alphapanda.contract.catalogue import service_descriptors
from panda.events.v1.events_pb2 import Event

Answer = dict[str, Any]
SERVICES = tuple(service_descriptors())
FULL_NAMES = {one.name: one.full_name for one in SERVICES}
SERVED = tuple(one for one in SERVICES if one.name not in {"AuthService", "BrokerSessionService"})
"""What `up` serves: authentication is off on loopback by default, and Zerodha is not used."""
RULES = {
    "kill_switch",
    "market_hours",
    "strategy_state",
    "buying_power",
    "capability",
    "rejections",
    "instrument",
    "price",
    "order_quantity",
    "position_quantity",
    "product",
    "valid_until",
}
request_ids = (f"request-{number}" for number in count())


class Refusal(Exception):
    """A status other than OK."""

    def __init__(self, status: Answer) -> None:
        super().__init__(status["message"])
        self.code = status["code"]
        self.reason = status["details"][0]["reason"]


@pytest.fixture
def ask(platform: Platform, grpcurl: Path) -> Callable[..., Answer]:
    """Calls "Service/Method" by grpcurl with the request's fields."""

    def call(method: str, **request: Any) -> Answer:
        service, _, name = method.partition("/")
        ran = run(
            grpcurl,
            platform,
            "-format-error",
            "-d",
            json.dumps(request),
            platform.target,
            f"{FULL_NAMES[service]}/{name}",
        )
        if ran.returncode:
            raise Refusal(json.loads(ran.stderr))
        answer: Answer = json.loads(ran.stdout)
        return answer

    return call


@pytest.fixture
def place(platform: Platform, ask: Callable[..., Answer]) -> Callable[..., Answer]:
    """Places a manual order and returns it."""
    until(lambda: len(ask("MarketDataService/GetQuotes").get("quotes", [])) >= 20, 15, "prices")

    def order(side: str, quantity: int, symbol: str = "NSE:INFY", **more: Any) -> Answer:
        body = {"request_id": next(request_ids), "symbol": symbol, "side": side, "quantity": quantity} | more
        placed: Answer = ask("TradingService/PlaceOrder", **body)["order"]
        return placed

    return order


@pytest.fixture
def switch(ask: Callable[..., Answer]) -> Iterator[Callable[[str], Answer]]:
    """Sets the kill switch of paper; ACTIVE again afterwards."""

    def to(state: str) -> Answer:
        return ask(
            "RiskService/SetKillSwitch",
            request_id=next(request_ids),
            broker="paper",
            state=f"TRADING_STATE_{state}",
            reason="a test",
        )

    yield to
    to("ACTIVE")


def run(grpcurl: Path, platform: Platform, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(grpcurl), "-plaintext", "-max-time", "20", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def reachable(*messages: Descriptor) -> set[str]:
    """The full names of messages and enums that these messages are made of, map entries left out."""
    found: set[str] = set()
    waiting: list[Descriptor | EnumDescriptor] = list(messages)
    while waiting:
        one = waiting.pop()
        if one.full_name in found:
            continue
        if not (isinstance(one, Descriptor) and one.GetOptions().map_entry):
            found.add(one.full_name)
        if isinstance(one, Descriptor):
            waiting += [t for f in one.fields if (t := f.message_type or f.enum_type) is not None]
    return found


def amount(money: Answer) -> Decimal:
    return Decimal(money["amount"]["value"])


def test_list_names_every_service(platform, grpcurl):
    """`grpcurl list` names every service of the contract but AuthService, and health."""
    listed = run(grpcurl, platform, platform.target, "list").stdout.split()
    assert {"grpc.health.v1.Health", *(one.full_name for one in SERVED)} <= set(listed)
    assert "panda.auth.v1.AuthService" not in listed
    assert len(SERVED) >= 7


def defined(protoset: bytes) -> set[str]:
    """The full names of what the files of a set define: services, messages, enums and extensions."""
    files = FileDescriptorSet.FromString(protoset)
    found: set[str] = set()
    for file in files.file:
        waiting = [(file.package, one) for one in file.message_type]
        found |= {f"{file.package}.{one.name}" for one in (*file.service, *file.enum_type, *file.extension)}
        while waiting:
            scope, message = waiting.pop()
            name = f"{scope}.{message.name}"
            found |= {name, *(f"{name}.{one.name}" for one in (*message.enum_type, *message.extension))}
            waiting += [(name, one) for one in message.nested_type]
    return found


def test_describe_resolves_every_type(platform, grpcurl, tmp_path):
    """`grpcurl describe` resolves every service, message and enum of the RPCs and events, and the contract's options.

    What it resolves for a name is that name's file and all that this needs, which it writes down: a name for each file is enough.
    """
    messages = [m for one in SERVICES for rpc in one.methods for m in (rpc.input_type, rpc.output_type)]
    names = reachable(*messages, Event.DESCRIPTOR) | {one.full_name for one in SERVICES}
    names |= {"panda.options.v1.method", "panda.options.v1.topic", "panda.options.v1.MethodPolicy"}
    names |= {"buf.validate.field", "buf.validate.FieldRules"}
    resolved: set[str] = set()
    described = {}
    first = [one.full_name for one in SERVICES]
    for name in [*first, "panda.events.v1.Event", *sorted(names)]:
        if name in resolved and name not in first:
            continue
        file = tmp_path / name
        ran = run(grpcurl, platform, "-protoset-out", str(file), platform.target, "describe", name)
        assert ran.returncode == 0, f"{name}: {ran.stderr}"
        resolved |= defined(file.read_bytes())
        described[name] = ran.stdout
    assert names <= resolved
    assert "PERMISSION_TRADE" in described["panda.trading.v1.TradingService"]


def test_an_empty_request_shows_the_default_account(ask):
    """GetPortfolio answers an empty request with the default account, which begins with its starting cash."""
    shown = ask("PortfolioService/GetPortfolio")["portfolio"]
    assert (shown["broker"], shown["account"]) == ("paper", "default")
    assert amount(shown["starting_cash"]) == Decimal(1_000_000)


def test_a_manual_order_is_vetted_filled_and_booked(ask, place):
    """A manual order has a verdict, a fill, ledger entries that add up to zero, and a position at the fill's price."""
    symbol = "NSE:TCS"
    order = place("SIDE_BUY", 10, symbol)
    state = order["state"]
    assert (state["status"], state["filled_quantity"]) == ("ORDER_STATUS_FILLED", "10")
    verdict = ask("RiskService/GetVerdict", signal_id=state["signal_id"])["verdict"]
    assert verdict["approved"]

    fills = until(
        lambda: ask("PortfolioService/ListFills", order_id=state["order_id"]).get("fills"),
        5,
        "the fill booked",
    )
    (fill,) = fills
    assert (fill["symbol"], fill["quantity"], fill["price"]) == (symbol, "10", state["average_price"])
    assert fill["correlation_id"] == order["correlation_id"]
    entries = ask("PortfolioService/ListLedgerEntries", page_size=1000)["entries"]
    of_fill = [entry for entry in entries if entry.get("fill_id") == fill["fill_id"]]
    assert len(of_fill) >= 4
    assert sum(amount(entry["amount"]) for entry in of_fill) == 0
    cash = sum(amount(e["amount"]) for e in of_fill if e["ledger_account"] == "LEDGER_ACCOUNT_CASH")
    price = Decimal(fill["price"]["value"])
    assert cash == -(10 * price + amount(fill["commission"]))
    positions = ask("PortfolioService/ListPositions")["positions"]
    (held,) = [one for one in positions if one["symbol"] == symbol]
    assert (held["quantity"], Decimal(held["average_price"]["value"])) == ("10", price)


def test_ledger_entries_add_up_to_the_cash_that_is_shown(ask, place):
    """Every transaction of the ledger adds up to zero, and the cash entries to the portfolio's cash."""
    order = place("SIDE_SELL", 3, "NSE:SBIN")
    of_order = {"order_id": order["state"]["order_id"]}
    until(lambda: ask("PortfolioService/ListFills", **of_order).get("fills"), 5, "the fill booked")
    entries = ask("PortfolioService/ListLedgerEntries", page_size=1000)["entries"]
    by_transaction = sorted(entries, key=lambda entry: entry["transaction_id"])
    for _, lines in groupby(by_transaction, key=lambda entry: entry["transaction_id"]):
        assert sum(amount(line["amount"]) for line in lines) == 0
    cash = sum(amount(e["amount"]) for e in entries if e["ledger_account"] == "LEDGER_ACCOUNT_CASH")
    assert cash == amount(ask("PortfolioService/GetPortfolio")["portfolio"]["cash"])


def test_the_same_request_again_is_the_same_order(ask, place):
    """A request_id that comes again with the same body answers with the same order and places none."""
    first = place("SIDE_BUY", 1, "NSE:ITC", request_id="once")
    again = place("SIDE_BUY", 1, "NSE:ITC", request_id="once")
    assert again == first
    orders = ask("TradingService/ListOrders", page_size=500)["orders"]
    assert [one["symbol"] for one in orders].count("NSE:ITC") == 1


def test_a_request_id_used_for_something_else_is_refused(place):
    """A request_id that comes again with another body is ALREADY_EXISTS."""
    place("SIDE_BUY", 1, "NSE:WIPRO", request_id="twice")
    with pytest.raises(Refusal, match="'twice' was used for another request") as refused:
        place("SIDE_BUY", 2, "NSE:WIPRO", request_id="twice")
    assert (refused.value.code, refused.value.reason) == (6, "REQUEST_ID_REUSED")


def test_risks_refusal_is_an_answer_that_names_the_rule(ask, place):
    """An order over the limit is an order that failed by risk's rule, and nothing reaches the exchange or the ledger."""
    order = place("SIDE_BUY", 100_001, "NSE:LT")
    assert order["state"]["status"] == "ORDER_STATUS_FAILED"
    assert order["failure_reason"] == "FAILURE_REASON_RISK_REJECTED"
    assert order["message"] == "ORDER_QUANTITY: an order of 100001 units is over the limit of 100000"
    assert "broker_order_id" not in order.get("intents", [{}])[0]
    verdict = ask("RiskService/GetVerdict", signal_id=order["state"]["signal_id"])["verdict"]
    broken = [rule for rule in verdict["rules"] if rule["outcome"] == "RULE_OUTCOME_FAILED"]
    shown = [(rule["rule"], rule["limit"], rule["observed"]) for rule in broken]
    assert shown[:2] == [(rule, "<= 100000", "100001") for rule in ("order_quantity", "position_quantity")]
    assert [rule for rule, *_ in shown[2:]] == ["buying_power"]
    fills = ask("PortfolioService/ListFills", order_id=order["state"]["order_id"])
    assert fills == {}


def test_a_verdict_lists_every_rule(ask, place):
    """GetVerdict shows each rule there is, with its outcome."""
    order = place("SIDE_BUY", 1, "NSE:HDFCBANK")
    verdict = ask("RiskService/GetVerdict", signal_id=order["state"]["signal_id"])["verdict"]
    assert {rule["rule"] for rule in verdict["rules"]} == RULES
    assert all(rule["outcome"] != "RULE_OUTCOME_FAILED" for rule in verdict["rules"])


def test_halted_refuses_entries_and_exits(place, switch):
    """Under HALTED an order is refused by the kill switch, an exit too."""
    assert place("SIDE_BUY", 5, "NSE:MARUTI")["state"]["status"] == "ORDER_STATUS_FILLED"
    assert switch("HALTED")["acknowledged_by_trading"]
    for side in ("SIDE_BUY", "SIDE_SELL"):
        refused = place(side, 5, "NSE:MARUTI")
        assert refused["state"]["status"] == "ORDER_STATUS_FAILED"
        assert "KILL_SWITCH" in refused["message"] + refused["failure_reason"]


def test_reducing_lets_only_exits_through(place, switch):
    """Under REDUCING an entry is refused, and an exit is filled."""
    assert place("SIDE_BUY", 5, "NSE:TITAN")["state"]["status"] == "ORDER_STATUS_FILLED"
    assert switch("REDUCING")["acknowledged_by_trading"]
    assert place("SIDE_BUY", 5, "NSE:TITAN")["state"]["status"] == "ORDER_STATUS_FAILED"
    left = place("SIDE_SELL", 5, "NSE:TITAN")
    assert left["state"]["status"] == "ORDER_STATUS_FILLED"
    assert left["state"]["position_effect"] == "POSITION_EFFECT_REDUCES"


def test_instruments_are_imported_and_added(ask):
    """A list in base64, or one by one, and found at once; the same request again changes nothing."""
    header = (
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,"
        "segment,exchange"
    )
    content = b64encode(f"{header}\n25857,101,TINY,TINY TOYS,0,,0,0.01,1,EQ,NSE,NSE\n".encode()).decode()
    request_id = next(request_ids)
    for _ in range(2):
        answer = ask("InstrumentService/ImportInstruments", request_id=request_id, content=content)
        assert (answer["form"], answer["added"]) == ("Kite's instruments dump", "1")
    added = ask("InstrumentService/AddInstrument", request_id=next(request_ids), symbol="NSE:TOY", lot_size=2)
    assert added["instrument"]["lot_size"] == "2"
    found = ask("InstrumentService/GetInstrument", symbol="NSE:TINY")["instrument"]
    assert found["instrument_token"] == 25857


def test_an_unknown_symbol_is_refused_with_the_nearest(place):
    """A symbol nobody knows is INVALID_ARGUMENT, and the nearest is suggested."""
    with pytest.raises(
        Refusal, match="symbol: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'"
    ) as refused:
        place("SIDE_BUY", 1, "NSE:INFI")
    assert refused.value.code == 3


def test_a_zerodha_order_is_refused_while_zerodha_is_off(place):
    """A manual order to zerodha, active but not enabled by default, is FAILED_PRECONDITION."""
    with pytest.raises(Refusal, match="broker 'zerodha' is off") as refused:
        place("SIDE_BUY", 1, broker="zerodha")
    assert (refused.value.code, refused.value.reason) == (9, "BROKER_OFF")


def test_status_and_health_say_that_all_serve(platform, grpcurl, ask):
    """GetStatus shows every service SERVING without an error, and the health service agrees for each."""
    services = ask("OpsService/GetStatus")["services"]
    names = {one.full_name.split(".")[1] for one in SERVED}
    assert {one["service"] for one in services} == names - {"ops"}  # the one that answers
    assert {one["state"] for one in services} == {"SERVICE_STATE_SERVING"}
    assert not [one for one in services if one.get("last_error")]
    trading = next(one for one in services if one["service"] == "trading")
    assert {one["broker"]: one["mode"] for one in trading["brokers"]} == {"paper": "on", "zerodha": "off"}
    for name in ["", *(one.full_name for one in SERVED)]:
        body = json.dumps({"service": name})
        said = run(grpcurl, platform, "-d", body, platform.target, "grpc.health.v1.Health/Check")
        assert json.loads(said.stdout) == {"status": "SERVING"}, name


def test_the_market_is_shown_as_simulated(ask):
    """GetMarketStatus says that the exchange is open, by a clock that is made up."""
    shown = ask("MarketDataService/GetMarketStatus")
    assert (shown["exchange"], shown["feed"], shown["open"], shown["simulated"]) == ("NSE", "sim", True, True)
