"""Converts charge lines between domain values and protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable

from alphapanda.contract.wire import decimal, exact
from alphapanda.domain.charge_rates import Sureness
from alphapanda.domain.charges import ChargeLine, Charges, charges_of
from panda.common.v1 import common_pb2 as common


def charge_lines(lines: Iterable[ChargeLine]) -> list[common.ChargeLine]:
    """Converts lines to their messages."""
    return [
        common.ChargeLine(
            name=name, amount=decimal(amount), sureness=common.ChargeSureness.ValueType(sureness)
        )
        for name, amount, sureness in lines
    ]


def charges_from(lines: Iterable[common.ChargeLine]) -> Charges:
    """Converts messages to charges; a sureness that this version doesn't know counts as assumed.

    Raises:
        InvalidInput: an amount has more than 15 decimals.
    """
    return charges_of(ChargeLine(line.name, exact(line.amount), _sureness(line.sureness)) for line in lines)


def _sureness(number: int) -> Sureness:
    return Sureness(number) if number in _KNOWN else Sureness.ASSUMED


_KNOWN = frozenset(Sureness)
