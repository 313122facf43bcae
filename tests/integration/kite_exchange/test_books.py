"""The account's arithmetic: positions, holdings, funds, charges, GTTs, by the unmodified kiteconnect."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from kiteconnect import KiteConnect
from tests.kite_exchange.charges import charges_of
from tests.kite_exchange.control_routes import holdings, square_off
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.listed import Listed
from tests.kite_exchange.server import ServerThread

INFY = 408065


@pytest.fixture(autouse=True)
def _at_1500(stub: ServerThread) -> None:
    stub.do(lambda exchange: exchange.market.opens([(INFY, 150_000)]))


def trade(kite: KiteConnect, side: str, quantity: int, product: str = "MIS") -> None:
    """Trades INFY at the last price."""
    kite.place_order(
        "regular", "NSE", "INFY", side, quantity, product, "MARKET", market_protection=5
    )  # fmt: skip


def moved(stub: ServerThread, rupees: str) -> None:
    stub.do(lambda exchange: exchange.market.set_price(INFY, Decimal(rupees), exchange.clock.ns()))


def test_positions_add_up(stub: ServerThread, kite: KiteConnect) -> None:
    """Pnl = sell_value - buy_value + quantity x last_price; the average is that of the open side."""
    trade(kite, "BUY", 10)
    moved(stub, "1510")
    trade(kite, "SELL", 4)
    (net,) = kite.positions()["net"]
    assert (net["quantity"], net["average_price"], net["buy_value"], net["sell_value"]) == (
        6,
        1500,
        15_000,
        6_040,
    )
    assert net["pnl"] == net["sell_value"] - net["buy_value"] + net["quantity"] * net["last_price"] == 100
    assert kite.positions()["day"][0]["day_sell_quantity"] == 4


def test_funds_follow_positions_and_open_orders(stub: ServerThread, kite: KiteConnect) -> None:
    """Net = live_balance = opening_balance - debits; an intraday position blocks a fifth, an order what it would need."""
    trade(kite, "BUY", 10)
    kite.place_order("regular", "NSE", "INFY", "BUY", 10, "CNC", "LIMIT", price=1490)
    equity = kite.margins("equity")
    assert equity["utilised"]["debits"] == 3_000 + 14_900
    assert equity["net"] == equity["available"]["live_balance"] == 1_000_000 - 17_900
    moved(stub, "1510")
    trade(kite, "SELL", 10)
    assert kite.margins()["equity"]["net"] == 1_000_000 - 14_900 + 100


def test_a_delivery_becomes_a_holding_and_can_be_sold(stub: ServerThread, kite: KiteConnect) -> None:
    """Shares bought today are T1 tomorrow and settled the day after; a sale is a negative position until then."""
    trade(kite, "BUY", 10, "CNC")
    stub.do(_next_day)
    (held,) = kite.holdings()
    assert (held["quantity"], held["t1_quantity"], held["average_price"]) == (0, 10, 1500)
    assert kite.positions() == {"net": [], "day": []}
    assert kite.orders() == []
    stub.do(_next_day)
    trade(kite, "SELL", 4, "CNC")
    assert kite.positions()["net"][0]["quantity"] == -4
    (held,) = kite.holdings()
    assert (held["quantity"], held["used_quantity"]) == (6, 4)
    stub.do(_next_day)
    assert kite.holdings()[0]["quantity"] == 6
    cash = kite.margins("equity")["available"]["opening_balance"]
    fees = 2 * charges_of(_infy(), "CNC", "BUY", 0, Decimal(0)).total
    assert cash < 1_000_000 - 10 * 1500 + 4 * 1500 - fees


def _next_day(exchange: Exchange) -> None:
    exchange.list_day(exchange.market.listing.day + timedelta(days=1))


def _infy() -> Listed:
    return Listed(INFY, 1594, "INFY", "INFOSYS", "0", "", "0", "0.05", 1, "EQ", "NSE", "NSE")


def test_pledged_shares_and_conversions_show(stub: ServerThread, kite: KiteConnect) -> None:
    """Collateral shows on the holding; a converted position moves to its new product."""
    told = {
        "account": APP.user_id,
        "instrument": "NSE:INFY",
        "quantity": 5,
        "t1_quantity": 2,
        "collateral_quantity": 3,
    }
    stub.do(lambda exchange: holdings(exchange, told))
    (held,) = kite.holdings()
    assert (held["quantity"], held["t1_quantity"], held["collateral_quantity"]) == (5, 2, 3)
    trade(kite, "BUY", 10)
    assert kite.convert_position("NSE", "INFY", "BUY", "day", 4, "MIS", "CNC")
    assert {row["product"]: row["quantity"] for row in kite.positions()["net"]} == {"MIS": 6, "CNC": 4}


def test_the_broker_squares_off_without_a_word(stub: ServerThread, kite: KiteConnect) -> None:
    """Its orders close intraday positions and cancel what rests; they were placed by nobody's app."""
    trade(kite, "BUY", 10)
    kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "LIMIT", price=1490)
    told: list[tuple[Any, str]] = []
    stub.do(lambda exchange: exchange.desk.told.append(lambda *update: told.append(update)))
    stub.do(lambda exchange: square_off(exchange, {"account": APP.user_id}))
    assert kite.positions()["net"][0]["quantity"] == 0
    assert [row["status"] for row in kite.orders()] == ["COMPLETE", "CANCELLED", "COMPLETE"]
    assert (kite.orders()[-1]["placed_by"], told) == ("RMS", [])


