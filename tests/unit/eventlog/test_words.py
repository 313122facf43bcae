"""Words of enumerations that a newer writer has and this reader has not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alphapanda.contract.order_wire import order_event, order_update_from
from alphapanda.contract.validation import violations
from alphapanda.contract.wire import approved_from, verdict_event
from alphapanda.domain import ids
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Failed, Fill, Filled, OrderState, OrderUpdate, Submitted
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved, RuleOutcome, RuleResult

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
KEY = PositionKey("paper", "default", "crossing", "NSE:INFY", Product.MIS)
SIGNAL_ID = ids.derived_id("signal")
ORDER = OrderState(
    ids.derived_id("order"), SIGNAL_ID, KEY, 1, Side.BUY, 10, AT_MARKET, PositionEffect.OPENS,
    OrderStatus.FAILED, 2, 0, 0, None, NOON,
)  # fmt: skip
FILL = Fill(ids.derived_id("fill"), "T1", 10, Decimal(100), Decimal(1), NOON)
CHAIN = {
    "event_id": ids.derived_id("event"),
    "correlation_id": ids.derived_id("chain"),
    "causation_id": SIGNAL_ID,
    "source": "trading",
    "occurred_at": NOON,
}


@pytest.mark.parametrize("unknown", [0, 77])
@pytest.mark.parametrize("told", [Submitted(ORDER), Filled(ORDER, FILL)])
def test_an_order_s_effect_may_be_any_word(told: OrderUpdate, unknown: int) -> None:
    """Nobody goes by it, so absent or unknown it keeps no fill from being booked, and is None."""
    event = order_event(told, **CHAIN)
    assert order_update_from(event).order.effect is PositionEffect.OPENS
    getattr(event, event.WhichOneof("payload")).order.position_effect = unknown
    assert violations(event) == []
    read = order_update_from(event)
    assert read.order.effect is None
    assert order_update_from(order_event(read, **CHAIN)) == read


def test_an_order_ends_for_any_reason() -> None:
    """An end whose reason is newer than its reader is an end; one without a reason was never published."""
    event = order_event(Failed(ORDER, FailureReason.EXPIRED, "too late"), **CHAIN)
    event.order_failed.reason = 77
    assert violations(event) == []
    assert order_update_from(event) == Failed(ORDER, None, "too late")
    event.order_failed.reason = 0
    assert [one.field for one in violations(event)] == ["order_failed.reason"]


@pytest.mark.parametrize("unknown", [0, 77])
def test_a_verdict_stands_whatever_its_lines_say(unknown: int) -> None:
    """What a rule said is for people; the order that risk let through is executed."""
    rule = RuleResult("market_hours", RuleOutcome.PASSED)
    verdict = Approved(
        SIGNAL_ID, CHAIN["correlation_id"], KEY, 1, 1, Side.BUY, 10, AT_MARKET, PositionEffect.OPENS,
        NOON, NOON, (rule,),
    )  # fmt: skip
    event = verdict_event(verdict, CHAIN["event_id"], SIGNAL_ID, "risk", NOON)
    assert approved_from(event) == verdict
    event.signal_validated.rules[0].outcome = unknown
    assert violations(event) == []
    assert approved_from(event).rules == (RuleResult("market_hours", None),)
