"""The book against an oracle that shares no line with it: plain fractions, one rule a sentence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Adjustment, AdjustmentKind, Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.portfolio.core.adjusting import Adjusted
from alphapanda.portfolio.core.book import Booking, PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount, balance
from alphapanda.portfolio.core.positions import Position

START = Decimal(1_000_000)
NOW = datetime(2024, 1, 2, 4, 0, tzinfo=UTC)
ACCOUNTS = LedgerAccount


def filled(n: int, strategy: str, instrument: int, units: int, paise: int, commission: int) -> Filled:
    side = Side.of(units)
    key = PositionKey("paper", "default", strategy, f"NSE:I{instrument}", Product.MIS)
    return Filled(
        OrderState(
            order_id=str(UUID(int=10_000 + n)),
            signal_id=str(UUID(int=20_000 + n)),
            key=key,
            instrument_token=instrument,
            side=side,
            quantity=abs(units),
            terms=AT_MARKET,
            effect=PositionEffect.OPENS,
            status=OrderStatus.FILLED,
            revision=2,
            filled=abs(units),
            leaves=0,
            average_price=Decimal(paise) / 100,
            market_time=NOW,
        ),
        Fill(
            str(UUID(int=n)),
            f"T{n}",
            abs(units),
            Decimal(paise).scaleb(-2),
            Decimal(commission).scaleb(-2),
            NOW,
        ),
    )


Key = tuple[str, int, Product]


@dataclass
class Held:
    quantity: int = 0
    cost: Fraction = Fraction(0)
    realised: Fraction = Fraction(0)
    charges: Fraction = Fraction(0)


@dataclass
class Oracle:
    """One unit at a time where that is the same, else by the rule's words; only fractions."""

    cash: Fraction = Fraction(1_000_000)
    seen: set[int] = field(default_factory=set)
    held: dict[Key, Held] = field(default_factory=dict)

    def fill(self, n: int, strategy: str, instrument: int, units: int, paise: int, commission: int) -> None:
        if n in self.seen:
            return
        self.seen.add(n)
        price, fee = Fraction(paise, 100), Fraction(commission, 100)
        position = self.held.setdefault((strategy, instrument, Product.MIS), Held())
        self.cash -= units * price + fee
        position.charges += fee
        sign = 1 if position.quantity > 0 else -1
        closing = min(abs(units), abs(position.quantity)) if units * position.quantity < 0 else 0
        if closing:
            share = abs(position.cost) * closing / abs(position.quantity)
            in_paise = Fraction(floor(share * 100 + Fraction(1, 2)), 100)
            gone = position.cost if closing == abs(position.quantity) else sign * in_paise
            position.realised += sign * closing * price - gone
            position.cost -= gone
            position.quantity -= sign * closing
        opened = units + sign * closing if closing else units
        position.cost += opened * price
        position.quantity += opened

    def move(self, n: int, source: Key, target: Key, units: int) -> bool:
        """Units go with their share of the cost, and close what the target holds against them at that cost."""
        held = self.held.get(source, Held())
        if n in self.seen or units * held.quantity <= 0 or abs(units) > abs(held.quantity):
            return False
        self.seen.add(n)
        cost = share(held.cost, units, held.quantity)
        held.cost, held.quantity = held.cost - cost, held.quantity - units
        other = self.held.setdefault(target, Held())
        closing = min(abs(units), abs(other.quantity)) if units * other.quantity < 0 else 0
        if closing:
            paid, gone = share(cost, closing, units), share(other.cost, closing, other.quantity)
            other.realised += -paid - gone
            other.cost, cost = other.cost - gone, cost - paid
        other.cost += cost
        other.quantity += units
        return True

    def rescale(self, n: int, key: Key, delta: int) -> bool:
        """Another number of units, and nothing else."""
        held = self.held.get(key, Held())
        if n in self.seen or (held.quantity + delta) * held.quantity <= 0:
            return False
        self.seen.add(n)
        held.quantity += delta
        return True


def share(cost: Fraction, units: int, of: int) -> Fraction:
    """The share of a cost in whole paise, halves away from zero; of all of it all of it."""
    if abs(units) == abs(of):
        return cost
    paise = floor(abs(cost) * abs(units) / abs(of) * 100 + Fraction(1, 2))
    return Fraction(paise, 100) * (1 if cost > 0 else -1)