@pytest.mark.parametrize(
    ("product", "kind", "quantity", "bought", "sold", "total"),
    [
        ("CNC", "EQ", 100, 1500, 1510, "335.26"),
        ("MIS", "EQ", 100, 1500, 1510, "101.46"),
        ("NRML", "FUT", 65, 25_000, 25_050, "968.29"),
        ("NRML", "CE", 65, 146, 150, "70.29"),
    ],
)
def test_charges_are_those_worked_out_by_hand(
    product: str, kind: str, quantity: int, bought: int, sold: int, total: str
) -> None:
    """A purchase and a sale cost what the published rates of 2026 make, to some paise (stamp duty is rounded)."""
    exchange = "NSE" if kind == "EQ" else "NFO"
    listed = Listed(1, 0, "X", "X", "0", "", "0", "0.05", 1, kind, exchange, exchange)
    cost = sum(
        charges_of(listed, product, side, quantity, Decimal(price)).total
        for side, price in (("BUY", bought), ("SELL", sold))
    )
    assert abs(cost - Decimal(total)) <= Decimal("0.51")


def test_margins_and_charges_are_told_before_an_order(kite: KiteConnect) -> None:
    """Order margins, basket margins and a contract note have the documented fields."""
    order: dict[str, Any] = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "variety": "regular", "product": "MIS",
        "order_type": "LIMIT", "quantity": 10, "price": 1500, "trigger_price": 0,
    }  # fmt: skip
    (needs,) = kite.order_margins([order])
    assert (needs["total"], needs["leverage"]) == (3_000, 5)
    basket = kite.basket_order_margins(
        [order, {**order, "transaction_type": "SELL"}], consider_positions=True
    )
    assert (basket["initial"]["total"], basket["final"]["total"], len(basket["orders"])) == (6_000, 0, 2)
    (note,) = kite.get_virtual_contract_note([{**order, "order_id": "1", "average_price": 1500}])
    assert note["charges"]["total"] == pytest.approx(needs["charges"]["total"])


def test_a_gtt_waits_for_its_price(stub: ServerThread, kite: KiteConnect) -> None:
    """It is listed, changed and deleted; when its price comes, its order is placed and told in its result."""
    order = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "quantity": 1, "order_type": "LIMIT",
        "product": "CNC", "price": 1480,
    }  # fmt: skip
    made = kite.place_gtt("single", "INFY", "NSE", [1480], 1500, [order])["trigger_id"]
    other = kite.place_gtt("two-leg", "INFY", "NSE", [1400, 1600], 1500, [order, order])["trigger_id"]
    assert [each["status"] for each in kite.get_gtts()] == ["active", "active"]
    kite.delete_gtt(other)
    moved(stub, "1479")
    told = kite.get_gtt(made)
    assert told["status"] == "triggered"
    assert told["orders"][0]["result"]["order_result"]["order_id"] == kite.orders()[0]["order_id"]
    assert json.loads(json.dumps(kite.get_gtt(other)))["status"] == "deleted"


def test_tokens_are_used_again(stub: ServerThread) -> None:
    """Twelve weeks later an expired contract's token names another one, and stocks keep theirs."""
    before = stub.do(lambda exchange: exchange.market.listing.rows)
    stub.do(lambda exchange: exchange.list_day(date(2026, 12, 15)))
    after = stub.do(lambda exchange: exchange.market.listing.by_token)
    assert all(after[row.instrument_token].key == row.key for row in before if row.exchange == "NSE")
