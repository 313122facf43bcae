"""Orders, by the unmodified kiteconnect."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from kiteconnect import KiteConnect, exceptions
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.server import ServerThread

INFY = 408065


@pytest.fixture(autouse=True)
def _at_1500(stub: ServerThread) -> None:
    stub.do(lambda exchange: exchange.market.opens([(INFY, 150_000)]))


def price(rupees: str) -> Callable[[Exchange], None]:
    """A trade in INFY at a price."""
    return lambda exchange: exchange.market.set_price(INFY, Decimal(rupees), exchange.clock.ns())


def place(kite: KiteConnect, side: str = "BUY", quantity: int = 10, **more: Any) -> str:
    """Places an order in INFY; without more, a limit at 1500."""
    form: dict[str, Any] = {"order_type": "LIMIT", "price": 1500, "product": "MIS", "exchange": "NSE", **more}
    order_id: str = kite.place_order(
        variety=form.pop("variety", "regular"), tradingsymbol=form.pop("tradingsymbol", "INFY"),
        transaction_type=side, quantity=quantity, **form,
    )  # fmt: skip
    return order_id


def statuses(kite: KiteConnect, order_id: str) -> list[str]:
    return [row["status"] for row in kite.order_history(order_id)]


def last(kite: KiteConnect, order_id: str) -> dict[str, Any]:
    row: dict[str, Any] = kite.order_history(order_id)[-1]
    return row


def test_an_order_goes_through_its_statuses(kite: KiteConnect) -> None:
    """A marketable limit order is complete at the last price, with its trade and its tag."""
    order_id = place(kite, price=1510, tag="panda1")
    assert statuses(kite, order_id) == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "COMPLETE",
    ]  # fmt: skip
    (row,) = kite.orders()
    assert (len(row["order_id"]), row["tag"], row["average_price"], row["filled_quantity"]) == (
        19, "panda1", 1500, 10,
    )  # fmt: skip
    (trade,) = kite.trades()
    assert kite.order_trades(order_id)[0]["trade_id"] == trade["trade_id"]
    assert (trade["quantity"], trade["average_price"]) == (10, 1500)


def test_a_market_order_needs_protection_and_comes_back_as_a_limit(
    stub: ServerThread, kite: KiteConnect
) -> None:
    """Without protection it is refused in Kite's words; with it, it is a LIMIT with tags, and may rest unfilled."""
    with pytest.raises(
        exceptions.InputException, match="without market protection are not allowed"
    ) as refused:
        place(kite, order_type="MARKET", price=0)
    assert refused.value.code == 400
    row = last(kite, place(kite, order_type="MARKET", price=0, market_protection=2, tag="t"))
    assert (row["order_type"], row["market_protection"], row["price"]) == ("LIMIT", 0, 1530)
    assert row["tags"] == ["t", "mktp", "mktp:2.00"]
    stub.do(lambda exchange: setattr(exchange.market.quote(INFY), "liquidity", 4))
    resting = last(kite, place(kite, order_type="MARKET", price=0, market_protection=-1))
    assert (resting["status"], resting["filled_quantity"], resting["pending_quantity"]) == ("OPEN", 4, 6)


def test_a_resting_order_trades_when_its_price_comes(stub: ServerThread, kite: KiteConnect) -> None:
    """It trades at its own price; a stop waits for its trigger first."""
    resting = place(kite, price=1490)
    stop = place(kite, "SELL", order_type="SL", price=1478, trigger_price=1480)
    assert (last(kite, resting)["status"], last(kite, stop)["status"]) == ("OPEN", "TRIGGER PENDING")
    stub.do(price("1485"))
    assert (last(kite, resting)["status"], last(kite, resting)["average_price"]) == ("COMPLETE", 1490)
    stub.do(price("1479.50"))
    assert statuses(kite, stop)[-3:] == ["TRIGGER PENDING", "OPEN", "COMPLETE"]
    assert last(kite, stop)["average_price"] == 1479.5


