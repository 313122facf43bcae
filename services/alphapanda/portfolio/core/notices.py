"""What a person should know of a broker's books though nothing differs: one line each, shown and never counted. Pure.

Orders that were made elsewhere and still work, and orders that wait at the broker for a price, may trade by themselves (REAL_MONEY
rule 21); shares may need an authorisation that lasts a day, or aren't delivered yet (rule 17). Nothing here is ever touched.
"""

from __future__ import annotations

from collections.abc import Iterator

from alphapanda.domain.order import Product
from alphapanda.portfolio.core.reconciled_books import BrokerBooks, OurBooks


def notices(ours: OurBooks, theirs: BrokerBooks) -> list[str]:
    """The lines, those of orders first.

    Args:
        ours: our books of the account.
        theirs: the broker's.
    """
    return [*_working(ours, theirs), *theirs.waiting, *_shares(ours, theirs)]


def _working(ours: OurBooks, theirs: BrokerBooks) -> Iterator[str]:
    known = {name for order in ours.orders for name in (*order.tags, *order.broker_ids)}
    for one in theirs.orders:
        if not one.ended and not known & {one.order_id, *one.tags}:
            yield (
                f"order {one.order_id}, made elsewhere, works: {one.words or one.instrument_id}; what it trades is booked, and the"
                " order is never touched"
            )


def _shares(ours: OurBooks, theirs: BrokerBooks) -> Iterator[str]:
    """Of what strategies hold for delivery."""
    for one in theirs.shares:
        held = sum(
            units.quantity
            for unit, units in ours.held.items()
            if unit.product is Product.CNC
            and (
                unit.instrument_id == one.instrument_id
                or (one.isin and ours.isins.get(unit.instrument_id) == one.isin)
            )
        )
        if held <= 0:
            continue
        lacking = min(held, one.settled) - one.authorised
        if lacking > 0:
            yield (
                f"{one.instrument_id}: {lacking} of {min(held, one.settled)} shares aren't authorised for sale today: authorise them at Zerodha"
                " (TPIN, eDIS) before the open, unless the demat account has a POA or DDPI"
            )
        if one.undelivered > 0:
            yield (
                f"{one.instrument_id}: {one.undelivered} shares aren't delivered yet (T1): sold today, they may be delivered short, and"
                " go to auction at your cost"
            )
