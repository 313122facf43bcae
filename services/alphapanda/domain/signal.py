"""Signals: what a strategy, a person or a timer asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from operator import itemgetter

from msgspec import Struct

from alphapanda.domain.order import Product, Side
from alphapanda.domain.terms import Protection, Terms

MANUAL = "manual"
"""The strategy_id of manual orders."""
FOREIGN = "foreign"
"""The strategy_id of what was traded at a live account by nobody's order of ours."""
FOREIGN = "foreign"
"""The strategy_id of what was traded at a live account by nobody's order of ours."""


class PositionKey(Struct, frozen=True, gc=False, cache_hash=True):
    """The key of a position, used for positions, limits and ledger entries alike (rule 13).

    The hash is cached, because a key is looked up far more often than it is made.
    """

    broker: str
    account: str
    strategy_id: str
    instrument_id: str
    product: Product


class Signal(Struct, frozen=True, gc=False):
    """A request to risk for one broker: either a target position, or an explicit side and quantity.

    Attributes:
        signal_id: its id; the same signal computed again has the same id.
        correlation_id: id at the start of the chain of events (the frame or the command).
        causation_id: id of its direct cause.
        key: the position to change.
        instrument_token: the broker's token today.
        config_revision: revision of the strategy's configuration; 0 for manual orders and square-offs.
        target: signed units to hold; None for an explicit order.
        side: side of an explicit order, else None.
        quantity: units of an explicit order, else None.
        terms: how it is priced, and how long it works.
        market_time: when it was made; aware.
        valid_until: aware market time; after it an entry isn't executed.
        reference_price: the price, in rupees, at which it was made; None if there is none.
        reason: one sentence; may be empty.
        size: size of the target, whose sign alone counts then, such as "10%" (domain.size); empty: the target is in units.
        protection: exits that stand by once it has filled; None: none.
    """

    signal_id: str
    correlation_id: str
    causation_id: str
    key: PositionKey
    instrument_token: int
    config_revision: int
    target: int | None
    side: Side | None
    quantity: int | None
    terms: Terms
    market_time: datetime
    valid_until: datetime
    reference_price: Decimal | None = None
    reason: str = ""
    size: str = ""
    protection: Protection | None = None


def in_turn(batches: Sequence[Sequence[Signal]]) -> list[Signal]:
    """Signals of several partitions in the order in which scarce funds go to them: by market time, strategy, instrument.

    Signals of one batch that have the same key stay in their order.
    """
    placed = []
    for batch in batches:
        latest = None
        for number, signal in enumerate(batch):
            latest = signal.market_time if latest is None else max(latest, signal.market_time)
            placed.append(((latest, signal.key.strategy_id, signal.key.instrument_id, number), signal))
    return [signal for _, signal in sorted(placed, key=itemgetter(0))]
