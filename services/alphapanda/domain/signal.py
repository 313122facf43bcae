"""What a strategy, a person or a timer wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from typing_extensions import override

from alphapanda.domain.order import OrderType, Product, Side

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class PositionKey:
    """Whose position: the key of every position, limit and ledger line (rule 13)."""

    broker: str
    account: str
    strategy_id: str
    instrument_id: str
    product: Product
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A key is looked up far more often than it is made.
        parts = (self.broker, self.account, self.strategy_id, self.instrument_id, self.product)
        object.__setattr__(self, "_hash", hash(parts))

    @override
    def __hash__(self) -> int:
        return self._hash


class Signal(Struct, frozen=True):
    """A wish for one broker: a signed target position, or an explicit side and quantity; exactly one of the two.

    Attributes:
        signal_id: its identity; the same wish computed again has the same.
        correlation_id: id at the start of the chain (the frame, the command).
        causation_id: id of what directly caused it.
        key: whose position it is about.
        instrument_token: the broker's token now.
        config_revision: revision of the strategy's configuration; 0 for a person and for square-offs.
        target: signed units to hold, or None.
        side: direction of an explicit order, or None.
        quantity: units of an explicit order, or None.
        order_type: how it is priced.
        market_time: aware; when it was made.
        valid_until: aware market time; past it an entry isn't executed.
        reference_price: rupees it was made at, or None.
        reason: one sentence.
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
    order_type: OrderType
    market_time: datetime
    valid_until: datetime
    reference_price: Decimal | None = None
    reason: str = ""
