"""Compares a broker's books of an account with ours. Pure: the same books give the same differences, in the same order.

What trades explain is said once, of the trades; a position differs only by what no trade explains. So a difference that heals
leaves nothing behind, and where both sides are flat there is none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from alphapanda.domain.order import Product
from alphapanda.portfolio.core.corporate_actions import corporate_action
from alphapanda.portfolio.core.discrepancy import Difference, Kind, Severity, Unit
from alphapanda.portfolio.core.reconciled_books import (
    BrokerBooks,
    BrokerOrder,
    BrokerTrade,
    OurBooks,
    OurFill,
    OurOrder,
)
from alphapanda.portfolio.core.scrips import Scrip, Scrips
from alphapanda.portfolio.core.unit_balance import balanced

VISIBLE_AFTER: Final = timedelta(seconds=180)
"""An order may take so long until the broker's order book shows it (REAL_MONEY rule 2)."""
_IST: Final = timedelta(hours=5, minutes=30)
_ROUNDING: Final = Decimal("0.01")
"""Rupees a unit by which a cumulative average may be off."""
_HALTED: Final = "entries in it are refused until this is over"


def compare(ours: OurBooks, theirs: BrokerBooks, now: datetime) -> list[Difference]:
    """Finds how the books differ, the most important first.

    Args:
        ours: our books of the account, read after the broker's.
        theirs: the broker's.
        now: aware wall time.
    """
    found = [*_in_trading(ours), *_margin(theirs), *_opposed(ours)]
    if theirs.is_own:
        comparison = _Comparison(ours, theirs, now)
        found += comparison.fills()
        found += comparison.foreign()
        found += comparison.orders()
        found += comparison.positions()
    return sorted(found, key=lambda one: (-one.severity, one.kind, one.key))


