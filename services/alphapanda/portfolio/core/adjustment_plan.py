"""Which positions a discrepancy changes that a person has booked, and by how many units. Pure.

Units that were converted, or that stand against what was traded elsewhere, are taken by the rule of a trade made elsewhere: first from
what was traded elsewhere, then from the largest position; a person may name the strategy. A corporate action changes every position by
its ratio, rounded down; whole units that are left go to the largest fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order_events import AdjustmentKind
from alphapanda.domain.signal import FOREIGN, PositionKey
from alphapanda.portfolio.core.discrepancy import Difference, Kind, Unit
from alphapanda.portfolio.core.positions import Position

KINDS: Final = {
    Kind.PRODUCT_CONVERTED: AdjustmentKind.CONVERSION,
    Kind.CORPORATE_ACTION: AdjustmentKind.CORPORATE_ACTION,
    Kind.OPPOSED: AdjustmentKind.ALLOCATION,
}
"""What a discrepancy is booked as."""
_SMALLEST: Final = Decimal("0.0001")


class NotBookable(ValueError):
    """Our books don't hold what is to be booked; why, for a person."""


class PlannedMove(Struct, frozen=True, gc=False):
    """A change of a position: `units` (signed, not 0) of the `held`, to the position `to` or of their number."""

    key: PositionKey
    held: int
    units: int
    price: Decimal
    to: PositionKey | None = None


class Plan(Struct, frozen=True, gc=False):
    """The changes, and what counts as held outside besides."""

    kind: AdjustmentKind
    moves: tuple[PlannedMove, ...]
    outside: tuple[tuple[Unit, int], ...] = ()


def plan(
    difference: Difference,
    positions: Sequence[Position],
    outside: Mapping[Unit, int],
    ratio: tuple[int, int],
    strategy_id: str,
) -> Plan:
    """The plan of a discrepancy.

    Args:
        difference: what differs.
        positions: the account's positions.
        outside: units that are held outside.
        ratio: new units for old ones, of a CORPORATE_ACTION; (0, 0) elsewhere.
        strategy_id: whose units are meant; empty: by the rule.

    Raises:
        InvalidInput: the request doesn't fit the discrepancy.
        NotBookable: our books don't hold it.
    """
    kind = difference.kind
    if kind not in KINDS:
        names = ", ".join(sorted(one.name for one in KINDS))
        raise InvalidInput(
            "resolution", "BOOKED", f"ACCEPTED or CORRECTED for a {kind.name}; booked are {names}"
        )
    if (kind is Kind.CORPORATE_ACTION) != all(ratio):
        needed = "new units for old ones" if kind is Kind.CORPORATE_ACTION else f"none for a {kind.name}"
        raise InvalidInput("ratio", f"{ratio[0]}:{ratio[1]}", needed)
    if kind is Kind.CORPORATE_ACTION:
        if strategy_id:
            raise InvalidInput("strategy_id", strategy_id, "none: a corporate action is of every position")
        return _rescaled(difference, positions, outside, Fraction(*ratio))
    if kind is Kind.OPPOSED:
        return _allocated(difference, positions, strategy_id)
    return _converted(
        difference, [one for one in positions if one.quantity and strategy_id in ("", one.key.strategy_id)]
    )


def opposed(positions: Iterable[Position]) -> dict[Unit, tuple[int, int]]:
    """Units of strategies against which units stand that were traded elsewhere, and those, by instrument and product."""
    elsewhere: dict[Unit, int] = {}
    strategies: dict[Unit, list[int]] = {}
    for one in positions:
        unit = Unit(one.key.instrument_id, one.key.product)
        if one.key.strategy_id == FOREIGN:
            elsewhere[unit] = one.quantity
        elif one.quantity:
            strategies.setdefault(unit, []).append(one.quantity)
    found = {}
    for unit, units in elsewhere.items():
        against = sum(one for one in strategies.get(unit, ()) if one * units < 0)
        if against:
            found[unit] = (against, units)
    return found


