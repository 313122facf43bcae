"""Enums of orders, and the order lifecycle as one transition table; a pair that isn't in it is an error."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final


class Side(IntEnum):
    """Buy or sell; numbered as in panda.common.v1."""

    BUY = 1
    SELL = 2

    sign: int
    """+1 or -1."""

    def __init__(self, number: int) -> None:
        self.sign = 1 if number == 1 else -1

    @classmethod
    def of(cls, delta: int) -> Side:
        """The side of an order that changes a position by `delta` units (signed, not 0)."""
        return _BUY if delta > 0 else _SELL


# Enum members that every order asks for are looked up once, here and elsewhere: a look-up costs more than what is done with it.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL


class Product(IntEnum):
    """How a position is margined; numbered as in panda.common.v1."""

    MIS = 1
    CNC = 2
    NRML = 3


class OrderType(IntEnum):
    """How an order is priced; numbered as in panda.common.v1."""

    MARKET = 1
    LIMIT = 2
    SL = 3
    SL_M = 4


class Validity(IntEnum):
    """How long an order works; numbered as in panda.common.v1."""

    DAY = 1
    IOC = 2


class PositionEffect(IntEnum):
    """What an order does to the position it was decided against; numbered as in panda.common.v1."""

    OPENS = 1
    REDUCES = 2
    FLIPS = 3

    is_entry: bool
    """True if it opens or flips a position; False if it only reduces one (an exit)."""

    def __init__(self, number: int) -> None:
        self.is_entry = number != 2  # noqa: PLR2004 - REDUCES; members have no names yet in __init__

    @classmethod
    def of(cls, position: int, delta: int) -> PositionEffect:
        """The effect of adding `delta` (signed, not 0) to `position`."""
        if position * delta >= 0:
            return _OPENS
        return _REDUCES if abs(delta) <= abs(position) else _FLIPS


_OPENS: Final = PositionEffect.OPENS
_REDUCES: Final = PositionEffect.REDUCES
_FLIPS: Final = PositionEffect.FLIPS


class TradingState(IntEnum):
    """What may be traded at a broker; numbered as in panda.common.v1."""

    ACTIVE = 1
    REDUCING = 2
    HALTED = 3

    def permits(self, *, entry: bool) -> bool:
        """Whether an entry or an exit may be submitted."""
        return self is _ACTIVE or (self is TradingState.REDUCING and not entry)


_ACTIVE: Final = TradingState.ACTIVE


class FailureReason(IntEnum):
    """Why an order ended unexecuted; numbered as in panda.events.v1."""

    NOT_ROUTED = 1
    EXPIRED = 2
    MARKET_CLOSED = 3
    NO_PRICE = 4
    STALE_PRICE = 5
    MARKET_TIME_UNKNOWN = 6
    KILL_SWITCH = 7
    NOTHING_TO_EXIT = 8
    BROKER_REJECTED = 9
    ABSENT = 10
    RISK_REJECTED = 11
    NOT_EXECUTABLE = 12
    DISCARDED = 13
    BROKER_NOT_READY = 14
    INSUFFICIENT_FUNDS = 15


class OrderStatus(IntEnum):
    """Status of an order or of an intent; numbered as in panda.common.v1."""

    PENDING_RISK = 1
    PENDING_SUBMIT = 2
    SUBMITTING = 3
    UNKNOWN = 4
    OPEN = 5
    PARTIALLY_FILLED = 6
    FILLED = 7
    CANCELLED = 8
    REJECTED = 9
    FAILED = 10
    NOT_SENT = 11

    is_final: bool
    """True if no transition leads to another status."""


class OrderEvent(StrEnum):
    """Events that change the status of an order or an intent."""

    VALIDATED = "validated"
    REFUSED_BY_RISK = "refused by risk"
    SUBMITTING = "submitting"
    NOT_SENT = "not sent"
    NO_CLEAR_ANSWER = "no clear answer"
    ACCEPTED = "accepted"
    PARTIAL_FILL = "partial fill"
    FULL_FILL = "full fill"
    REJECTED_BY_BROKER = "rejected by broker"
    CANCELLED = "cancelled"
    MODIFIED = "modified"
    ABSENT = "absent"
    EXIT_AGAIN = "tried again"
    NEVER_CALLED = "never called"
    DECIDED_ANEW = "decided anew"
    LATE_FILL = "filled after its end"

    __hash__ = (
        object.__hash__
    )  # members are singletons; Enum's own hash is slower, and transitions are looked up often


S, E = OrderStatus, OrderEvent
TRANSITIONS: Final = MappingProxyType(
    {
        (S.PENDING_RISK, E.VALIDATED): S.PENDING_SUBMIT,
        (S.PENDING_RISK, E.REFUSED_BY_RISK): S.FAILED,
        (S.PENDING_SUBMIT, E.SUBMITTING): S.SUBMITTING,
        (S.PENDING_SUBMIT, E.NOT_SENT): S.FAILED,
        # It was cancelled before any part of it was sent.
        (S.PENDING_SUBMIT, E.CANCELLED): S.CANCELLED,
        (S.SUBMITTING, E.NO_CLEAR_ANSWER): S.UNKNOWN,
        # The process knows that it never began the call: the intent ends, the order is decided again (rule 18).
        (S.SUBMITTING, E.NEVER_CALLED): S.NOT_SENT,
        (S.SUBMITTING, E.DECIDED_ANEW): S.PENDING_SUBMIT,
        (S.SUBMITTING, E.ACCEPTED): S.OPEN,
        (S.SUBMITTING, E.REJECTED_BY_BROKER): S.REJECTED,
        (S.SUBMITTING, E.ABSENT): S.FAILED,
        (S.UNKNOWN, E.ACCEPTED): S.OPEN,
        (S.UNKNOWN, E.REJECTED_BY_BROKER): S.REJECTED,
        (S.UNKNOWN, E.ABSENT): S.FAILED,
        # An exit whose intent is absent continues with a new intent (rule 2).
        (S.SUBMITTING, E.EXIT_AGAIN): S.PENDING_SUBMIT,
        (S.UNKNOWN, E.EXIT_AGAIN): S.PENDING_SUBMIT,
        (S.OPEN, E.PARTIAL_FILL): S.PARTIALLY_FILLED,
        (S.OPEN, E.FULL_FILL): S.FILLED,
        (S.OPEN, E.REJECTED_BY_BROKER): S.REJECTED,
        (S.OPEN, E.CANCELLED): S.CANCELLED,
        (S.OPEN, E.MODIFIED): S.OPEN,
        # A later slice may fail before or after it was sent.
        (S.OPEN, E.NOT_SENT): S.FAILED,
        (S.OPEN, E.ABSENT): S.FAILED,
        (S.PARTIALLY_FILLED, E.PARTIAL_FILL): S.PARTIALLY_FILLED,
        (S.PARTIALLY_FILLED, E.FULL_FILL): S.FILLED,
        (S.PARTIALLY_FILLED, E.REJECTED_BY_BROKER): S.REJECTED,
        (S.PARTIALLY_FILLED, E.CANCELLED): S.CANCELLED,
        (S.PARTIALLY_FILLED, E.MODIFIED): S.PARTIALLY_FILLED,
        (S.PARTIALLY_FILLED, E.NOT_SENT): S.FAILED,
        (S.PARTIALLY_FILLED, E.ABSENT): S.FAILED,
        # A trade that the broker tells of after the end is booked; the status stays.
        (S.CANCELLED, E.LATE_FILL): S.CANCELLED,
        (S.REJECTED, E.LATE_FILL): S.REJECTED,
    }
)
for _status in S:
    _status.is_final = not any(
        origin is _status and to is not _status for (origin, _), to in TRANSITIONS.items()
    )
del S, E, _status


class IllegalTransition(Exception):
    """A pair of status and event that isn't in the transition table."""

    def __init__(self, status: OrderStatus, event: OrderEvent) -> None:
        super().__init__(f"an order that is {status.name} can't be {event.value}")


def transition(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """The status after an event.

    Raises:
        IllegalTransition: the transition table has no such pair.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition(status, event) from None