class _Comparison:
    """The comparison of one account, with what has been explained so far."""

    def __init__(self, ours: OurBooks, theirs: BrokerBooks, now: datetime) -> None:
        self._ours = ours
        self._theirs = theirs
        self._now = now
        self._scrips = Scrips(theirs.units, ours.isins)
        self._explained: Counter[Scrip] = Counter()
        self._moved: set[Scrip] = set()
        self._fills = {fill.fill_id: fill for fill in ours.fills}
        self._parts: set[str] = set()
        self._foreign: Counter[tuple[str, Unit]] = Counter()
        by_name = {name: order for order in ours.orders for name in (*order.tags, *order.broker_ids)}
        self._order_of: dict[str, OurOrder] = {}
        for one in theirs.orders:
            names = (one.order_id, *sorted(one.tags))
            found = next((by_name[name] for name in names if name in by_name), None)
            if found is not None:
                self._order_of[one.order_id] = found

    def fills(self) -> Iterator[Difference]:
        """What was traded of our orders today, and isn't booked so."""
        traded: defaultdict[str, list[BrokerTrade]] = defaultdict(list)
        for trade in self._theirs.trades:
            unit = self._unit(trade)
            if unit is None:
                continue
            self._moved.add(self._scrips.of(unit))
            order = self._order_of.get(trade.order_id)
            if order is not None:
                traded[order.order_id].append(trade)
            else:
                self._made_elsewhere(trade, unit)
        booked: defaultdict[str, list[OurFill]] = defaultdict(list)
        for fill in self._ours.fills:
            if fill.fill_id not in self._parts:
                booked[fill.order_id].append(fill)
        orders = {order.order_id: order for order in self._ours.orders}
        for order_id in sorted(booked.keys() | traded.keys()):
            ours, theirs = booked.get(order_id, []), traded.get(order_id, [])
            one = (ours or theirs)[0]
            unit = Unit(one.instrument_id, one.product or Product.MIS)
            yield from self._of_order(
                orders.get(order_id),
                order_id,
                unit,
                one.side.sign,
                [(fill.quantity, fill.price) for fill in ours],
                [(trade.quantity, trade.price) for trade in theirs],
            )

    def _made_elsewhere(self, trade: BrokerTrade, unit: Unit) -> None:
        """Notes what is booked of a trade that no order of ours has made, and what isn't: it may be booked in parts."""
        units, part, number = 0, self._fills.get(trade.fill_id), 0
        while part is not None:
            units += part.units
            self._parts.add(part.fill_id)
            number += 1
            part = self._fills.get(trade.part_id(number))
        if trade.units != units:
            self._foreign[trade.order_id, unit] += trade.units - units

    def _of_order(
        self,
        order: OurOrder | None,
        order_id: str,
        unit: Unit,
        sign: int,
        booked: Sequence[tuple[int, Decimal]],
        traded: Sequence[tuple[int, Decimal]],
    ) -> Iterator[Difference]:
        ours, theirs = sum(quantity for quantity, _ in booked), sum(quantity for quantity, _ in traded)
        subject = f"order {order.tags[0] if order and order.tags else order_id}"
        if ours != theirs:
            missed = theirs > ours
            self._explained[self._scrips.of(unit)] += sign * (theirs - ours)
            cause = (
                "a fill was missed: trading asks for the order again, and books it"
                if missed
                else f"the broker doesn't have what is booked: compare its trades of the day; {_HALTED}"
            )
            yield Difference(
                Kind.MISSED_FILL if missed else Kind.UNKNOWN_FILL,
                Severity.CRITICAL,
                unit.instrument_id,
                unit.product,
                subject,
                f"{ours} filled",
                f"{theirs} filled",
                cause,
                ((unit, sign * (theirs - ours)),),
                order.tags if missed and order else (),
            )
            return
        worth, theirs_worth = (sum((q * p for q, p in rows), Decimal(0)) for rows in (booked, traded))
        if abs(worth - theirs_worth) > _ROUNDING * ours:
            yield Difference(
                Kind.FILL_DIFFERS,
                Severity.WARNING,
                unit.instrument_id,
                unit.product,
                subject,
                f"{worth} rupees",
                f"{theirs_worth} rupees",
                "fills were booked at another price than the broker's trades have: the contract note puts the cash right",
            )

    def foreign(self) -> Iterator[Difference]:
        """What was traded today by orders that aren't ours, and isn't booked; after `fills`."""
        concerned = self._ours.traded
        for (order_id, unit), units in sorted(self._foreign.items()):
            self._explained[self._scrips.of(unit)] += units
            is_ours = unit.instrument_id in concerned
            yield Difference(
                Kind.FOREIGN_FILL,
                Severity.CRITICAL if is_ours else Severity.WARNING,
                unit.instrument_id,
                unit.product,
                f"order {order_id}",
                "nothing",
                f"{units:+d}",
                "it was made elsewhere (by phone, by another app, by the broker's risk desk) and isn't booked yet: trading books it"
                + (f"; {_HALTED}, or a person accepts it" if is_ours else ""),
                ((unit, units),),
            )

    def orders(self) -> Iterator[Difference]:
        """Orders that only one side has, or that have ended at one side only."""
        by_name: dict[str, BrokerOrder] = {}
        for one in self._theirs.orders:
            by_name[one.order_id] = one
            by_name.update(dict.fromkeys(one.tags, one))
        for order in self._ours.orders:
            for tag in order.open_tags:
                if tag not in by_name:
                    yield from self._missing(order, tag)
        calls = {tag: order for order in self._ours.orders for tag in order.tags}
        open_tags = {tag for order in self._ours.orders for tag in order.open_tags}
        for one in self._theirs.orders:
            tag = next((tag for tag in sorted(one.tags) if tag in calls), "")
            if not tag or one.ended is (tag not in open_tags) or self._is_young(calls[tag]):
                continue
            yield Difference(
                Kind.ORDER_DIFFERS,
                Severity.WARNING if one.ended else Severity.CRITICAL,
                one.instrument_id,
                None,
                f"order {tag}",
                "works" if one.ended else "has ended",
                one.status,
                "its end hasn't come here yet: trading asks for the order again"
                if one.ended
                else f"it works on at the broker: cancel it there; {_HALTED}",
                tags=(tag,),
            )

    def _missing(self, order: OurOrder, tag: str) -> Iterator[Difference]:
        earlier = (order.created_at + _IST).date() < self._theirs.day
        if not earlier and self._is_young(order):
            return
        yield Difference(
            Kind.ORDER_MISSING,
            Severity.CRITICAL,
            order.instrument_id,
            None,
            f"order {tag}",
            "not ended",
            "not in its order book",
            f"its day's order book is gone: look at that day's contract note; {_HALTED}"
            if earlier
            else f"it never arrived, or the broker's order book is late; {_HALTED}",
            tags=(tag,),
        )

    def positions(self) -> Iterator[Difference]:
        """Units that no trade explains."""
        balance = balanced(self._ours, self._theirs, self._scrips, self._explained)
        for scrip, difference in balance.left.items():
            unit = balance.units[scrip]
            now = balance.theirs[scrip]
            expected = now - difference
            about = (unit.instrument_id, unit.product, "position", str(expected), str(now))
            moves = ((unit, difference),)
            others = {
                other: more
                for other, more in balance.left.items()
                if other.product != scrip.product and _same_symbol(balance.units[other], unit)
            }
            if others and difference + sum(others.values()) == 0:
                if difference == max(difference, *others.values()):
                    yield _converted(
                        unit, difference, [(balance.units[one], more) for one, more in others.items()]
                    )
                continue
            if scrip not in balance.traded:
                yield _outside(about, moves, is_known=scrip not in balance.unknown)
                continue
            action = ""
            if scrip not in self._moved:
                action = corporate_action(
                    expected, now, balance.our_costs.get(scrip), balance.their_costs.get(scrip)
                )
            if action:
                cause = f"it looks like {action}: {_HALTED}; `alphapanda reconcile resolve ID book --ratio NEW:OLD` books it"
                yield Difference(Kind.CORPORATE_ACTION, Severity.CRITICAL, *about, cause, moves)
                continue
            cause = (
                "fills that are older than the broker's day book, a transfer, or a corporate action"
                if now
                else "the broker is flat: it was closed there, or delivered"
            )
            yield Difference(
                Kind.POSITION,
                Severity.CRITICAL,
                *about,
                f"{cause}; {_HALTED}, or a person accepts it",
                moves,
            )

    def _unit(self, trade: BrokerTrade) -> Unit | None:
        return None if trade.product is None else Unit(trade.instrument_id, trade.product)

    def _is_young(self, order: OurOrder) -> bool:
        return self._now - order.created_at < VISIBLE_AFTER