def _converted(difference: Difference, positions: Sequence[Position]) -> Plan:
    held = {unit: _of(positions, unit) for unit, _ in difference.moves}
    giving = [(unit, n) for unit, n in difference.moves if sum(one.quantity for one in held[unit]) * n < 0]
    taking = [(unit, n) for unit, n in difference.moves if (unit, n) not in giving]
    moves: list[PlannedMove] = []
    room = [(unit, abs(n)) for unit, n in taking]
    for unit, change in giving:
        left = abs(change)
        for position in _by_rule(held[unit]):
            if position.quantity * change > 0:
                continue
            free = abs(position.quantity)
            while left and free and room:
                into, most = room[0]
                taken = min(left, free, most)
                to = replace(position.key, product=into.product)
                moves.append(_move(position, taken if change > 0 else -taken, to))
                left, free = left - taken, free - taken
                room[:1] = [(into, most - taken)] if taken < most else []
        if left:
            raise NotBookable(
                f"{abs(change)} units of {unit.instrument_id} {unit.product.name} were converted, and our books hold"
                f" {abs(change) - left} of them: accept it, or name another strategy"
            )
    if not moves or room:
        raise NotBookable("our books hold none of the units that were converted: accept it")
    return Plan(AdjustmentKind.CONVERSION, tuple(moves))


def _allocated(difference: Difference, positions: Sequence[Position], strategy_id: str) -> Plan:
    held = [
        one
        for one in positions
        if one.key.instrument_id == difference.instrument_id and one.key.product is difference.product
    ]
    elsewhere = next((one for one in held if one.key.strategy_id == FOREIGN), None)
    if elsewhere is None or not elsewhere.quantity:
        raise NotBookable(f"nothing of {difference.instrument_id} that was traded elsewhere is held any more")
    left, moves = abs(elsewhere.quantity), []
    for position in _by_rule(held):
        taken = min(left, abs(position.quantity))
        if (
            taken
            and position.quantity * elsewhere.quantity < 0
            and strategy_id in ("", position.key.strategy_id)
        ):
            moves.append(_move(position, -taken if position.quantity > 0 else taken, elsewhere.key))
            left -= taken
    if not moves:
        raise NotBookable(
            f"{strategy_id or 'no strategy'} holds nothing of {difference.instrument_id} against what was traded elsewhere"
        )
    return Plan(AdjustmentKind.ALLOCATION, tuple(moves))


def _rescaled(
    difference: Difference, positions: Sequence[Position], outside: Mapping[Unit, int], ratio: Fraction
) -> Plan:
    (unit, change), *_ = difference.moves
    ours = [one for one in _of(positions, unit) if one.quantity]
    apart = outside.get(unit, 0)
    before = sum(one.quantity for one in ours) + apart
    if int(before * ratio) != before + change:
        raise InvalidInput(
            "ratio",
            f"{ratio.numerator}:{ratio.denominator}",
            f"one that makes {before + change} of {before} units, as the broker has them",
        )
    held = {one.key: one.quantity for one in ours}
    if min(apart, *held.values()) < 0:
        raise NotBookable(
            f"a part of {unit.instrument_id} is held short or owed: book it by hand, then resolve"
        )
    exact: dict[PositionKey | None, Fraction] = {key: quantity * ratio for key, quantity in held.items()}
    exact[None] = apart * ratio
    after = {key: int(share) for key, share in exact.items()}
    left = before + change - sum(after.values())
    for key in sorted(exact, key=lambda one: (after[one] - exact[one], one.strategy_id if one else "~"))[
        :left
    ]:
        after[key] += 1
    moves = []
    for position in ours:
        units = after[position.key] - position.quantity
        if not after[position.key]:
            raise NotBookable(
                f"{position.key.strategy_id} would keep none of its {position.quantity} units of {unit.instrument_id}:"
                " give them to another strategy first, or accept it"
            )
        if units:
            price = max((position.cost / after[position.key]).quantize(_SMALLEST), _SMALLEST)
            moves.append(PlannedMove(position.key, position.quantity, units, price))
    if not moves:
        raise NotBookable("it changes no position of ours: accept it")
    more = after[None] - apart
    return Plan(AdjustmentKind.CORPORATE_ACTION, tuple(moves), ((unit, more),) if more else ())


def _of(positions: Sequence[Position], unit: Unit) -> list[Position]:
    return [
        one
        for one in positions
        if one.key.instrument_id == unit.instrument_id and one.key.product is unit.product
    ]


def _by_rule(positions: Sequence[Position]) -> list[Position]:
    """First what was traded elsewhere, then the largest position."""
    return sorted(
        positions,
        key=lambda one: (one.key.strategy_id != FOREIGN, -abs(one.quantity), one.key.strategy_id),
    )


def _move(position: Position, units: int, to: PositionKey) -> PlannedMove:
    price = max((position.cost / position.quantity).quantize(_SMALLEST), _SMALLEST)
    return PlannedMove(position.key, position.quantity, units, price, to)
