"""Values that an order makes by dozens are msgspec structs: like frozen dataclasses, made in a tenth of the time."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec import Struct
from tests.values import replace

import alphapanda.portfolio.core.book
import alphapanda.risk.core.decide
import alphapanda.trading.core.checks
from alphapanda.domain.market import LastPrice
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import RuleOutcome, RuleResult

NOON = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


def test_every_struct_is_immutable() -> None:
    """None of the values of the cores can be changed once it is made."""
    assert alphapanda.portfolio.core.book
    assert alphapanda.risk.core.decide
    assert alphapanda.trading.core.checks
    ours = [one for one in Struct.__subclasses__() if one.__module__.startswith("alphapanda.")]
    assert len(ours) > 10
    assert [one.__qualname__ for one in ours if not one.__struct_config__.frozen] == []


def test_a_struct_is_compared_and_hashed_by_its_fields() -> None:
    """Equal fields make equal values with equal hashes; a field that is set is an error."""
    price = LastPrice(Decimal(100), NOON)
    assert price == LastPrice(Decimal("100.00"), NOON) != LastPrice(Decimal(101), NOON)
    assert hash(price) == hash(LastPrice(Decimal("100.00"), NOON))
    with pytest.raises(AttributeError, match="immutable"):
        price.price = Decimal(1)


def test_a_position_key_is_hashed_as_it_is_compared() -> None:
    """Equal keys made apart are one dictionary entry; a key that differs in any part is another."""
    key = PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS)
    twin = PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS)
    assert key == twin
    assert {key: 1}[twin] == 1
    for part, value in (("broker", "x"), ("account", "x"), ("strategy_id", "x"), ("product", Product.CNC)):
        other = replace(key, **{part: value})
        assert other != key
        assert {key: 1}.get(other) is None


def test_a_rules_result_is_compared_by_what_it_says() -> None:
    """A text and a function that makes the same one are equal, by == and !=; another text isn't."""
    result = RuleResult("price", RuleOutcome.PASSED, "<= 5 s old", lambda: "1 s old")
    assert result == RuleResult("price", RuleOutcome.PASSED, "<= 5 s old", "1 s old")
    assert not result != RuleResult("price", RuleOutcome.PASSED, "<= 5 s old", "1 s old")  # noqa: SIM202 - the operator itself
    assert result != RuleResult("price", RuleOutcome.PASSED, "<= 5 s old", "2 s old")
    assert hash(result) == hash(RuleResult("price", RuleOutcome.PASSED, "<= 5 s old", "1 s old"))
