"""Converts between domain values and protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal

from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.domain.money import CURRENCY
from alphapanda.domain.order import OrderType, PositionEffect, Product, Side, Validity
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome, RuleResult, Verdict
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import frame_pb2, signals_pb2
from panda.events.v1.events_pb2 import Event

Word = TypeVar("Word", bound=IntEnum)


class NotOnTheWire(ValueError):
    """A message holds a value that has no domain value."""


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Converts an aware datetime to a protobuf timestamp; None stays None."""
    if moment is None:
        return None
    whole = nanoseconds(moment)
    return Timestamp(seconds=whole // 1_000_000_000, nanos=whole % 1_000_000_000)


def moment(message: Timestamp) -> datetime:
    """Converts a protobuf timestamp to an aware UTC datetime."""
    return instant(message.seconds * 1_000_000_000 + message.nanos)


def seconds_of(message: Timestamp) -> float:
    """Converts a protobuf timestamp to seconds since 1970."""
    return message.seconds + message.nanos * 1e-9


def optional_moment(owner: object, field: str) -> datetime | None:
    """Reads a timestamp field of a message; None where it is absent."""
    return moment(getattr(owner, field)) if owner.HasField(field) else None  # type: ignore[attr-defined]


def decimal(value: Decimal | None) -> WireDecimal | None:
    """Converts an amount to google.type.Decimal, without exponent; None stays None."""
    return None if value is None else WireDecimal(value=f"{value:f}")


def exact(message: WireDecimal) -> Decimal:
    """Converts google.type.Decimal to the exact amount.

    Raises:
        NotOnTheWire: it isn't a finite decimal number.
    """
    try:
        value = Decimal(message.value)
    except InvalidOperation:
        raise NotOnTheWire(f"{message.value!r} is not a decimal number") from None
    if not value.is_finite():
        raise NotOnTheWire(f"{message.value!r} is not a finite number")
    return value


def known(words: type[Word], number: int) -> Word | None:
    """Returns the enum member of a number; None where another version of the contract has a member unknown here."""
    try:
        return words(number)
    except ValueError:
        return None


def money(amount: Decimal | None) -> common.Money | None:
    """Converts an amount in rupees; None stays None."""
    return None if amount is None else common.Money(currency_code=CURRENCY, amount=decimal(amount))


class _Terms(Protocol):
    """A message with the terms of an order."""

    @property
    def order_type(self) -> common.OrderType.ValueType: ...
    @property
    def validity(self) -> common.Validity.ValueType: ...
    @property
    def limit_price(self) -> WireDecimal: ...
    @property
    def trigger_price(self) -> WireDecimal: ...
    def HasField(self, field_name: Any, /) -> bool: ...  # noqa: N802 - protobuf's name


def validity(terms: Terms) -> common.Validity.ValueType:
    """The validity of an order in messages; an order at the market for the day doesn't need to say it."""
    return common.VALIDITY_UNSPECIFIED if terms is AT_MARKET else common.Validity.ValueType(terms.validity)


def terms_from(message: _Terms) -> Terms:
    """Reads the terms of an order. A missing order type means MARKET, a missing validity DAY."""
    order_type, lasts = message.order_type, message.validity
    if order_type <= OrderType.MARKET and lasts <= Validity.DAY and not _has_price(message):
        return AT_MARKET
    return Terms(
        OrderType(order_type or OrderType.MARKET),
        Validity(lasts or Validity.DAY),
        exact(message.limit_price) if message.HasField("limit_price") else None,
        exact(message.trigger_price) if message.HasField("trigger_price") else None,
    )


def _has_price(message: _Terms) -> bool:
    return message.HasField("limit_price") or message.HasField("trigger_price")


def protection(wanted: Protection | None) -> common.Protection | None:
    """Converts the protection of an entry to its message; None stays None."""
    if wanted is None:
        return None
    return common.Protection(
        stop_loss=decimal(wanted.stop_loss), target=decimal(wanted.target), trail=decimal(wanted.trail)
    )


def protection_from(owner: Any) -> Protection | None:
    """Reads the field `protection` of a message; None where it is absent or empty."""
    if not owner.HasField("protection"):
        return None
    m = owner.protection
    stop, target, trail = (
        exact(getattr(m, name)) if m.HasField(name) else None for name in ("stop_loss", "target", "trail")
    )
    return Protection(stop, target, trail) if (stop, target, trail) != (None, None, None) else None


def rule_results(rules: Iterable[RuleResult]) -> list[common.RuleResult]:
    """Converts a verdict's rule results to messages."""
    return [
        common.RuleResult(
            rule=rule.rule,
            outcome=common.RuleOutcome.ValueType(rule.outcome or 0),
            limit=rule.limit,
            observed=rule.observed,
            message=rule.message,
        )
        for rule in rules
    ]


def rules_from(messages: Iterable[common.RuleResult]) -> tuple[RuleResult, ...]:
    """Converts messages to a verdict's rule results."""
    return tuple(
        RuleResult(m.rule, known(RuleOutcome, m.outcome), m.limit, m.observed, m.message) for m in messages
    )


def envelope(
    *,
    event_id: str,
    correlation_id: str,
    causation_id: str,
    broker: str,
    source: str,
    occurred_at: datetime,
) -> Event:
    """Builds an envelope without payload; `occurred_at` is wall time."""
    return Event(
        event_id=event_id,
        correlation_id=correlation_id,
        causation_id=causation_id,
        broker=broker,
        source=source,
        occurred_at=timestamp(occurred_at),
    )


def frame_event(frame: Frame, source: str, occurred_at: datetime) -> Event:
    """Builds the event of a frame. It starts a chain, so its correlation id is its own id."""
    frame_id = frame.frame_id
    event = envelope(
        event_id=frame_id,
        correlation_id=frame_id,
        causation_id="",
        broker="",
        source=source,
        occurred_at=occurred_at,
    )
    event.tick_frame.CopyFrom(
        frame_pb2.TickFrame(
            feed_run=frame.feed_run,
            shard=frame.shard,
            sequence=frame.sequence,
            market_time=timestamp(frame.market_time),
            price_scale=frame.price_scale,
            instrument_token=frame.instrument_token,
            last_price=frame.last_price,
            exchange_time=frame.exchange_time,
            bar_start=frame.bar_start,
            volume=frame.volume,
            open=frame.open,
            high=frame.high,
            low=frame.low,
            simulated=frame.simulated,
        )
    )
    return event


def frame_from(message: frame_pb2.TickFrame) -> Frame:
    """Converts the message of a frame.

    Raises:
        ValueError: columns of different lengths.
    """
    return Frame(
        feed_run=message.feed_run,
        shard=message.shard,
        sequence=message.sequence,
        market_time_ns=message.market_time.seconds * 1_000_000_000 + message.market_time.nanos,
        price_scale=message.price_scale,
        instrument_token=list(message.instrument_token),
        last_price=list(message.last_price),
        exchange_time=list(message.exchange_time),
        bar_start=list(message.bar_start),
        volume=list(message.volume),
        open=list(message.open),
        high=list(message.high),
        low=list(message.low),
        simulated=message.simulated,
    )


def signal_event(signal: Signal, source: str, occurred_at: datetime) -> Event:
    """Builds the event of a signal; the event's id is the signal's."""
    event = envelope(
        event_id=signal.signal_id,
        correlation_id=signal.correlation_id,
        causation_id=signal.causation_id,
        broker=signal.key.broker,
        source=source,
        occurred_at=occurred_at,
    )
    message = signals_pb2.TradingSignal(
        strategy_id=signal.key.strategy_id,
        config_revision=signal.config_revision,
        account=signal.key.account,
        instrument_id=signal.key.instrument_id,
        instrument_token=signal.instrument_token,
        product=common.Product.ValueType(signal.key.product),
        order_type=common.OrderType.ValueType(signal.terms.order_type),
        validity=validity(signal.terms),
        limit_price=decimal(signal.terms.limit_price),
        trigger_price=decimal(signal.terms.trigger_price),
        protection=protection(signal.protection),
        market_time=timestamp(signal.market_time),
        valid_until=timestamp(signal.valid_until),
        reference_price=decimal(signal.reference_price),
        reason=signal.reason,
        size=signal.size,
    )
    if signal.target is not None:
        message.target_position = signal.target
    if signal.side is not None and signal.quantity is not None:
        message.explicit_order.side = common.Side.ValueType(signal.side)
        message.explicit_order.quantity = signal.quantity
    event.trading_signal.CopyFrom(message)
    return event


def signal_from(event: Event) -> Signal:
    """Reads the signal of an event. A missing product means MIS, a missing order type MARKET."""
    m = event.trading_signal
    explicit = m.WhichOneof("wanted") == "explicit_order"
    return Signal(
        signal_id=event.event_id,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        key=PositionKey(
            event.broker, m.account, m.strategy_id, m.instrument_id, Product(m.product or Product.MIS)
        ),
        instrument_token=m.instrument_token,
        config_revision=m.config_revision,
        target=None if explicit else m.target_position,
        side=Side(m.explicit_order.side) if explicit else None,
        quantity=m.explicit_order.quantity if explicit else None,
        terms=terms_from(m),
        market_time=moment(m.market_time),
        valid_until=moment(m.valid_until),
        reference_price=exact(m.reference_price) if m.HasField("reference_price") else None,
        reason=m.reason,
        size=m.size,
        protection=protection_from(m),
    )


def verdict_event(
    verdict: Verdict, event_id: str, causation_id: str, source: str, occurred_at: datetime
) -> Event:
    """Builds the event of a verdict."""
    event = envelope(
        event_id=event_id,
        correlation_id=verdict.correlation_id,
        causation_id=causation_id,
        broker=verdict.key.broker,
        source=source,
        occurred_at=occurred_at,
    )
    if isinstance(verdict, Approved):
        event.signal_validated.CopyFrom(
            signals_pb2.SignalValidated(
                signal_id=verdict.signal_id,
                strategy_id=verdict.key.strategy_id,
                config_revision=verdict.config_revision,
                account=verdict.key.account,
                instrument_id=verdict.key.instrument_id,
                instrument_token=verdict.instrument_token,
                side=common.Side.ValueType(verdict.side),
                quantity=verdict.quantity,
                product=common.Product.ValueType(verdict.key.product),
                order_type=common.OrderType.ValueType(verdict.terms.order_type),
                validity=validity(verdict.terms),
                limit_price=decimal(verdict.terms.limit_price),
                trigger_price=decimal(verdict.terms.trigger_price),
                protection=protection(verdict.protection),
                position_effect=common.PositionEffect.ValueType(verdict.effect),
                valid_until=timestamp(verdict.valid_until),
                decided_at=timestamp(verdict.decided_at),
                rules=rule_results(verdict.rules),
            )
        )
    else:
        event.signal_rejected.CopyFrom(
            signals_pb2.SignalRejected(
                signal_id=verdict.signal_id,
                strategy_id=verdict.key.strategy_id,
                config_revision=verdict.config_revision,
                account=verdict.key.account,
                instrument_id=verdict.key.instrument_id,
                instrument_token=verdict.instrument_token,
                reason=verdict.reason,
                message=verdict.message,
                decided_at=timestamp(verdict.decided_at),
                rules=rule_results(verdict.rules),
                largest_quantity=verdict.largest_quantity,
            )
        )
    return event


def approved_from(event: Event) -> Approved:
    """Reads the approved order of a SignalValidated event."""
    m = event.signal_validated
    return Approved(
        signal_id=m.signal_id,
        correlation_id=event.correlation_id,
        key=PositionKey(event.broker, m.account, m.strategy_id, m.instrument_id, Product(m.product)),
        instrument_token=m.instrument_token,
        config_revision=m.config_revision,
        side=Side(m.side),
        quantity=m.quantity,
        terms=terms_from(m),
        effect=PositionEffect(m.position_effect),
        valid_until=moment(m.valid_until),
        decided_at=optional_moment(m, "decided_at"),
        rules=rules_from(m.rules),
        protection=protection_from(m),
    )


def refused_from(event: Event) -> Refused:
    """Reads the refused signal of a SignalRejected event. The event has no product, so the position key says MIS."""
    m = event.signal_rejected
    return Refused(
        signal_id=m.signal_id,
        correlation_id=event.correlation_id,
        key=PositionKey(event.broker, m.account, m.strategy_id, m.instrument_id, Product.MIS),
        instrument_token=m.instrument_token,
        config_revision=m.config_revision,
        reason=m.reason,
        message=m.message,
        decided_at=optional_moment(m, "decided_at"),
        rules=rules_from(m.rules),
        largest_quantity=m.largest_quantity,
    )