def test_a_stop_can_vanish_when_it_is_needed(stub: ServerThread, kite: KiteConnect) -> None:
    """A stop outside the exchange's price range is cancelled when it triggers, with that text."""
    stub.do(lambda exchange: exchange.script.add([Fault("stop_lost")]))
    kite.profile()  # a fault that is for orders lets other requests pass
    stub.do(lambda exchange: exchange.script.add([Fault("stop_lost", "POST", "/orders/*")]))
    stop = place(kite, "SELL", order_type="SL", price=1478, trigger_price=1480)
    stub.do(price("1479"))
    row = last(kite, stop)
    assert row["status"] == "CANCELLED"
    assert "limit price protection range" in row["status_message"]


def test_partial_fills_cancels_and_modifications(stub: ServerThread, kite: KiteConnect) -> None:
    """A cancelled order may be partly filled; a modification's quantity is the new total; the 26th is refused."""
    stub.do(lambda exchange: exchange.script.add([Fault("partial", "POST", "/orders/*", quantity=3)]))
    order_id = place(kite)
    stub.do(price("1500"))
    assert (last(kite, order_id)["status"], last(kite, order_id)["filled_quantity"]) == ("OPEN", 6)
    for number in range(25):
        kite.modify_order("regular", order_id, quantity=8, price=1490 - number)
    with pytest.raises(exceptions.InputException, match="Maximum allowed order modifications exceeded"):
        kite.modify_order("regular", order_id, price=1400)
    kite.cancel_order("regular", order_id)
    row = last(kite, order_id)
    assert (row["status"], row["filled_quantity"], row["cancelled_quantity"]) == ("CANCELLED", 6, 2)
    with pytest.raises(exceptions.OrderException):
        kite.cancel_order("regular", order_id)


def test_ioc_and_ttl_run_out(stub: ServerThread, kite: KiteConnect) -> None:
    """What of an IOC doesn't trade at once is cancelled; a TTL ends after its minutes."""
    assert last(kite, place(kite, price=1490, validity="IOC"))["status"] == "CANCELLED"
    order_id = place(kite, price=1490, validity="TTL", validity_ttl=2)
    stub.do(lambda exchange: (exchange.clock.advance(121), exchange.beat()))
    assert last(kite, order_id)["status"] == "CANCELLED"


def test_an_own_opposite_order_is_removed(kite: KiteConnect) -> None:
    """The exchange cancels the resting one of two orders of one owner that would trade with each other."""
    resting = place(kite, "SELL", price=1505)
    place(kite, price=1510)
    assert "your own order" in last(kite, resting)["status_message"]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"tag": "x" * 21}, "longer than 20"),
        ({"price": 1500.03}, "multiple of tick size"),
        ({"price": 2000}, "exceeds circuit limits"),
        ({"quantity": 100_001}, "higher than the maximum quantity of 100000"),
        ({"quantity": 0}, "greater than zero"),
        ({"product": "NRML"}, "Invalid product"),
        ({"tradingsymbol": "NOTHING"}, "expired or does not exist"),
        ({"order_type": "SL", "trigger_price": 1490, "price": 1495}, "should be higher than the last traded price"),
        ({"market_protection": True, "order_type": "MARKET"}, r"got: True \(expected decimal\)"),
        ({"exchange": "NFO", "tradingsymbol": "NIFTY26DECFUT", "product": "NRML", "quantity": 66}, "lot size 65"),
        ({"exchange": "NFO", "tradingsymbol": "NIFTY26DECFUT", "product": "NRML", "quantity": 1820}, r"\(28 lots\)"),
    ],
)  # fmt: skip
def test_the_brokers_checks_keep_an_order_out_of_the_book(
    kite: KiteConnect, form: dict[str, Any], text: str
) -> None:
    """What the broker's own checks refuse is a 400 and never shows in the book."""
    with pytest.raises(exceptions.InputException, match=text) as refused:
        place(kite, **form)
    assert refused.value.code == 400
    assert kite.orders() == []