def adjustment(n: int, kind: AdjustmentKind, source: Key, units: int, target: Key | None = None) -> Filled:
    """The event of an adjustment: `units` is the signed change of the source's position."""
    made = filled(n, source[0], source[1], units, 100, 0)
    key = structs.replace(made.order.key, product=source[2])
    other = structs.replace(key, strategy_id=target[0], product=target[2]) if target else None
    told = structs.replace(made.fill, adjustment=Adjustment(kind, books=True, other=other))
    return Filled(structs.replace(made.order, key=key), told)


# Who fills what is one draw, and so is how much: drawing takes longer than booking.
KEYS = [
    (n, strategy, instrument) for n in range(1, 31) for strategy in ("ema", "manual") for instrument in (1, 2)
]
UNITS = [sign * units for units in range(1, 41) for sign in (1, -1)] + [100_000, -100_000, 7, -7] * 20
FILLS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(UNITS),
        st.integers(1, 1_000) | st.integers(1, 5_000_000),
        st.integers(0, 50_000),
    ).map(lambda drawn: (*drawn[0], *drawn[1:])),
    max_size=25,
)


Line = tuple[int, str, int, int, int, int]
Change = tuple[int, AdjustmentKind, Key, int, Key | None]


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILLS)
def test_the_book_agrees_with_the_oracle_to_the_paisa(fills: list[Line]) -> None:
    """Cash, cost, realised profit and charges are the oracle's after any fills, partials, flips and duplicates."""
    agree(fills)


def test_the_book_agrees_with_the_oracle_ten_thousand_times() -> None:
    """The same for ten thousand random sequences; one that fails is in the error's note.

    Conversions, allocations and corporate actions are among the fills (REAL_MONEY rule 8).
    """
    for _ in range(10_000):
        lines: list[Line | Change] = [
            change()
            if random.random() < 0.25
            else (
                *random.choice(KEYS),
                random.choice(UNITS),
                random.randint(1, random.choice((1_000, 5_000_000))),
                random.randint(0, 50_000),
            )
            for _ in range(random.randrange(26))
        ]
        try:
            agree(lines)
        except AssertionError as wrong:
            wrong.add_note(f"fills: {lines}")
            raise


def change() -> Change:
    """An adjustment by chance, of units that may be held or not."""
    n, strategy, instrument = random.choice(KEYS)
    kind, product = random.choice(list(AdjustmentKind)), random.choice((Product.MIS, Product.CNC))
    other: Key | None = None
    if kind is AdjustmentKind.CONVERSION:
        other = strategy, instrument, Product.CNC if product is Product.MIS else Product.MIS
    elif kind is AdjustmentKind.ALLOCATION:
        other = "manual" if strategy == "ema" else "ema", instrument, product
    return n, kind, (strategy, instrument, product), random.choice(UNITS), other


def agree(fills: Sequence[Line | Change]) -> None:
    """Books the fills, and compares the book and its ledger with the oracle's."""
    book, oracle = PortfolioBook("paper", "default", START), Oracle()
    ledger: dict[ACCOUNTS, Fraction] = dict.fromkeys(LedgerAccount, Fraction(0))
    transactions, revisions = [book.opening], 1
    for line in fills:
        booking: Booking | Adjusted | None
        if len(line) == 6:
            booking = book.apply(filled(*line))
            assert (booking is None) == (line[0] in oracle.seen)
            oracle.fill(*line)
        else:
            n, kind, source, units, target = line
            done = oracle.move(n, source, target, -units) if target else oracle.rescale(n, source, units)
            try:
                booking = book.adjust(adjustment(n, kind, source, units, target))
            except InvalidInput:
                booking = None
            assert (booking is not None) is done
        revisions += booking is not None
        if booking and booking.transaction.entries:
            transactions.append(booking.transaction)
    for transaction in transactions:
        assert balance(transaction.entries) == 0
        assert all(entry.amount for entry in transaction.entries)
        for entry in transaction.entries:
            ledger[entry.ledger_account] += Fraction(entry.amount)
    assert Fraction(book.cash) == oracle.cash == ledger[ACCOUNTS.CASH]
    assert {
        (key.strategy_id, int(key.instrument_id[5:]), key.product): Held(
            p.quantity, Fraction(p.cost), Fraction(p.realised), Fraction(p.charges)
        )
        for key, p in book.positions.items()
    } == oracle.held
    positions = book.positions.values()
    assert sum(Fraction(p.cost) for p in positions) == ledger[ACCOUNTS.POSITIONS]
    assert sum(Fraction(p.realised) for p in positions) == -ledger[ACCOUNTS.REALISED_PNL]
    assert sum(Fraction(p.charges) for p in positions) == ledger[ACCOUNTS.CHARGES]
    assert book.cash + sum(p.cost for p in positions) == START + sum(
        p.realised - p.charges for p in positions
    )
    assert book.entries == sum(len(transaction.entries) for transaction in transactions)
    assert book.revision == revisions


