"""Compares a broker's own books with trading's, after a repair or a restore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alphapanda.domain.broker_books import BrokerBooks, Holding


def differences(books: BrokerBooks, filled: Mapping[str, int], held: Mapping[Holding, int]) -> Iterator[str]:
    """How a broker's books differ from trading's, one sentence each.

    Args:
        books: the broker's.
        filled: units filled by tag, of trading's intents with those tags.
        held: what trading holds.
    """
    for tag, quantity in sorted(books.filled.items()):
        if tag not in filled:
            yield f"order {tag}: the broker has it with {quantity} filled, trading doesn't know it"
        elif filled[tag] != quantity:
            yield f"order {tag}: the broker has {quantity} filled, trading {filled[tag]}"
    for which in sorted(books.held.keys() | held.keys()):
        theirs, ours = books.held.get(which, 0), held.get(which, 0)
        if theirs != ours:
            yield (
                f"{which.instrument_id} {which.product.name} of {which.account}: the broker holds {theirs},"
                f" trading {ours}"
            )
