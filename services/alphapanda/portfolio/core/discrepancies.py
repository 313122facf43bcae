"""What becomes of discrepancies with each comparison: the same one stays one, and what is gone is over. Pure.

A difference counts once it was found twice, alike: what is on its way between broker, trading and portfolio shows once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput
from alphapanda.portfolio.core.discrepancy import Difference, Kind, Resolution, Severity, State, Unit

ROLLS_FROM: Final = time(0, 0)
ROLLS_TO: Final = time(8, 45)
"""India's time within which Zerodha rolls its books: deliveries become holdings, at some moment after 06:00. Positions that differ
then aren't counted before it is over."""
HEALS_WITHIN: Final = timedelta(seconds=20)
"""What trading books by itself, missed fills and trades made elsewhere, has so long before it counts."""
_HEALING: Final = (Kind.MISSED_FILL, Kind.FOREIGN_FILL)
_IST: Final = timedelta(hours=5, minutes=30)
_OF_POSITIONS: Final = (
    Kind.POSITION,
    Kind.PRODUCT_CONVERTED,
    Kind.CORPORATE_ACTION,
    Kind.HELD_OUTSIDE,
    Kind.UNKNOWN_INSTRUMENT,
)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A difference as it is kept.

    Attributes:
        discrepancy_id: its id, derived from what it is of and when it was found.
        broker: the broker's name.
        account: our name of the account.
        difference: as it was found last.
        state: how far it has come.
        found_at: aware wall time.
        seen_at: when it was found last.
        seen: how often it was found alike.
        resolution: how it ended.
        resolved_at: when; None before.
        resolved_by: identity of who did it; empty where nobody did.
        reason: why, one sentence; empty where nobody said.
    """

    discrepancy_id: str
    broker: str
    account: str
    difference: Difference
    state: State
    found_at: datetime
    seen_at: datetime
    seen: int = 1
    resolution: Resolution = Resolution.NONE
    resolved_at: datetime | None = None
    resolved_by: str = ""
    reason: str = ""

    @property
    def halts(self) -> bool:
        """Whether entries in its instrument are refused."""
        return (
            self.state is State.OPEN
            and self.difference.severity is Severity.CRITICAL
            and bool(self.difference.instrument_id)
        )


@dataclass(slots=True)
class Progress:
    """What a comparison changes.

    Attributes:
        alive: SUSPECTED and OPEN ones after it.
        agreed: those that were OPEN and are over.
        forgotten: ids of those that were SUSPECTED and are gone.
        remembered: those of which the broker's units count as held outside from now on.
        opened: those that are OPEN now and weren't before.
    """

    alive: list[Discrepancy] = field(default_factory=list)
    agreed: list[Discrepancy] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    remembered: list[Discrepancy] = field(default_factory=list)
    opened: list[Discrepancy] = field(default_factory=list)


def progressed(
    broker: str, account: str, before: Iterable[Discrepancy], found: Sequence[Difference], now: datetime
) -> Progress:
    """Carries discrepancies on to a comparison.

    Args:
        broker: the broker's name.
        account: our name of the account.
        before: the SUSPECTED and OPEN ones.
        found: what the comparison has found.
        now: aware wall time.
    """
    known = {one.difference.key: one for one in before}
    progress = Progress()
    rolling = ROLLS_FROM <= (now + _IST).time() < ROLLS_TO
    for difference in found:
        old = known.pop(difference.key, None)
        if old is None:
            discrepancy_id = ids.derived_id("discrepancy", broker, account, *difference.key, now.isoformat())
            progress.alive.append(
                Discrepancy(discrepancy_id, broker, account, difference, State.SUSPECTED, now, now)
            )
            continue
        alike = old.difference.moves == difference.moves
        seen = old.seen + 1 if alike or old.state is State.OPEN else 1
        heals = difference.kind in _HEALING and now - old.found_at < HEALS_WITHIN
        waits = heals or (rolling and difference.kind in _OF_POSITIONS)
        opens = old.state is State.OPEN or (seen > 1 and not waits)
        state = State.OPEN if opens else State.SUSPECTED
        carried = replace(old, difference=difference, state=state, seen_at=now, seen=seen)
        if opens and difference.kind.is_remembered:
            progress.remembered.append(_resolved(carried, Resolution.ACCEPTED, now, "", ""))
            continue
        progress.alive.append(carried)
        if opens and old.state is not State.OPEN:
            progress.opened.append(carried)
    for gone in known.values():
        if gone.state is State.OPEN:
            progress.agreed.append(_resolved(gone, Resolution.AGREED, now, "", "the books agree again"))
        else:
            progress.forgotten.append(gone.discrepancy_id)
    return progress


def resolved(
    discrepancy: Discrepancy,
    resolution: Resolution,
    now: datetime,
    caller: str,
    reason: str,
    booked_outside: tuple[tuple[Unit, int], ...] = (),
) -> tuple[Discrepancy, tuple[tuple[Unit, int], ...]]:
    """A discrepancy that a person resolves, and the units that count as held outside from then on.

    `booked_outside` are those of a BOOKED one.

    Raises:
        InvalidInput: there is nothing to accept.
    """
    moves = discrepancy.difference.moves if resolution is Resolution.ACCEPTED else ()
    if resolution is Resolution.ACCEPTED and not moves:
        raise InvalidInput(
            "resolution",
            "ACCEPTED",
            f"CORRECTED: a {discrepancy.difference.kind.name} is of no units that the broker holds",
        )
    if resolution is Resolution.BOOKED:
        moves = booked_outside
    return _resolved(discrepancy, resolution, now, caller, reason), moves


def _resolved(
    one: Discrepancy, resolution: Resolution, now: datetime, caller: str, reason: str
) -> Discrepancy:
    return replace(
        one, state=State.RESOLVED, resolution=resolution, resolved_at=now, resolved_by=caller, reason=reason
    )
