"""Broken rules of the contract, as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from alphapanda.contract.validation import LONGEST_TEXT, MOST_ITEMS, bounds_broken, violations
from alphapanda.domain.errors import LONGEST_VALUE
from panda.auth.v1 import auth_pb2
from panda.instruments.v1 import instruments_pb2
from panda.marketdata.v1 import marketdata_pb2
from panda.portfolio.v1 import portfolio_pb2
from panda.strategy.v1 import strategy_pb2
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


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            portfolio_pb2.GetPortfolioRequest(account="a\0b"),
            "account: 'a\\x00b' is not allowed; at most 1000",
        ),
        (portfolio_pb2.GetPortfolioRequest(account="a" * 1001), "account: 'aaaaaaa"),
        (
            marketdata_pb2.GetQuotesRequest(symbols=["NSE:INFY"] * 1001),
            "symbols: 1001 items are not allowed; at most 1000",
        ),
        (marketdata_pb2.GetQuotesRequest(symbols=["NSE:INFY", "NSE:\0"]), "symbols[1]: 'NSE:\\x00' is not"),
        (
            strategy_pb2.CreateStrategyRequest(parameters={"fast": "\0"}),
            "parameters['fast']: '\\x00' is not allowed",
        ),
        (
            strategy_pb2.UpdateStrategyRequest(update_mask={"paths": ["quantity"] * 1001}),
            "update_mask.paths: 1001 items",
        ),
        (
            portfolio_pb2.GetEquityCurveRequest(start_time=Timestamp(seconds=2**62)),
            "start_time: 4611686018427387904 is not allowed; a time from 1970 to 9998",
        ),
        (portfolio_pb2.GetEquityCurveRequest(end_time=Timestamp(seconds=-1)), "end_time: -1 is not allowed"),
        (
            trading_pb2.WatchOrdersRequest(after_revision=2**63),
            "after_revision: 9223372036854775808 is not allowed; at most 9223372036854775807",
        ),
    ],
)
def test_what_no_store_can_keep_is_told(request_, says) -> None:
    """NUL, endless text, endless lists, times that aren't datetimes and numbers beyond 63 bits: told by field and value."""
    (found,) = bounds_broken(request_)
    assert f"{found.field}: {found.message}".startswith(says)


def test_what_is_just_within_bounds_is_taken() -> None:
    """The longest text, the longest list, the last moment."""
    assert not bounds_broken(
        strategy_pb2.CreateStrategyRequest(
            strategy_id="é" * LONGEST_TEXT, symbols=["NSE:INFY"] * MOST_ITEMS, parameters={"fast": "3"}
        )
    )
    last = Timestamp()
    last.FromDatetime(datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert not bounds_broken(portfolio_pb2.GetEquityCurveRequest(end_time=last))


@pytest.mark.parametrize("secret", ["short-one", "p" * 201, "p" * 1001, "with \0 inside it"])
def test_a_secret_is_not_shown_where_it_is_refused(secret: str) -> None:
    """A password that breaks a rule is named by its field and its rule, never by itself."""
    request = auth_pb2.CreateUserRequest(request_id="r", user_name="asha", password=secret)
    found = bounds_broken(request) or violations(request)
    assert [one.field for one in found] == ["password"]
    assert secret[:4] not in found[0].message
