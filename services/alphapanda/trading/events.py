"""Order happenings as events of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alphapanda.contract.order_wire import order_event
from alphapanda.domain.order_events import OrderHappening
from alphapanda.trading.core.intent import PRODUCER
from alphapanda.trading.core.order import Order, event_id_of
from panda.events.v1.events_pb2 import Event


def order_events(order: Order, happenings: Sequence[OrderHappening], wall_time: datetime) -> list[Event]:
    """One event a happening, its id by the order's revision, caused by the verdict."""
    return [
        order_event(
            happening,
            event_id=event_id_of(order.order_id, happening.order.revision),
            correlation_id=order.correlation_id,
            causation_id=order.causation_id,
            source=PRODUCER,
            occurred_at=wall_time,
        )
        for happening in happenings
    ]