def book_of(*fills: tuple[int, int, int]) -> tuple[PortfolioBook, list[Booking]]:
    """A book after fills of (units, paise, commission) under one key."""
    book = PortfolioBook("paper", "default", START)
    bookings = [book.apply(filled(n, "ema", 1, *fill)) for n, fill in enumerate(fills, 1)]
    return book, [booking for booking in bookings if booking]


def entries(booking: Booking) -> list[tuple[str, Decimal]]:
    return [(entry.ledger_account.name, entry.amount) for entry in booking.transaction.entries]


def test_a_purchase_moves_cash_to_positions_and_charges() -> None:
    """An opening fill realises nothing: cash pays the turnover and the commission."""
    book, (booking,) = book_of((10, 10_050, 101))
    assert entries(booking) == [
        ("POSITIONS", Decimal("1005.00")),
        ("CASH", Decimal("-1005.00")),
        ("CHARGES", Decimal("1.01")),
        ("CASH", Decimal("-1.01")),
    ]
    assert booking.realised == 0
    assert book.cash == Decimal("998993.99")


def test_a_flip_closes_and_opens_in_one_transaction() -> None:
    """Selling 25 of 10 held closes the 10 at their cost and opens 15 short at the price."""
    book, (_, booking) = book_of((10, 10_000, 0), (-25, 10_100, 0))
    assert entries(booking) == [
        ("POSITIONS", Decimal("-1000.00")),
        ("POSITIONS", Decimal("-1515.00")),
        ("CASH", Decimal("2525.00")),
        ("REALISED_PNL", Decimal("-10.00")),
    ]
    assert (booking.position.quantity, booking.position.average_price) == (-15, Decimal("101.0000"))
    assert book.cash == Decimal("1001525.00")


def test_a_partial_close_loses_nothing_to_rounding() -> None:
    """A third of a cost that three doesn't divide leaves in paise; the last close takes what is left."""
    _, bookings = book_of((3, 3_334, 0), (-1, 3_334, 0), (-1, 3_334, 0), (-1, 3_334, 0))
    assert [booking.position.cost for booking in bookings] == [
        Decimal("100.02"),
        Decimal("66.68"),
        Decimal("33.34"),
        0,
    ]
    _, bookings = book_of((1, 10_000, 0), (2, 10_001, 0), (-1, 10_001, 0), (-2, 10_001, 0))
    assert [booking.realised for booking in bookings] == [0, 0, Decimal("0.00"), Decimal("0.01")]


def test_a_half_paisa_of_cost_is_removed_away_from_zero() -> None:
    """Half of 100.01 removed is 50.01, long and short alike."""
    for side in (1, -1):
        _, bookings = book_of((side, 5_000, 0), (side, 5_001, 0), (-side, 5_000, 0))
        assert bookings[-1].position.cost == side * Decimal("50.00")


def test_a_short_position_is_the_mirror_of_a_long_one() -> None:
    """Sold at 100 and bought back at 90 realises what bought at 90 and sold at 100 does."""
    short = book_of((-10, 10_000, 0), (10, 9_000, 0))[1][-1]
    long = book_of((10, 9_000, 0), (-10, 10_000, 0))[1][-1]
    assert short.realised == long.realised == 100
    assert short.position.average_price is None


