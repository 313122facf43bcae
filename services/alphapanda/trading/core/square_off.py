"""What a square-off does: one line a position, with a target of 0 for it, or why it is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import OrderType, Side, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.trading.core.intent import PRODUCER

LIFE = timedelta(seconds=60)
"""Market time for which a target of 0 is good where no session's end is known."""


class Skip(IntEnum):
    """Why a position is left; numbered as in panda.trading.v1."""

    BROKER_OFF = 1
    HALTED = 2
    INSTRUMENT_UNKNOWN = 3
    MARKET_CLOSED = 4


@dataclass(frozen=True, slots=True)
class Exposure:
    """Units held under a key by trading's own fills, signed; 0 where only an order is under way."""

    key: PositionKey
    held: int


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One position of the plan: a signal, or why there is none and one sentence for a person."""

    exposure: Exposure
    signal: Signal | None
    skipped: Skip | None = None
    message: str = ""

    @property
    def side(self) -> Side | None:
        """Direction of the exit; None where nothing is held."""
        return Side.of(-self.exposure.held) if self.exposure.held else None


@dataclass(frozen=True, slots=True)
class SquareOffCommand:
    """A person's command.

    Attributes:
        command_id: its identity; the signals' ids follow from it.
        correlation_id: the chain it begins or belongs to.
        reason: one sentence.
    """

    command_id: str
    correlation_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Surface:
    """What a plan is made upon.

    Attributes:
        enabled: brokers that orders may go to.
        states: what may be traded, by broker.
        instruments: the day's.
        calendar: sessions.
        market_time: now; None where unknown, which keeps nobody from leaving a position.
        wall_time: stands in for a market time that is unknown.
    """

    enabled: Collection[str]
    states: Mapping[str, TradingState]
    instruments: InstrumentDirectory
    calendar: TradingCalendar
    market_time: datetime | None
    wall_time: datetime


def plan(command: SquareOffCommand, exposures: Iterable[Exposure], surface: Surface) -> list[PlanLine]:
    """The plan, in the order of the exposures."""
    return [_line(command, exposure, surface) for exposure in exposures]


def _line(command: SquareOffCommand, exposure: Exposure, surface: Surface) -> PlanLine:
    key = exposure.key
    if key.broker not in surface.enabled:
        return PlanLine(exposure, None, Skip.BROKER_OFF, f"broker {key.broker!r} is off")
    if surface.states.get(key.broker) is TradingState.HALTED:
        message = f"{key.broker!r} is HALTED: set its kill switch to REDUCING, then square off again"
        return PlanLine(exposure, None, Skip.HALTED, message)
    instrument = surface.instruments.by_id(key.instrument_id)
    if instrument is None:
        message = f"{key.instrument_id} is not among today's instruments"
        return PlanLine(exposure, None, Skip.INSTRUMENT_UNKNOWN, message)
    valid_until = _valid_until(instrument, surface)
    if valid_until is None:
        message = f"no session of {instrument.symbol} is open at {surface.market_time}"
        return PlanLine(exposure, None, Skip.MARKET_CLOSED, message)
    return PlanLine(exposure, _to_flat(command, key, instrument, surface, valid_until))


def _valid_until(instrument: Instrument, surface: Surface) -> datetime | None:
    """The session's end; None where none is open."""
    if surface.market_time is None:
        return surface.wall_time + LIFE
    try:
        session = surface.calendar.session_at(surface.market_time, instrument.session_segment)
    except CalendarNotCovered:
        return surface.market_time + LIFE
    return session.close if session else None


def _to_flat(
    command: SquareOffCommand,
    key: PositionKey,
    instrument: Instrument,
    surface: Surface,
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
        order_type=OrderType.MARKET,
        market_time=surface.market_time or surface.wall_time,
        valid_until=valid_until,
        reason=f"square-off: {command.reason}" if command.reason else "square-off",
    )
