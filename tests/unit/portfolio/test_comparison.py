"""A broker's books beside ours: what differs is found and said once, what trades explain differs no more, and equal books have no difference.

The broker is the account of the stub exchange, whose arithmetic shares no line with the platform; its rows are read as Zerodha's are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kite_exchange.account import Account, Holding
from tests.kite_exchange.listed import Listed, Listing
from tests.kite_exchange.market import Market

from alphapanda.domain import ids
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product, Side
from alphapanda.portfolio.brokers.zerodha_rows import RowReader
from alphapanda.portfolio.core.comparison import compare
from alphapanda.portfolio.core.corporate_actions import corporate_action
from alphapanda.portfolio.core.discrepancy import Difference, Kind, Severity, Unit
from alphapanda.portfolio.core.reconciled_books import BrokerBooks, Held, OurBooks, OurFill, OurOrder

DAY = date(2026, 12, 1)
MARKET = Market(Listing(DAY, 2_000))
NSE, BSE = ("NSE:INFY", "BSE:INFY")
FUTURE = next(
    row.key for row in MARKET.listing.rows if row.instrument_type == "FUT" and row.exchange == "NFO"
)
LISTED = {
    NSE: MARKET.listing.by_key[NSE],
    BSE: MARKET.listing.by_key[NSE]._replace(exchange="BSE"),
    "NSE:TCS": MARKET.listing.by_key["NSE:TCS"],
    FUTURE: MARKET.listing.by_key[FUTURE],
}
PRODUCTS = {NSE: ("CNC", "MIS"), BSE: ("CNC",), "NSE:TCS": ("CNC", "MIS"), FUTURE: ("NRML",)}
DIRECTORY = InstrumentDirectory(
    Instrument(key, n + 1, *key.split(":"), "", "", "", Decimal("0.05"), 1, 0, "NSE_EQ")
    for n, key in enumerate(LISTED)
)


class World:
    """An account at the broker, and our books of it."""

    def __init__(self) -> None:
        self.account = Account("XY1234")
        self.day = DAY
        self.held: dict[Unit, Held] = {}
        self.fills: list[OurFill] = []
        self.orders: list[OurOrder] = []
        self.outside: dict[Unit, int] = {}
        self.isins: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.number = 0

    @property
    def now(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, 6, 0, tzinfo=UTC)

    def trade(
        self,
        key: str,
        product: str,
        units: int,
        price: int = 1500,
        *,
        tag: str | None = "",
        books: bool = True,
    ) -> str:
        """An order that fills at once at the broker; `tag` None: not ours. `books`: whether it is booked here, too."""
        self.number += 1
        tag = f"TAG{self.number}" if tag == "" else tag
        side = "BUY" if units > 0 else "SELL"
        order = SimpleNamespace(listed=LISTED[key], product=product, side=side)
        self.account.book(SimpleNamespace(order=order, quantity=abs(units), price=Decimal(price)))  # type: ignore[arg-type]
        exchange, symbol = key.split(":")
        row = {
            "order_id": f"B{self.number}",
            "exchange": exchange,
            "tradingsymbol": symbol,
            "product": product,
        }
        self.rows.append(
            row
            | {
                "tag": tag,
                "tags": [tag] if tag else None,
                "status": "COMPLETE",
                "filled_quantity": abs(units),
            }
        )
        at = datetime(self.day.year, self.day.month, self.day.day, 10, 0)  # noqa: DTZ001 - as kiteconnect gives it
        trade = {
            "trade_id": str(self.number),
            "transaction_type": side,
            "quantity": abs(units),
            "average_price": float(price),
        }
        self.trades.append(row | trade | {"fill_timestamp": at})
        if tag:
            self.orders.append(
                OurOrder(
                    f"O{self.number}", (tag,), (f"B{self.number}",), (), key, self.now - timedelta(hours=1)
                )
            )
        if tag and books:
            self.book(key, product, units, price, f"{exchange}:{self.number}")
        return f"B{self.number}"

    def book(self, key: str, product: str, units: int, price: int, trade_id: str) -> None:
        """Books a fill here."""
        unit = Unit(key, Product[product])
        before = self.held.get(unit, Held(0, Decimal(0)))
        self.held[unit] = Held(before.quantity + units, before.cost + units * price)
        fill_id = ids.fill_id("zerodha", "default", self.day.isoformat(), trade_id)
        self.fills.append(
            OurFill(fill_id, f"O{self.number}", key, unit.product, Side.of(units), abs(units), Decimal(price))
        )

    def heal(self) -> None:
        """What trading does with missed fills: each trade of an order of ours is booked once."""
        booked = {fill.fill_id for fill in self.fills}
        number = self.number
        for trade in self.trades:
            own = f"O{trade['order_id'][1:]}"
            name = f"{trade['exchange']}:{trade['trade_id']}"
            known = ids.fill_id("zerodha", "default", self.day.isoformat(), name) in booked
            if any(order.order_id == own for order in self.orders) and not known:
                self.number = int(own[1:])
                sign = 1 if trade["transaction_type"] == "BUY" else -1
                self.book(
                    f"{trade['exchange']}:{trade['tradingsymbol']}",
                    trade["product"],
                    sign * trade["quantity"],
                    int(trade["average_price"]),
                    name,
                )
        self.number = number

    def roll(self) -> None:
        """06:00 of the next day: the broker's day books are empty, and deliveries are holdings."""
        self.day += timedelta(days=1)
        self.account.roll(MARKET)
        for held in self.account.holdings.values():
            held.isin = f"INE{held.listed.tradingsymbol}"
        self.rows, self.trades, self.fills, self.orders = [], [], [], []

    @property
    def theirs(self) -> BrokerBooks:
        quote = MARKET.quote(LISTED[NSE].instrument_token)
        net = [one.row(quote, net=True) for one in self.account.positions.values()]  # type: ignore[arg-type]
        holdings = [one.row(quote) for one in self.account.holdings.values()]  # type: ignore[arg-type]
        reader = RowReader("zerodha", "default", DIRECTORY, self.day)
        return reader.books(self.rows, self.trades, {"net": net}, holdings, {})

    @property
    def ours(self) -> OurBooks:
        return OurBooks(self.held, self.fills, self.orders, self.outside, self.isins)

    def compared(self) -> list[Difference]:
        theirs = self.theirs
        self.isins |= {one.instrument_id: one.isin for one in theirs.units if one.isin}
        return compare(self.ours, theirs, self.now)

    def accept(self, differences: list[Difference]) -> None:
        """What a person's word does: what differs counts as held outside."""
        for one in differences:
            for unit, units in one.moves:
                self.outside[unit] = self.outside.get(unit, 0) + units