def test_a_fill_is_booked_once() -> None:
    """The second delivery of a fill_id changes nothing and says so."""
    book, _ = book_of((10, 10_000, 5))
    before = (book.cash, dict(book.positions), book.revision, book.entries)
    assert book.apply(filled(1, "ema", 1, 10, 10_000, 5)) is None
    assert (book.cash, dict(book.positions), book.revision, book.entries) == before


@pytest.mark.parametrize(
    ("price", "commission", "field"),
    [
        ("0", "0", "fill.price"),
        ("-1", "0", "fill.price"),
        ("1.00001", "0", "fill.price"),
        ("1", "-0.01", "fill.commission"),
        ("1", "0.00001", "fill.commission"),
    ],
)
def test_an_amount_the_ledger_cannot_hold_is_refused(price: str, commission: str, field: str) -> None:
    """What NUMERIC(24,4) would round, or no trade has, is refused by name, and the position stays."""
    with pytest.raises(InvalidInput) as refused:
        Position(PositionKey("paper", "default", "ema", "NSE:I1", Product.MIS)).after(
            1, Decimal(price), Decimal(commission)
        )
    assert refused.value.field == field


def test_ids_follow_from_the_fill() -> None:
    """Booking the same fill in another book names the same transaction and the same lines."""
    one, other = book_of((10, 10_000, 5))[1][0], book_of((10, 10_000, 5))[1][0]
    assert one.transaction.transaction_id == other.transaction.transaction_id
    assert one.transaction.transaction_id == ids.output_id("portfolio", str(UUID(int=1)), "transaction", 0)
    names = [one.transaction.entry_id(n) for n in range(4)]
    assert names == [other.transaction.entry_id(n) for n in range(4)]
    assert len(set(names)) == 4


def test_sequences_have_no_gap() -> None:
    """The opening has lines 1 and 2; each booking goes on where the one before ended."""
    _, bookings = book_of((10, 10_000, 5), (-5, 10_000, 5), (-5, 10_010, 0))
    assert [(b.revision, b.first_sequence, len(b.transaction.entries)) for b in bookings] == [
        (2, 3, 4),
        (3, 7, 4),
        (4, 11, 3),
    ]


def test_strategies_add_up_to_the_account() -> None:
    """Profit by strategy sums to the account's, and equity is cash + market value."""
    book = PortfolioBook("paper", "default", START)
    for n, line in enumerate(
        [("ema", 1, 10, 10_000, 100), ("manual", 1, -4, 10_100, 50), ("ema", 2, -3, 50_000, 0)], 1
    ):
        book.apply(filled(n, *line))
    told = book.statement({"NSE:I1": Decimal("102.50"), "NSE:I2": Decimal("490.05")})
    assert [line.strategy_id for line in told.strategies] == ["ema", "manual"]
    assert [line.profit.unrealised for line in told.strategies] == [Decimal("54.85"), Decimal("-6.00")]
    assert told.profit.unrealised == Decimal("48.85")
    assert told.profit.charges == Decimal("1.50")
    assert told.profit.net == Decimal("47.35")
    assert told.equity == START + Decimal("47.35")


def test_a_missing_price_is_named_and_leaves_what_needs_it_unknown() -> None:
    """Without one price the account's value is unknown, a strategy that doesn't need it is whole."""
    book = PortfolioBook("paper", "default", START)
    book.apply(filled(1, "ema", 1, 10, 10_000, 0))
    book.apply(filled(2, "manual", 2, 10, 10_000, 0))
    told = book.statement({"NSE:I1": Decimal(101)})
    assert (told.equity, told.profit.unrealised, told.profit.net) == (None, None, None)
    assert told.profit.realised == 0
    assert told.without_price == ("NSE:I2",)
    assert [line.profit.unrealised for line in told.strategies] == [10, None]


def test_a_flat_position_needs_no_price() -> None:
    """What was closed keeps its realised profit and has no unrealised one."""
    book, _ = book_of((10, 10_000, 0), (-10, 10_010, 0))
    told = book.statement({})
    assert (told.without_price, told.profit.unrealised, told.profit.realised) == ((), 0, 1)
    assert told.equity == START + 1
