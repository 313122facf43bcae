"""Which positions change when a conversion, a corporate action or an allocation is booked (REAL_MONEY rules 8 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import Product
from alphapanda.domain.order_events import AdjustmentKind
from alphapanda.domain.signal import FOREIGN, PositionKey
from alphapanda.portfolio.core.adjustment_plan import NotBookable, Plan, opposed, plan
from alphapanda.portfolio.core.comparison import compare
from alphapanda.portfolio.core.discrepancy import Difference, Kind, Severity, Unit
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.reconciled_books import BrokerBooks, Held, OurBooks

INFY = "NSE:INFY"
DAY = date(2024, 1, 2)
NOW = datetime(2024, 1, 2, 6, tzinfo=UTC)
MIS, CNC, NRML = Product.MIS, Product.CNC, Product.NRML


def held(strategy: str, quantity: int, product: Product = MIS) -> Position:
    key = PositionKey("zerodha", "default", strategy, INFY, product)
    return Position(key, quantity, Decimal(quantity) * 100)


def difference(kind: Kind, *moves: tuple[Product, int]) -> Difference:
    return Difference(
        kind, Severity.CRITICAL, INFY, MIS, "", "", "", "", tuple((Unit(INFY, p), n) for p, n in moves)
    )


def planned(
    found: Difference,
    positions: Sequence[Position],
    ratio: tuple[int, int] = (0, 0),
    strategy: str = "",
    outside: int = 0,
) -> Plan:
    return plan(found, positions, {Unit(INFY, CNC): outside}, ratio, strategy)


def shown(made: Plan) -> list[tuple[str, str, int, str]]:
    return [
        (
            one.key.strategy_id,
            one.key.product.name,
            one.units,
            f"{one.to.strategy_id} {one.to.product.name}" if one.to else "",
        )
        for one in made.moves
    ]


def test_rule_8_a_conversion_takes_what_was_traded_elsewhere_first_then_the_largest_position() -> None:
    """Fourteen of twenty MIS units became CNC: the five of nobody's, then nine of the larger strategy's."""
    found = difference(Kind.PRODUCT_CONVERTED, (CNC, 14), (MIS, -14))
    positions = [held("small", 3), held("large", 12), held(FOREIGN, 5)]
    made = planned(found, positions)
    assert made.kind is AdjustmentKind.CONVERSION
    assert shown(made) == [("foreign", "MIS", -5, "foreign CNC"), ("large", "MIS", -9, "large CNC")]
    assert shown(
        planned(difference(Kind.PRODUCT_CONVERTED, (CNC, 3), (MIS, -3)), positions, strategy="small")
    ) == [("small", "MIS", -3, "small CNC")]


def test_rule_8_a_short_position_is_converted_as_it_is_held() -> None:
    """The side that shrinks gives: of a short one that is the one with the positive move."""
    found = difference(Kind.PRODUCT_CONVERTED, (MIS, 10), (NRML, -10))
    assert shown(planned(found, [held("ema", -10)])) == [("ema", "MIS", 10, "ema NRML")]


def test_rule_8_what_our_books_do_not_hold_is_not_converted_in_them() -> None:
    """More than is held, or nothing: a person is told, and nothing is planned."""
    found = difference(Kind.PRODUCT_CONVERTED, (CNC, 14), (MIS, -14))
    with pytest.raises(NotBookable, match="our books hold 9 of them"):
        planned(found, [held("ema", 9)])
    with pytest.raises(NotBookable, match="none of the units"):
        planned(found, [held("ema", 9, NRML)])


def test_a_split_changes_every_position_and_what_is_held_outside() -> None:
    """1 into 2: each strategy's units double at their cost, a person's own shares, too."""
    found = difference(Kind.CORPORATE_ACTION, (CNC, 18))
    positions = [held("ema", 10, CNC), held("rsi", 5, CNC), held("ema", 4, MIS)]
    made = planned(found, positions, (2, 1), outside=3)
    assert shown(made) == [("ema", "CNC", 10, ""), ("rsi", "CNC", 5, "")]
    assert made.moves[0].price == Decimal(50)
    assert made.outside == ((Unit(INFY, CNC), 3),)


def test_whole_units_that_a_bonus_leaves_go_to_the_largest_fractions() -> None:
    """1 for 2 on 3 and 2 and 2 units: ten in all, and none is lost."""
    made = planned(
        difference(Kind.CORPORATE_ACTION, (CNC, 3)),
        [held("a", 3, CNC), held("b", 2, CNC), held("c", 2, CNC)],
        (3, 2),
    )
    assert {one.key.strategy_id: one.units for one in made.moves} == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("ratio", "strategy", "words"),
    [
        ((0, 0), "", "new units for old ones"),
        ((3, 1), "", "one that makes 20 of 10 units"),
        ((2, 1), "ema", "none: a corporate action is of every position"),
    ],
)
def test_a_ratio_that_does_not_explain_the_brokers_units_is_refused(
    ratio: tuple[int, int], strategy: str, words: str
) -> None:
    """Missing, another one, or of one strategy alone."""
    with pytest.raises(InvalidInput, match=words):
        planned(difference(Kind.CORPORATE_ACTION, (CNC, 10)), [held("ema", 10, CNC)], ratio, strategy)


def test_a_consolidation_that_leaves_a_strategy_nothing_is_not_booked() -> None:
    """3 of 23 units, 10 into 1: what they cost has to stay somewhere."""
    with pytest.raises(NotBookable, match="rsi would keep none of its 3 units"):
        planned(
            difference(Kind.CORPORATE_ACTION, (CNC, -21)),
            [held("ema", 20, CNC), held("rsi", 3, CNC)],
            (1, 10),
        )


def test_what_has_no_event_of_its_own_is_not_booked() -> None:
    """Of a position that nothing explains, nothing can be booked."""
    with pytest.raises(InvalidInput, match="ACCEPTED or CORRECTED for a POSITION"):
        planned(difference(Kind.POSITION, (CNC, 10)), [held("ema", 10, CNC)])


def test_rule_9_a_strategy_against_what_was_traded_elsewhere_is_found_and_booked() -> None:
    """Sold by phone, then bought by a strategy: the account is flat and the strategy's exit could never be sent."""
    positions = [held("ema", 10), held("rsi", 4), held(FOREIGN, -12), held("short", -3)]
    against = opposed(positions)
    assert against == {Unit(INFY, MIS): (14, -12)}
    ours = OurBooks(held={Unit(INFY, MIS): Held(-1, Decimal(0))}, opposed=against)
    [found] = [one for one in compare(ours, BrokerBooks(day=DAY), NOW) if one.kind is Kind.OPPOSED]
    assert found.severity is Severity.WARNING
    assert (found.ours, found.theirs) == ("+14 held by strategies, -12 traded elsewhere", "+2")
    assert shown(planned(found, positions)) == [
        ("ema", "MIS", -10, "foreign MIS"),
        ("rsi", "MIS", -2, "foreign MIS"),
    ]
    assert shown(planned(found, positions, strategy="rsi")) == [("rsi", "MIS", -4, "foreign MIS")]
    with pytest.raises(NotBookable, match="short holds nothing"):
        planned(found, positions, strategy="short")
    with pytest.raises(NotBookable, match="any more"):
        planned(found, positions[:2])
