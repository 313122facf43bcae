"""The count of orders, ends and fills: what it takes for late, and what for a second end."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from evidence import TABLES, Evidence
from story import account_of

from alphapanda.contract.order_wire import order_event
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.ids import derived_id
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Cancelled, Fill, Filled, OrderState, OrderUpdate
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
SIGNAL, ORDER = derived_id("signal"), derived_id("order")


def told(*updates: OrderUpdate) -> Evidence:
    """An order and its events, and nothing else."""
    evidence = Evidence(TopicMap(("paper",)), tables={table: [] for table in TABLES})
    evidence.tables["orders"] = [
        {"order_id": ORDER, "signal_id": SIGNAL, "failure": None, "effect": 1},
    ]
    for number, update in enumerate(updates):
        event_id = derived_id("event", number)
        evidence.events[event_id] = order_event(
            update,
            event_id=event_id,
            correlation_id=SIGNAL,
            causation_id=SIGNAL,
            source="trading",
            occurred_at=NOON,
        )
    return evidence


def state(revision: int, filled: int) -> OrderState:
    """The order, cancelled."""
    return OrderState(
        ORDER, SIGNAL, PositionKey("paper", "default", "ema", "NSE:S1", Product.MIS), 1, Side.BUY, 10,
        AT_MARKET, PositionEffect.OPENS, OrderStatus.CANCELLED, revision, filled, 0,
        Decimal(100) if filled else None, NOON,
    )  # fmt: skip


FILL = Fill(derived_id("fill"), "T1", 5, Decimal(100), Decimal(0), NOON)


@pytest.mark.parametrize(
    ("after", "late", "duplicate"),
    [
        (Filled(state(4, 10), FILL), 1, []),
        (Cancelled(state(4, 5), "again"), 0, [SIGNAL]),
    ],
    ids=["a fill", "another end"],
)
def test_only_a_fill_may_follow_an_end(after: OrderUpdate, late: int, duplicate: list[str]) -> None:
    """On whichever topic it is read first: a fill with a later revision is late, any other event is a second end."""
    end = Cancelled(state(3, 5), "cancelled")
    for updates in ((end, after), (after, end)):
        account = account_of(told(*updates))
        assert (account.late, account.duplicate) == (late, duplicate)