def test_above_the_freeze_quantity_an_order_is_sliced(stub: ServerThread, kite: KiteConnect) -> None:
    """A sliced order answers with its children, each with a tag that names the first; a small one is refused."""
    nifty = stub.do(lambda exchange: exchange.market.by_key("NFO:NIFTY26DECFUT").rupees)
    form = {
        "exchange": "NFO", "tradingsymbol": "NIFTY26DECFUT", "product": "NRML", "transaction_type": "BUY",
        "order_type": "LIMIT", "price": float(nifty),
    }  # fmt: skip
    stub.do(lambda exchange: setattr(exchange.desk.account(APP.user_id), "opening", Decimal(10**9)))
    answer = kite.place_autoslice_order("regular", quantity=1755 + 65, **form)
    (child,) = answer["children"]
    assert last(kite, child["order_id"])["tags"] == ["autoslice", f"autoslice:{answer['order_id']}"]
    assert [row["quantity"] for row in kite.orders()] == [1755, 65]
    with pytest.raises(exceptions.InputException, match="for order slicing"):
        kite.place_autoslice_order("regular", quantity=65, **form)


def test_an_iceberg_shows_a_leg_at_a_time(kite: KiteConnect) -> None:
    """The next leg comes when the one before is complete, under the first one's id."""
    order_id = place(kite, variety="iceberg", iceberg_legs=3, iceberg_quantity=4, quantity=10)
    rows = kite.orders()
    assert [row["quantity"] for row in rows] == [4, 4, 2]
    assert {row["parent_order_id"] for row in rows[1:]} == {order_id}


def test_funds_and_holdings_are_required(stub: ServerThread, kite: KiteConnect) -> None:
    """Too dear an order is a MarginException, a sale of what isn't held or authorised a HoldingException (400, 428)."""
    with pytest.raises(
        exceptions.GeneralException, match=r"Required margin is 1500000\.00 but available"
    ) as refused:
        place(kite, product="CNC", quantity=1000)
    assert refused.value.code == 400
    with pytest.raises(exceptions.GeneralException, match="Insufficient holdings"):
        place(kite, "SELL", product="CNC")
    told = {"account": APP.user_id, "instrument": "NSE:INFY", "quantity": 20, "unauthorised": True}
    stub.do(lambda exchange: _hold(exchange, told))
    with pytest.raises(
        exceptions.GeneralException, match="10 quantity needs authorisation at depository"
    ) as refused:
        place(kite, "SELL", product="CNC")
    assert refused.value.code == 428


def _hold(exchange: Exchange, told: dict[str, Any]) -> None:
    from tests.kite_exchange.control_routes import holdings

    holdings(exchange, told)


def test_faults_befall_orders(stub: ServerThread, kite: KiteConnect) -> None:
    """One that is stuck waits, one that is hidden shows later, one can be rejected with a text."""
    stub.do(
        lambda exchange: exchange.script.add(
            [
                Fault("stuck", "POST", "/orders/*", seconds=90),
                Fault("hidden", "POST", "/orders/*", seconds=8),
                Fault("rejected", "POST", "/orders/*", message="RMS: blocked"),
            ]
        )
    )
    stuck, hidden, rejected = place(kite), place(kite), place(kite)
    assert [row["order_id"] for row in kite.orders()] == [stuck, rejected]
    assert last(kite, stuck)["status"] == "PUT ORDER REQ RECEIVED"
    assert (last(kite, rejected)["status"], last(kite, rejected)["status_message"]) == (
        "REJECTED",
        "RMS: blocked",
    )
    stub.do(lambda exchange: (exchange.clock.advance(91), exchange.beat()))
    assert [row["status"] for row in kite.orders()] == ["COMPLETE", "COMPLETE", "REJECTED"]
    assert last(kite, hidden)["filled_quantity"] == 10


def test_the_address_must_be_on_the_list(stub: ServerThread, kite: KiteConnect) -> None:
    """Orders from another address are refused in Kite's words, everything else is answered."""
    from tests.kite_exchange.control_routes import allowed_ips

    stub.do(lambda exchange: allowed_ips(exchange, {"api_key": APP.api_key, "allowed": ["1.2.3.4"]}))
    with pytest.raises(
        exceptions.PermissionException, match=r"IP \(127.0.0.1\) is not allowed to place orders"
    ):
        place(kite)
    stub.do(lambda exchange: allowed_ips(exchange, {"api_key": APP.api_key, "allowed": []}))
    with pytest.raises(exceptions.PermissionException, match="No IPs configured for this app"):
        place(kite)
    assert kite.orders() == []