@pytest.fixture
def world() -> World:
    return World()


def kinds(found: list[Difference]) -> list[Kind]:
    return [one.kind for one in found]


trades = st.tuples(
    st.sampled_from([(key, product) for key, all_of in PRODUCTS.items() for product in all_of]),
    st.integers(-20, 20).filter(bool),
)
days = st.lists(st.lists(trades, max_size=6), min_size=1, max_size=4)


@given(days)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rule_17_whatever_is_traded_here_and_booked_gives_no_difference_on_any_day(
    traded: list[list[Any]],
) -> None:
    """Positions and holdings by ISIN: buys, sales, shares of both exchanges and futures agree within the day and after each 06:00."""
    world = World()
    for day in traded:
        for (key, product), wanted in day:
            held = world.held.get(Unit(key, Product.CNC), Held(0, Decimal(0))).quantity
            units = (
                max(wanted, -held) if product == "CNC" else wanted
            )  # nobody sells shares that aren't there
            if units:
                world.trade(key, product, units)
            assert world.compared() == []
        for unit, held in list(world.held.items()):
            if unit.product is Product.MIS and held.quantity:
                world.trade(unit.instrument_id, "MIS", -held.quantity)
        assert world.compared() == []
        world.roll()
        assert world.compared() == []


@given(st.lists(st.tuples(trades, st.sampled_from(["booked", "missed", "foreign"])), max_size=8))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rule_7_missed_fills_heal_by_their_trade_ids_and_the_rest_by_a_word(traded: list[Any]) -> None:
    """Whatever was missed or made elsewhere: looked up it is booked once, accepted it counts as outside, and then nothing differs."""
    world = World()
    for ((key, product), wanted), what in traded:
        units = abs(wanted) if product == "CNC" else wanted
        world.trade(key, product, units, tag=None if what == "foreign" else "", books=what == "booked")
    found = world.compared()
    assert {one.kind for one in found} <= {Kind.MISSED_FILL, Kind.FOREIGN_FILL}
    assert len([one for one in found if one.kind is Kind.FOREIGN_FILL]) == sum(
        what == "foreign" for _, what in traded
    )
    assert all(one.tags for one in found if one.kind is Kind.MISSED_FILL)
    world.heal()
    world.heal()
    found = world.compared()
    assert set(kinds(found)) <= {Kind.FOREIGN_FILL}
    # Adopted (booked here) or gone with the day, what is accepted stays agreed.
    world.accept(found)
    world.roll()
    assert [one for one in world.compared() if one.severity is Severity.CRITICAL] == []


