"""What a protection may need next, and why a position is left."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """Why a position is exited, and by what its protection ended."""

    STOPPED = "stopped"
    TARGET = "target"
    STOP_LOST = "stop_lost"
    STOP_STUCK = "stop_stuck"
    CLOSED = "closed"
    NOT_FILLED = "not_filled"
    REPLACED = "replaced"
    CANCELLED = "cancelled"


class PlaceStop(Struct, frozen=True, gc=False):
    """Place a stop of `quantity` units at `trigger` rupees."""

    quantity: int
    trigger: Decimal


class ModifyStop(Struct, frozen=True, gc=False):
    """Modify the working stop: `quantity` units in all, filled ones included, at `trigger` rupees."""

    quantity: int
    trigger: Decimal


class CancelStop(Struct, frozen=True, gc=False):
    """Cancel the working stop; `why` in a few words."""

    why: str


class CancelExit(Struct, frozen=True, gc=False):
    """Cancel what is left of the exit, because another one takes its place."""


class CancelEntry(Struct, frozen=True, gc=False):
    """Cancel what may still fill of the entries, because the position is being left."""


class SendExit(Struct, frozen=True, gc=False):
    """Send a market order that closes `quantity` units."""

    quantity: int
    reason: Reason


class End(Struct, frozen=True, gc=False):
    """The protection has ended: nothing is held, and nothing of it can fill."""

    reason: Reason


Action = PlaceStop | ModifyStop | CancelStop | CancelExit | CancelEntry | SendExit | End
