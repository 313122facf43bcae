"""Broken rules of the contract, as people and programs read them."""

from __future__ import annotations

from alphapanda.validation import LONGEST_VALUE, violations
from panda.instruments.v1 import instruments_pb2
from panda.trading.v1 import trading_pb2


def test_a_valid_message_breaks_nothing() -> None:
    """Nothing is said of a message that keeps the rules."""
    assert violations(instruments_pb2.ListInstrumentsRequest(page_size=10)) == []


def test_a_broken_rule_names_field_value_and_what_is_allowed() -> None:
    """One line says what came and what would have been taken."""
    (found,) = violations(instruments_pb2.ListInstrumentsRequest(page_size=5000))
    assert (found.field, found.message) == (
        "page_size",
        "5000 is not allowed; must be less than or equal to 1000",
    )


def test_an_item_is_named_by_its_place() -> None:
    """The path of an item says which one it is."""
    (found,) = violations(trading_pb2.ListOrdersRequest(statuses=[1, 99]))
    assert found.field == "statuses[1]"


def test_a_missing_choice_is_named() -> None:
    """A required oneof without a member is told by the oneof's name."""
    (found,) = violations(instruments_pb2.GetInstrumentRequest())
    assert (found.field, found.message) == ("by", "exactly one field is required in oneof")


def test_a_long_value_is_cut() -> None:
    """A huge value doesn't make a huge error."""
    (found,) = violations(instruments_pb2.GetInstrumentRequest(symbol="x" * 10_000))
    assert len(found.message) < LONGEST_VALUE + 100