def test_rule_17_a_delivery_sold_today_is_a_negative_position_and_no_difference(world: World) -> None:
    """What was bought yesterday and is sold today shows as holding and as negative position; what is left agrees, tomorrow, too."""
    world.trade(NSE, "CNC", 10)
    world.roll()
    assert world.theirs.units[0].isin
    world.trade(NSE, "CNC", -4)
    assert {one.quantity for one in world.theirs.units} == {10, -4}
    assert world.compared() == []
    world.roll()
    assert [one.quantity for one in world.theirs.units] == [6]
    assert world.compared() == []


def test_rule_17_shares_bought_at_one_exchange_and_sold_at_the_other_agree(world: World) -> None:
    """Holdings are of an ISIN, not of an exchange."""
    world.trade(NSE, "CNC", 10)
    world.roll()
    world.trade(BSE, "CNC", -10)
    assert world.compared() == []
    world.roll()
    assert world.compared() == []


def test_rule_17_pledged_shares_are_held_and_mtf_is_never_netted(world: World) -> None:
    """Collateral counts to what is held; MTF is shown, not counted."""
    listed = LISTED["NSE:TCS"]
    world.held[Unit("NSE:TCS", Product.CNC)] = Held(30, Decimal(3000))
    world.account.holdings["TCS"] = Holding(listed, "INETCS", 20, Decimal(100), collateral_quantity=10)
    assert world.compared() == []
    row = world.account.holdings["TCS"].row(MARKET.quote(listed.instrument_token))  # type: ignore[arg-type]
    reader = RowReader("zerodha", "default", DIRECTORY, DAY)
    position = {
        "exchange": "NSE",
        "tradingsymbol": "TCS",
        "product": "MTF",
        "quantity": 5,
        "average_price": 1,
    }
    books = reader.books([], [], {"net": [position]}, [row | {"mtf": {"quantity": 7}}], {})
    assert list(books.not_compared) == ["NSE:TCS MTF: 5 units", "NSE:TCS MTF: 7 shares"]
    assert [one.quantity for one in books.units] == [30]


def test_a_missed_fill_names_the_tag_to_look_up_and_hides_no_position(world: World) -> None:
    """The position differs by the missed fill alone, so only the fill is a difference."""
    world.trade(NSE, "MIS", 10, books=False)
    [found] = world.compared()
    assert (found.kind, found.tags, found.ours, found.theirs) == (
        Kind.MISSED_FILL,
        ("TAG1",),
        "0 filled",
        "10 filled",
    )


def test_a_fill_that_the_broker_does_not_have_is_critical(world: World) -> None:
    """Booked twice, or never traded: nobody guesses."""
    world.trade(NSE, "MIS", 10)
    world.book(NSE, "MIS", 10, 1500, "NSE:999")
    [found] = world.compared()
    assert (found.kind, found.severity) == (Kind.UNKNOWN_FILL, Severity.CRITICAL)


def test_provisional_fills_that_add_up_are_no_difference(world: World) -> None:
    """Deltas of a cumulative figure are booked under ids of their own; what counts is the order's sum, to the rounding of the average."""
    world.trade(NSE, "MIS", 10, books=False)
    world.book(NSE, "MIS", 4, 1500, "provisional-1")
    world.book(NSE, "MIS", 6, 1500, "provisional-2")
    assert world.compared() == []
    world.fills[-1] = replace(world.fills[-1], price=Decimal(1510))
    assert kinds(world.compared()) == [Kind.FILL_DIFFERS]


def test_a_trade_that_the_broker_shows_twice_counts_once(world: World) -> None:
    """Duplicate trade ids on a replay of its day book."""
    world.trade(NSE, "MIS", 10)
    world.trades.append(dict(world.trades[0]))
    assert world.compared() == []


def test_rule_9_a_foreign_fill_is_a_difference_until_it_is_adopted_or_accepted(world: World) -> None:
    """By phone: critical where we trade the instrument; adopted, it is booked; accepted, it counts as held outside, tomorrow, too."""
    world.trade(NSE, "CNC", 10)
    world.trade(NSE, "CNC", -4, tag=None)
    [found] = world.compared()
    assert (found.kind, found.severity, found.theirs) == (Kind.FOREIGN_FILL, Severity.CRITICAL, "-4")
    adopted = World()
    adopted.trade(NSE, "CNC", 10)
    adopted.trade(NSE, "CNC", -4, tag=None)
    adopted.book(NSE, "CNC", -3, 1500, "NSE:2")
    assert [one.theirs for one in adopted.compared()] == ["-1"]
    adopted.book(NSE, "CNC", -1, 1500, "NSE:2/1")  # the part of another strategy
    assert adopted.compared() == []
    adopted.roll()
    assert adopted.compared() == []
    world.roll()
    world.accept([found])
    assert world.compared() == []


