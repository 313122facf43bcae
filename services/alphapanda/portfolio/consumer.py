"""Consumes order events and books their fills."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from typing_extensions import override

from alphapanda.consuming.delivery import Delivery, Handler
from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.wire import seconds_of
from alphapanda.domain.order_events import Filled
from alphapanda.portfolio.core.adjusting import Adjusted
from alphapanda.portfolio.core.book import Booking
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.store.port import AccountName, Cause, PortfolioStore, ReceivedFill
from alphapanda.telemetry import spans
from alphapanda.telemetry.figures import NOT_MEASURED, Figures, Stage
from alphapanda.telemetry.tracing import OFF, Attribute, Tracer

GROUP = "portfolio"
SERVICE: Final = "portfolio"
PAYLOADS = ("order_filled",)
"""Payloads of the topics it reads; other order events move no money."""

OnBooked = Callable[[Mapping[AccountName, Cause]], None]
"""Called after each commit with the accounts whose books changed, each with the last event that changed it."""

_log = structlog.get_logger(__name__)


class PortfolioConsumer(Handler):
    """Books the fills of a batch in one transaction; a fill whose row exists already is skipped (rule 1).

    Args:
        manager: the managed brokers and the starting cash of new accounts.
        store: the books.
        on_booked: called after each commit.
        figures: receives the latencies of fills, and fills that were booked before.
        wall_clock: wall time, seconds since 1970.
        tracer: keeps what was booked for the spans of the records.
    """

    def __init__(
        self,
        manager: PortfolioManager,
        store: PortfolioStore,
        on_booked: Sequence[OnBooked] = (),
        figures: Figures = NOT_MEASURED,
        wall_clock: Callable[[], float] = time.time,
        tracer: Tracer = OFF,
    ) -> None:
        self._figures = figures
        self._wall_clock = wall_clock
        self._manager = manager
        self._store = store
        self._on_booked = on_booked
        self._tracer = tracer

    @override
    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Books the fills among the batch's events.

        Raises:
            BrokerNotManaged: the fill's broker has no portfolios here.
            InvalidInput: the ledger can't hold a fill's amounts.
        """
        received = []
        made_at = {}
        changed = {}
        for delivery in batch:
            order_event = order_update_from(delivery.event)
            if isinstance(order_event, Filled):
                event, key = delivery.event, order_event.order.key
                received.append(ReceivedFill(order_event, event.correlation_id))
                made_at[order_event.fill.fill_id] = seconds_of(event.occurred_at)
                changed[AccountName(key.broker, key.account)] = Cause(event.event_id, event.correlation_id)
        if not received:
            return
        # A batch comes from one partition, so all its fills have one broker.
        starting_cash = self._manager.starting_cash(batch[0].broker)
        async with self._store.unit(received, starting_cash) as unit:
            for fill in received:
                unit.book(fill)
        again = sum(one.filled.fill.adjustment is None for one in received) - len(unit.bookings)
        if again > 0:
            self._figures.absorbed(SERVICE, batch[0].broker, again)
        if not (unit.bookings or unit.adjusted):
            return
        for booked in self._on_booked:
            booked(changed)
        self._measure(batch[0].broker, unit.bookings, made_at)
        for adjusted, fill in unit.adjusted:
            _log_adjustment(fill, adjusted)
        events = {one.event.order_filled.fill_id: one.event.event_id for one in batch}
        for booking, fill in unit.bookings:
            _log_booking(fill, booking)
            self._note(events[fill.filled.fill.fill_id], fill, booking)

    def _measure(
        self, broker: str, bookings: Sequence[tuple[Booking, ReceivedFill]], made_at: Mapping[str, float]
    ) -> None:
        now = self._wall_clock()
        for booking, fill in bookings:
            seconds = now - made_at[booking.filled.fill.fill_id]
            self._figures.passed(Stage.FILL_TO_BOOKED, broker, seconds, fill.correlation_id)

    def _note(self, event_id: str, received: ReceivedFill, booking: Booking) -> None:
        if not self._tracer.on:
            return
        fill = received.filled.fill
        attributes: dict[str, Attribute] = {
            spans.FILL_ID: fill.fill_id,
            spans.SIDE: received.filled.order.side.name,
            spans.QUANTITY: fill.quantity,
            spans.PRICE: str(fill.price),
            spans.REALISED: str(booking.realised),
        }
        self._tracer.note(event_id, spans.booked(event_id), attributes)


def _log_adjustment(received: ReceivedFill, adjusted: Adjusted) -> None:
    order, fill = received.filled.order, received.filled.fill
    adjustment = fill.adjustment
    _log.warning(
        "position.adjusted",
        broker=order.key.broker,
        account=order.key.account,
        strategy_id=order.key.strategy_id,
        instrument_id=order.key.instrument_id,
        kind=adjustment.kind.name if adjustment else "",
        quantity=order.side.sign * fill.quantity,
        position=adjusted.changes[0].position.quantity,
        order_id=order.order_id,
        correlation_id=received.correlation_id,
    )


def _log_booking(received: ReceivedFill, booking: Booking) -> None:
    order, fill = received.filled.order, received.filled.fill
    _log.info(
        "fill.booked",
        broker=order.key.broker,
        account=order.key.account,
        strategy_id=order.key.strategy_id,
        instrument_id=order.key.instrument_id,
        side=order.side.name,
        quantity=fill.quantity,
        price=str(fill.price),
        realised=str(booking.realised),
        position=booking.position.quantity,
        fill_id=fill.fill_id,
        order_id=order.order_id,
        correlation_id=received.correlation_id,
    )
