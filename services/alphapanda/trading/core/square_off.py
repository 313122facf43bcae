"""The plan of a square-off: for each position, a signal with target 0, or the reason why it is skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Side
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.trading.core.intent import PRODUCER

_MINUTE: Final = 60
LIFE = timedelta(seconds=60)
"""Market time for which a target of 0 is valid if no session's end is known."""


class Skip(IntEnum):
    """Why a position is skipped; numbered as in panda.trading.v1."""

    BROKER_OFF = 1
    HALTED = 2
    INSTRUMENT_UNKNOWN = 3
    MARKET_CLOSED = 4


@dataclass(frozen=True, slots=True)
class Exposure:
    """Units held under a position key by trading's own fills, signed; 0 if only an order is under way."""

    key: PositionKey
    held: int


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One position of the plan: its signal, or why it is skipped and one sentence for a person."""

    exposure: Exposure
    signal: Signal | None
    skipped: Skip | None = None
    message: str = ""

    @property
    def side(self) -> Side | None:
        """Side of the exit; None if nothing is held."""
        return Side.of(-self.exposure.held) if self.exposure.held else None


@dataclass(frozen=True, slots=True)
class SquareOffCommand:
    """A person's SquareOff command.

    Attributes:
        command_id: its id; the signals' ids are derived from it.
        correlation_id: of the chain of events that it begins or belongs to.
        reason: one sentence; may be empty.
    """

    command_id: str
    correlation_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SquareOffContext:
    """Inputs of a plan besides the command and the positions.

    Attributes:
        enabled: brokers that orders may go to.
        halted: says whose kill switch keeps a position's exits back, for a person; empty where none does.
        instruments: today's instruments.
        calendar: sessions.
        market_time: now; None where unknown, which doesn't prevent a square-off.
        wall_time: used if market time is unknown.
    """

    enabled: Collection[str]
    halted: Callable[[PositionKey], str]
    instruments: InstrumentDirectory
    calendar: TradingCalendar
    market_time: datetime | None
    wall_time: datetime


class OrderPace(NamedTuple):
    """How many order requests of an account a broker takes in a second and in a minute, both > 0."""

    per_second: int
    per_minute: int

    def seconds(self, calls: int) -> int:
        """Seconds until so many requests are sent, if nothing else is."""
        minutes = max(calls - 1, 0) // self.per_minute
        rest = calls - minutes * self.per_minute
        return minutes * _MINUTE + -(-rest // self.per_second)


def estimated(
    lines: Iterable[PlanLine], instruments: InstrumentDirectory, paces: Mapping[str, OrderPace]
) -> timedelta | None:
    """How long it takes to send the plan's exits, the slowest account's; None where no broker of the plan limits them.

    Args:
        lines: the plan.
        instruments: today's instruments, for freeze quantities.
        paces: by broker; one that is absent has no limits.
    """
    calls: dict[tuple[str, str], int] = {}
    for line in lines:
        key, held = line.exposure.key, abs(line.exposure.held)
        if line.signal is None or key.broker not in paces:
            continue
        instrument = instruments.by_id(key.instrument_id)
        freeze = instrument.freeze_quantity if instrument is not None else 0
        slices = -(-held // freeze) if freeze else min(held, 1)
        calls[key.broker, key.account] = calls.get((key.broker, key.account), 0) + slices
    if not calls:
        return None
    return timedelta(seconds=max(paces[broker].seconds(count) for (broker, _), count in calls.items()))


def plan(
    command: SquareOffCommand, exposures: Iterable[Exposure], context: SquareOffContext
) -> list[PlanLine]:
    """Makes the plan: one line for each exposure, in their order."""
    return [_line(command, exposure, context) for exposure in exposures]


def _line(command: SquareOffCommand, exposure: Exposure, context: SquareOffContext) -> PlanLine:
    key = exposure.key
    if key.broker not in context.enabled:
        return PlanLine(exposure, None, Skip.BROKER_OFF, f"broker {key.broker!r} is off")
    if whose := context.halted(key):
        message = f"{whose} is HALTED: set its kill switch to REDUCING, then square off again"
        return PlanLine(exposure, None, Skip.HALTED, message)
    instrument = context.instruments.by_id(key.instrument_id)
    if instrument is None:
        message = f"{key.instrument_id} is not among today's instruments"
        return PlanLine(exposure, None, Skip.INSTRUMENT_UNKNOWN, message)
    valid_until = _valid_until(instrument, context)
    if valid_until is None:
        message = f"no session of {instrument.symbol} is open at {context.market_time}"
        return PlanLine(exposure, None, Skip.MARKET_CLOSED, message)
    return PlanLine(exposure, _to_flat(command, key, instrument, context, valid_until))


def _valid_until(instrument: Instrument, context: SquareOffContext) -> datetime | None:
    """The end of the open session; None if none is open."""
    if context.market_time is None:
        return context.wall_time + LIFE
    try:
        session = context.calendar.session_at(context.market_time, instrument.session_segment)
    except CalendarNotCovered:
        return context.market_time + LIFE
    return session.close if session else None


def _to_flat(
    command: SquareOffCommand,
    key: PositionKey,
    instrument: Instrument,
    context: SquareOffContext,
    valid_until: datetime,
) -> Signal:
    whose = f"{key.broker}:{key.account}:{key.strategy_id}:{key.instrument_id}:{key.product.name}"
    return Signal(
        signal_id=ids.output_id(PRODUCER, command.command_id, f"square-off {whose}"),
        correlation_id=command.correlation_id,
        causation_id=command.command_id,
        key=key,
        instrument_token=instrument.instrument_token,
        config_revision=0,
        target=0,
        side=None,
        quantity=None,
        terms=AT_MARKET,
        market_time=context.market_time or context.wall_time,
        valid_until=valid_until,
        reason=f"square-off: {command.reason}" if command.reason else "square-off",
    )