def test_rule_8_a_conversion_outside_is_one_difference_of_both_products(world: World) -> None:
    """MIS became CNC by the broker's app: one PRODUCT_CONVERTED, no two positions that differ."""
    world.trade(NSE, "MIS", 10)
    listed = LISTED[NSE]
    mis, cnc = world.account.position(listed, "MIS"), world.account.position(listed, "CNC")
    mis.buy_quantity, mis.buy_value = 0, Decimal(0)
    cnc.buy_quantity, cnc.buy_value = 10, Decimal(15000)
    [found] = world.compared()
    assert (found.kind, found.theirs, found.subject) == (Kind.PRODUCT_CONVERTED, "+10 CNC", "from MIS")
    world.accept([found])
    assert world.compared() == []


@pytest.mark.parametrize(
    ("before", "now", "cost", "words"),
    [
        (10, 50, 15000, "a split of 1 into 5"),
        (10, 20, 15000, "a split of 1 into 2 or a bonus of 1 for 1"),
        (15, 20, 15000, "a bonus of 1 for 3"),
        (11, 16, 15000, "a bonus of 1 for 2"),  # 16.5: the half is paid out
        (100, 10, 15000, "a consolidation of 10 into 1"),
        (10, 50, None, "though the broker's average price doesn't show it yet"),
        (10, 13, 19500, ""),
        (10, 9, 13500, ""),
        (10, 0, 0, ""),
        (1, 2, 3000, ""),
    ],
)
def test_a_split_or_bonus_is_known_by_its_ratio_and_a_cost_that_stays(
    before: int, now: int, cost: int | None, words: str
) -> None:
    """What nobody trades by chance is said; anything else is a position that differs."""
    found = corporate_action(
        before,
        now,
        Decimal(before * 1500 if cost != 15000 else 15000),
        None if cost is None else Decimal(cost),
    )
    assert (
        found.startswith(words)
        if words and "though" not in words
        else (words in found) is bool(words) or not found
    )


def test_a_split_of_a_held_share_halts_it_even_under_a_new_isin(world: World) -> None:
    """A split gives the shares a new ISIN: they are the same shares, five times as many."""
    world.trade(NSE, "CNC", 10)
    world.roll()
    assert world.compared() == []
    holding = world.account.holdings["INFY"]
    holding.isin, holding.t1_quantity, holding.average_price = "INE009A01039", 50, holding.average_price / 5
    [found] = world.compared()
    assert (found.kind, found.severity, found.instrument_id) == (
        Kind.CORPORATE_ACTION,
        Severity.CRITICAL,
        NSE,
    )
    assert "a split of 1 into 5 or a bonus of 4 for 1: the cost has stayed" in found.cause


def test_what_was_never_traded_here_is_held_outside_and_halts_nothing(world: World) -> None:
    """A person's own shares: known from the first comparison on, beside what strategies trade in the same share."""
    world.account.holdings["TCS"] = Holding(LISTED["NSE:TCS"], "INETCS", 100, Decimal(100))
    world.account.holdings["ODD"] = Holding(
        LISTED["NSE:TCS"]._replace(tradingsymbol="ODD"), "INEODD", 3, Decimal(1)
    )
    found = world.compared()
    assert [(one.kind, one.severity) for one in found] == [
        (Kind.HELD_OUTSIDE, Severity.INFO),
        (Kind.UNKNOWN_INSTRUMENT, Severity.INFO),
    ]
    world.accept(found)
    assert world.compared() == []
    world.trade("NSE:TCS", "CNC", 10)
    assert world.compared() == []
    world.roll()
    assert world.compared() == []


def test_a_position_whose_fills_are_older_than_the_brokers_book_agrees(world: World) -> None:
    """The fills of ten days ago are nowhere at the broker; the position is what counts."""
    for unit, listed in ((NSE, "CNC"), (FUTURE, "NRML")):
        world.trade(unit, listed, 25)
    for _ in range(10):
        world.roll()
    assert world.theirs.trades == []
    assert world.compared() == []


