"""Terms and protection travel unchanged, and what older versions left out is read as they meant it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contract.wire import decimal, protection, protection_from, terms_from, validity
from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2, signals_pb2

PRICES = st.none() | st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=0, max_value=10**6
)


@given(
    terms=st.builds(Terms, st.sampled_from(OrderType), st.sampled_from(Validity), PRICES, PRICES),
    wanted=st.none() | st.builds(Protection, PRICES, PRICES, PRICES),
)
def test_terms_travel_unchanged(terms, wanted) -> None:
    """Whatever the terms and the protection, they come out as they went in; an empty protection is none."""
    message = signals_pb2.SignalValidated(
        order_type=common.OrderType.ValueType(terms.order_type),
        validity=validity(terms),
        limit_price=decimal(terms.limit_price),
        trigger_price=decimal(terms.trigger_price),
        protection=protection(wanted),
    )
    read = signals_pb2.SignalValidated.FromString(message.SerializeToString())
    assert terms_from(read) == terms
    assert protection_from(read) == (wanted if wanted != Protection() else None)


@pytest.mark.parametrize("message", [signals_pb2.TradingSignal(), orders_pb2.OrderState(order_type=1)])
def test_an_older_message_is_at_market_for_the_day(message) -> None:
    """A message without terms means what all orders were before there were any."""
    assert terms_from(message) is AT_MARKET
