"""What differs between a broker's books and ours: kinds, severity, and how a difference ends. Numbered as in panda.portfolio.v1."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from alphapanda.domain.order import Product


class Kind(IntEnum):
    """What differs."""

    MISSED_FILL = 1
    UNKNOWN_FILL = 2
    FILL_DIFFERS = 3
    FOREIGN_FILL = 4
    ORDER_MISSING = 5
    ORDER_DIFFERS = 6
    POSITION = 7
    PRODUCT_CONVERTED = 8
    CORPORATE_ACTION = 9
    HELD_OUTSIDE = 10
    UNKNOWN_INSTRUMENT = 11
    MARGIN = 13
    BOOKS = 14
    OPPOSED = 15

    @property
    def is_remembered(self) -> bool:
        """Whether it is over as soon as it is known: what the broker holds counts as held outside from then on."""
        return self in (Kind.HELD_OUTSIDE, Kind.UNKNOWN_INSTRUMENT)


class Severity(IntEnum):
    """How much a difference matters; a CRITICAL one refuses entries in its instrument."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


class State(IntEnum):
    """How far a discrepancy has come. What is on its way between two services shows once, so only the second time counts."""

    SUSPECTED = 1
    OPEN = 2
    RESOLVED = 3


class Resolution(IntEnum):
    """How a discrepancy ended."""

    NONE = 0
    AGREED = 1
    ACCEPTED = 2
    CORRECTED = 3
    BOOKED = 4


class Unit(NamedTuple):
    """An instrument and a product, under which units are counted over all strategies."""

    instrument_id: str
    product: Product


class Difference(Struct, frozen=True, gc=False):
    """One difference, as a comparison finds it.

    Attributes:
        kind: what differs.
        severity: how much it matters.
        instrument_id: of the instrument; empty where it is of none.
        product: of a position; None elsewhere.
        subject: an order's tag, a broker's order id, "position", "margin" …; with the rest it makes the difference the same one.
        ours: our value, for people.
        theirs: the broker's value, for people.
        cause: the probable cause, and what to do.
        moves: the broker's units less those that were expected, by instrument and product; they count as held outside once a person
            has accepted them.
        tags: tags of the orders that trading has to look up so that it heals.
    """

    kind: Kind
    severity: Severity
    instrument_id: str
    product: Product | None
    subject: str
    ours: str
    theirs: str
    cause: str
    moves: tuple[tuple[Unit, int], ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Kind, str, int, str]:
        """What makes two findings the same difference."""
        return self.kind, self.instrument_id, int(self.product or 0), self.subject

    @property
    def sentence(self) -> str:
        """It in one line, for people."""
        if not self.ours and not self.theirs:
            return self.cause
        product = f" {self.product.name}" if self.product else ""
        if self.kind is Kind.BOOKS:
            return f"{self.instrument_id}{product}: portfolio holds {self.ours}, trading {self.theirs}"
        where = f"{self.instrument_id}{product} " if self.instrument_id else ""
        return f"{where}{self.subject}: we have {self.ours}, the broker {self.theirs}: {self.cause}"