def test_a_venue_that_is_flat_converges(world: World) -> None:
    """Flat there and held here: one difference that is the same in each round, and none once it is accepted."""
    world.trade(FUTURE, "NRML", 25)
    world.roll()
    world.account.positions.clear()
    first, second = world.compared(), world.compared()
    assert first == second
    assert kinds(first) == [Kind.POSITION]
    assert "the broker is flat" in first[0].cause
    world.accept(first)
    assert world.compared() == []
    assert World().compared() == []


def order(tag: str, age: timedelta, world: World, *, open_: bool = True) -> OurOrder:
    return OurOrder("O1", (tag,), (), (tag,) if open_ else (), NSE, world.now - age)


def test_rule_2_an_order_is_missing_only_after_the_visibility_horizon(world: World) -> None:
    """Younger than 180 s it may yet show; older it is critical; of an earlier day its instrument stays blocked for a person."""
    world.orders = [order("T", timedelta(seconds=179), world)]
    assert world.compared() == []
    world.orders = [order("T", timedelta(seconds=180), world)]
    [found] = world.compared()
    assert (found.kind, found.severity, found.tags) == (Kind.ORDER_MISSING, Severity.CRITICAL, ("T",))
    world.orders = [order("T", timedelta(days=1), world)]
    [found] = world.compared()
    assert "that day's contract note" in found.cause


@pytest.mark.parametrize(
    ("status", "open_", "severity"),
    [
        ("OPEN", True, None),
        ("COMPLETE", False, None),
        ("CANCELLED AMO", False, None),
        ("WHATEVER IS NEW", True, None),
        ("REJECTED", True, Severity.WARNING),
        ("TRIGGER PENDING", False, Severity.CRITICAL),
    ],
)
def test_an_order_that_ended_at_one_side_only_differs(
    world: World,
    status: str,
    open_: bool,
    severity: Severity | None,
) -> None:
    """One that works on at the broker though we hold it ended is critical; a status that nobody knows hasn't ended."""
    world.orders = [order("T", timedelta(hours=1), world, open_=open_)]
    world.rows = [
        {
            "order_id": "B1",
            "exchange": "NSE",
            "tradingsymbol": "INFY",
            "tag": "T",
            "tags": None,
            "status": status,
            "filled_quantity": 0,
        }
    ]
    found = world.compared()
    assert [(one.kind, one.severity) for one in found] == (
        [(Kind.ORDER_DIFFERS, severity)] if severity else []
    )


def test_a_restart_with_fourteen_working_orders_finds_them_all(world: World) -> None:
    """Each of them is at the broker: nothing is missing, nothing is foreign."""
    for n in range(14):
        tag = f"W{n}"
        world.orders.append(OurOrder(f"O{n}", (tag,), (), (tag,), NSE, world.now - timedelta(hours=2)))
        world.rows.append(
            {"order_id": f"B{n}", "exchange": "NSE", "tradingsymbol": "INFY", "tag": tag, "status": "OPEN"}
        )
    assert world.compared() == []


def test_margins_and_other_books_are_said(world: World) -> None:
    """A margin that is lacking, what trading counts differently, and what others have found."""
    books = replace(
        RowReader("zerodha", "default", DIRECTORY, DAY).books(
            [], [], {}, [], {"equity": {"net": -5.5, "available": {"cash": 10}, "utilised": {"debits": 15.5}}}
        ),
        sentences=["order T: the broker has it"],
    )
    ours = OurBooks({Unit(NSE, Product.MIS): Held(3, Decimal(3))}, in_trading={Unit(NSE, Product.MIS): 4})
    found = compare(ours, replace(books, units=[*books.units]), world.now)
    assert next(one.sentence for one in found if one.kind is Kind.MARGIN).startswith(
        "margin: we have 0 or more"
    )
    said: Callable[[Kind], list[str]] = lambda kind: [one.sentence for one in found if one.kind is kind]  # noqa: E731
    assert "order T: the broker has it" in said(Kind.BOOKS)
    assert any("NSE:INFY MIS: portfolio holds 3, trading 4" in one for one in said(Kind.BOOKS))


def test_the_same_books_give_the_same_differences_in_the_same_order() -> None:
    """Most important first."""
    listed: Listed = LISTED[NSE]
    worlds = [World(), World()]
    for world in worlds:
        world.trade(NSE, "MIS", 1, books=False)
        world.trade("NSE:TCS", "CNC", 3, tag=None)
        world.account.holdings["INFY"] = Holding(listed, "X", 5, Decimal(1))
    first, second = (world.compared() for world in worlds)
    assert first == second
    assert [one.severity for one in first] == sorted((one.severity for one in first), reverse=True)
