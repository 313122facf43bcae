"""Fills in, ledger out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.order_wire import happening_from
from alphapanda.domain.order_events import Filled
from alphapanda.portfolio.core.book import Booking
from alphapanda.portfolio.router import PortfolioRouter
from alphapanda.portfolio.store.port import AccountName, Cause, PortfolioStore, ReceivedFill

GROUP = "portfolio"
PAYLOADS = ("order_filled",)
"""The payloads of the topics it reads; the other order events move no money."""

OnBooked = Callable[[Mapping[AccountName, Cause]], None]
"""Told of accounts whose books changed, each with the last event that did it, once that is committed."""

_log = structlog.get_logger(__name__)


class PortfolioConsumer:
    """Books the fills of a batch in one transaction; the fill's own row is its inbox (rule 1).

    Args:
        router: the managers.
        store: the books.
        on_booked: told after each commit.
    """

    def __init__(
        self, router: PortfolioRouter, store: PortfolioStore, on_booked: Sequence[OnBooked] = ()
    ) -> None:
        self._router = router
        self._store = store
        self._on_booked = on_booked

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """See consuming.delivery.Handler.

        Raises:
            NoPortfolioManager: a fill of a broker without a manager.
            InvalidInput: a fill whose amounts the ledger can't hold.
        """
        received = []
        changed = {}
        for delivery in batch:
            happening = happening_from(delivery.event)
            if isinstance(happening, Filled):
                event, key = delivery.event, happening.order.key
                received.append(ReceivedFill(happening, event.correlation_id))
                changed[AccountName(key.broker, key.account)] = Cause(event.event_id, event.correlation_id)
        if not received:
            return
        # A batch is of one partition, so of one broker.
        manager = self._router.manager(batch[0].broker)
        async with self._store.unit(received, manager.starting_cash) as unit:
            for fill in received:
                manager.handle_fill(fill, unit)
        if not unit.bookings:
            return
        for tell in self._on_booked:
            tell(changed)
        for booking, fill in unit.bookings:
            _log_booking(fill, booking)


def _log_booking(received: ReceivedFill, booking: Booking) -> None:
    order, fill = received.filled.order, received.filled.fill
    _log.info(
        "fill booked",
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
