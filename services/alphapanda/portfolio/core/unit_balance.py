"""Units that both sides hold, by scrip, and what of them no trade explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from alphapanda.portfolio.core.discrepancy import Unit
from alphapanda.portfolio.core.reconciled_books import BrokerBooks, OurBooks
from alphapanda.portfolio.core.scrips import Scrip, Scrips


@dataclass(slots=True)
class UnitBalance:
    """Units by scrip.

    Attributes:
        theirs: what the broker holds.
        left: what it holds beyond what is expected.
        units: an instrument and product of each scrip; ours where we have traded it.
        our_costs: rupees; without what is held outside.
        their_costs: rupees; None where the broker doesn't say all of them.
        traded: what was ever traded here.
        unknown: scrips whose instruments aren't known here.
    """

    theirs: Counter[Scrip] = field(default_factory=Counter)
    left: dict[Scrip, int] = field(default_factory=dict)
    units: dict[Scrip, Unit] = field(default_factory=dict)
    our_costs: dict[Scrip, Decimal] = field(default_factory=dict)
    their_costs: dict[Scrip, Decimal | None] = field(default_factory=dict)
    traded: set[Scrip] = field(default_factory=set)
    unknown: set[Scrip] = field(default_factory=set)


def balanced(
    ours: OurBooks, theirs: BrokerBooks, scrips: Scrips, explained: Mapping[Scrip, int]
) -> UnitBalance:
    """Adds up both sides.

    Args:
        ours: our books; what is held outside counts as expected.
        theirs: the broker's.
        scrips: what units are compared under.
        explained: signed units that trades explain, which one side has and the other hasn't.
    """
    balance = UnitBalance()
    expected = Counter(explained)
    for one in theirs.units:
        unit = Unit(one.instrument_id, one.product)
        scrip = scrips.of(unit)
        balance.theirs[scrip] += one.quantity
        balance.units.setdefault(scrip, unit)
        before = balance.their_costs.get(scrip, Decimal(0))
        balance.their_costs[scrip] = None if before is None or one.cost is None else before + one.cost
        if not one.known:
            balance.unknown.add(scrip)
    for trade in theirs.trades:
        if trade.product is not None:
            unit = Unit(trade.instrument_id, trade.product)
            balance.units.setdefault(scrips.of(unit), unit)
    for unit, quantity in ours.outside.items():
        scrip = scrips.of(unit)
        expected[scrip] += quantity
        balance.units.setdefault(scrip, unit)
    for unit, held in ours.held.items():
        scrip = scrips.of(unit)
        expected[scrip] += held.quantity
        balance.our_costs[scrip] = balance.our_costs.get(scrip, Decimal(0)) + held.cost
        balance.units[scrip] = unit  # our own name of it comes first
        balance.traded.add(scrip)
    for fill in ours.fills:
        unit = Unit(fill.instrument_id, fill.product)
        balance.units.setdefault(scrips.of(unit), unit)
    for scrip in sorted(expected.keys() | balance.theirs.keys()):
        if difference := balance.theirs[scrip] - expected[scrip]:
            balance.left[scrip] = difference
    return balance