About = tuple[str, Product, str, str, str]
"""Instrument, product, subject, ours, theirs."""
Moves = tuple[tuple[Unit, int], ...]


def _outside(about: About, moves: Moves, *, is_known: bool) -> Difference:
    kind = Kind.HELD_OUTSIDE if is_known else Kind.UNKNOWN_INSTRUMENT
    cause = "it was never traded here: it counts as held outside, and is never touched"
    return Difference(kind, Severity.INFO, *about, cause, moves)


def _converted(unit: Unit, into: int, others: Sequence[tuple[Unit, int]]) -> Difference:
    sources = ", ".join(sorted(one.product.name for one, _ in others))
    return Difference(
        Kind.PRODUCT_CONVERTED,
        Severity.CRITICAL,
        unit.instrument_id,
        unit.product,
        f"from {sources}",
        "no conversion",
        f"{into:+d} {unit.product.name}",
        f"units were converted at the broker, from {sources} to {unit.product.name}; {_HALTED}; `alphapanda reconcile resolve ID book`"
        " books it",
        ((unit, into), *others),
    )


def _same_symbol(one: Unit, other: Unit) -> bool:
    return one.instrument_id.partition(":")[2] == other.instrument_id.partition(":")[2]


def _in_trading(ours: OurBooks) -> Iterator[Difference]:
    """What trading and portfolio count differently."""
    if ours.in_trading is None:
        return
    held = {unit: one.quantity for unit, one in ours.held.items() if one.quantity}
    for unit in sorted(held.keys() | ours.in_trading.keys()):
        mine, trading = held.get(unit, 0), ours.in_trading.get(unit, 0)
        if mine != trading:
            yield Difference(
                Kind.BOOKS,
                Severity.WARNING,
                unit.instrument_id,
                unit.product,
                "trading",
                str(mine),
                str(trading),
                "portfolio and trading don't hold the same: a fill is on its way, or its record is parked",
            )


def _opposed(ours: OurBooks) -> Iterator[Difference]:
    """Strategies whose units stand against what was traded elsewhere, so that the account holds less than they do."""
    for unit, (strategies, elsewhere) in sorted(ours.opposed.items()):
        yield Difference(
            Kind.OPPOSED,
            Severity.WARNING,
            unit.instrument_id,
            unit.product,
            "against what was traded elsewhere",
            f"{strategies:+d} held by strategies, {elsewhere:+d} traded elsewhere",
            f"{strategies + elsewhere:+d}",
            "an exit takes no more than the account holds, so a strategy's may never be sent: book it, and what was traded elsewhere"
            " closes the strategy's units",
        )


def _margin(theirs: BrokerBooks) -> Iterator[Difference]:
    if theirs.money is not None and theirs.money.available < 0:
        yield Difference(
            Kind.MARGIN,
            Severity.WARNING,
            "",
            None,
            "margin",
            "0 or more",
            f"{theirs.money.available} rupees available",
            "margin is lacking: the broker may close positions; pay in, or reduce",
        )
    for sentence in theirs.sentences:
        yield Difference(Kind.BOOKS, Severity.WARNING, "", None, sentence, "", "", sentence)
