"""What a person should know of Zerodha's books though nothing differs: REAL_MONEY rules 17 and 21."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.portfolio.brokers.zerodha_rows import RowReader
from alphapanda.portfolio.core.discrepancy import Unit
from alphapanda.portfolio.core.notices import notices
from alphapanda.portfolio.core.reconciled_books import Held, OurBooks

DAY = date(2024, 1, 2)
DIRECTORY = InstrumentDirectory(
    [
        Instrument(
            "NSE:INFY", 408065, "NSE", "INFY", "INFOSYS", "NSE", "EQ", Decimal("0.05"), 1, 1000, "NSE_EQ"
        )
    ]
)
INFY = {"exchange": "NSE", "tradingsymbol": "INFY", "isin": "INE009A01021", "average_price": 1500}
CNC = Unit("NSE:INFY", Product.CNC)


def told(held: int = 0, orders: Any = (), holdings: Any = (), gtts: Any = ()) -> list[str]:
    books = RowReader("zerodha", "default", DIRECTORY, DAY).books(orders, (), {}, holdings, {}, gtts)
    return notices(OurBooks(held={CNC: Held(held, Decimal(0))}), books)


def test_rule_21_a_gtt_is_named_with_side_quantity_and_trigger_and_is_no_difference() -> None:
    """Each leg, as long as it may trigger."""
    gtt = {
        "id": 112127,
        "status": "active",
        "condition": {"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": [1400, 1700]},
        "orders": [
            {"transaction_type": "SELL", "quantity": 10, "product": "CNC"},
            {"transaction_type": "SELL", "quantity": 7, "product": "CNC"},
        ],
    }
    assert told(gtts=[gtt, gtt | {"status": "cancelled"}]) == [
        "GTT 112127 waits at the broker: SELL 10 NSE:INFY CNC, trigger 1400: it may trade by itself, and is never touched",
        "GTT 112127 waits at the broker: SELL 7 NSE:INFY CNC, trigger 1700: it may trade by itself, and is never touched",
    ]


def test_rule_21_an_order_made_elsewhere_that_works_is_named() -> None:
    """What has ended isn't, whoever made it."""
    order = INFY | {
        "order_id": "B1",
        "status": "TRIGGER PENDING",
        "transaction_type": "SELL",
        "quantity": 10,
        "filled_quantity": 4,
        "product": "CNC",
        "order_type": "SL",
        "price": 1390,
        "trigger_price": 1400,
    }
    [line] = told(orders=[order, order | {"order_id": "B2", "status": "CANCELLED"}])
    assert line.startswith("order B1, made elsewhere, works: SELL 6 NSE:INFY CNC SL, at 1390, trigger 1400;")


def test_rule_17_shares_that_need_an_authorisation_before_the_open_are_listed() -> None:
    """Of what strategies hold, as far as it isn't authorised; a person's own shares are nobody's business here."""
    row = INFY | {"quantity": 50, "t1_quantity": 0, "authorised_quantity": 4, "opening_quantity": 50}
    [line] = told(10, holdings=[row])
    assert line.startswith("NSE:INFY: 6 of 10 shares aren't authorised for sale today")
    assert "TPIN" in line
    assert told(0, holdings=[row]) == []
    assert told(10, holdings=[row | {"authorised_quantity": 10}]) == []


def test_rule_17_shares_that_are_not_delivered_yet_carry_a_warning() -> None:
    """Sold before they are delivered, they may go to auction."""
    row = INFY | {"quantity": 0, "t1_quantity": 10, "authorised_quantity": 0, "opening_quantity": 10}
    [line] = told(10, holdings=[row])
    assert line.startswith("NSE:INFY: 10 shares aren't delivered yet (T1)")
