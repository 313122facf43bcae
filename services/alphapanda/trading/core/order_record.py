"""What is stored of an order: risk's decision, its broker calls (intents), its status and fills."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Self

from alphapanda.domain import ids
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Protection, Terms
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.intent import PRODUCER, Intent, intents_of

_PENDING_SUBMIT: Final = OrderStatus.PENDING_SUBMIT
_MICRO_RUPEE = Decimal("0.000001")


@dataclass(slots=True)
class OrderRecord:
    """What is stored of an order and its intents; quantities in units, prices in rupees.

    Attributes:
        causation_id: id of the verdict's event; empty until there is one.
        revision: of the last published change; 0 before the first.
        filled: units filled.
        turnover: sum of price times quantity over the fills, rupees, exact.
        charges: commission and charges of the fills, rupees.
        failure: why the order ended unexecuted or executed in part.
        message: one sentence for a person.
        market_time: of the last change; None where it was unknown.
        fill_ids: ids of the fills applied.
        protection: exits that stand by for what it fills; None: none.
        trigger_pending: whether its stop waits at the exchange for its trigger.
        protective: whether it is a stop or an exit that trading itself makes to protect the position; no signal asked for it.
        version: of the order's row, set by the store; a compare-and-set compares it.
    """

    order_id: str
    signal_id: str
    correlation_id: str
    causation_id: str
    key: PositionKey
    instrument_token: int
    config_revision: int
    side: Side
    quantity: int
    terms: Terms
    effect: PositionEffect
    valid_until: datetime
    status: OrderStatus
    intents: list[Intent]
    revision: int = 0
    filled: int = 0
    turnover: Decimal = ZERO
    charges: Decimal = ZERO
    failure: FailureReason | None = None
    message: str = ""
    market_time: datetime | None = None
    fill_ids: set[str] = field(default_factory=set)
    protection: Protection | None = None
    trigger_pending: bool = False
    protective: bool = False
    version: int = field(default=0, compare=False)

    @classmethod
    def approved(cls, verdict: Approved, causation_id: str, parts: Sequence[int]) -> Self:
        """The order of an approved signal: PENDING_SUBMIT, with one intent for each of `parts` (units)."""
        order_id = order_id_of(verdict.signal_id)
        return cls(
            order_id,
            verdict.signal_id,
            verdict.correlation_id,
            causation_id,
            verdict.key,
            verdict.instrument_token,
            verdict.config_revision,
            verdict.side,
            verdict.quantity,
            verdict.terms,
            verdict.effect,
            verdict.valid_until,
            _PENDING_SUBMIT,
            intents_of(order_id, parts, 0),
            protection=verdict.protection,
        )

    @classmethod
    def asked_for(
        cls,
        signal_id: str,
        correlation_id: str,
        key: PositionKey,
        instrument_token: int,
        side: Side,
        quantity: int,
        terms: Terms,
        valid_until: datetime,
        protection: Protection | None = None,
    ) -> Self:
        """A manual order, PENDING_RISK. It counts as an entry until risk's verdict gives its effect."""
        return cls(
            order_id=order_id_of(signal_id),
            signal_id=signal_id,
            correlation_id=correlation_id,
            causation_id="",
            key=key,
            instrument_token=instrument_token,
            config_revision=0,
            side=side,
            quantity=quantity,
            terms=terms,
            effect=PositionEffect.OPENS,
            valid_until=valid_until,
            status=OrderStatus.PENDING_RISK,
            intents=[],
            protection=protection,
        )

    def copy(self) -> Self:
        """An independent copy; changing one doesn't change the other."""
        twin = copy(self)
        twin.intents = [copy(intent) for intent in self.intents]
        twin.fill_ids = set(self.fill_ids)
        return twin

    @property
    def leaves(self) -> int:
        """Units that may still fill."""
        return 0 if self.status.is_final else self.quantity - self.filled

    @property
    def average_price(self) -> Decimal | None:
        """Average price of the fills, to a millionth of a rupee; None while nothing is filled."""
        if not self.filled:
            return None
        average = self.turnover / self.filled
        rounded = average.quantize(_MICRO_RUPEE)
        return average if average == rounded else rounded

    @property
    def current(self) -> Intent | None:
        """The intent under way, else the next one to send; None if the order has ended or waits for risk."""
        if self.status.is_final:
            return None
        for intent in self.intents:
            if not intent.status.is_final:
                return intent
        return None

    def state(self) -> OrderState:
        """The order's state, as events carry it."""
        filled = self.filled
        return OrderState(
            self.order_id,
            self.signal_id,
            self.key,
            self.instrument_token,
            self.side,
            self.quantity,
            self.terms,
            self.effect,
            self.status,
            self.revision,
            filled,
            0 if self.status.is_final else self.quantity - filled,
            self.average_price if filled else None,
            self.market_time,
            self.charges,
            self.trigger_pending,
            self.protective,
        )


def order_id_of(signal_id: str) -> str:
    """The id of a signal's order; a signal has one."""
    return ids.output_id(PRODUCER, signal_id, "order", 0)


def event_id_of(order_id: str, revision: int) -> str:
    """The id of the event that carries an order's revision."""
    return ids.output_id(PRODUCER, order_id, "event", revision)
