"""Prices as options of commands."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

import click
from google.type.decimal_pb2 import Decimal as WireDecimal
from typing_extensions import override


class _Rupees(click.ParamType[Decimal]):
    """An amount of rupees greater than 0, exact."""

    name = "rupees"

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount <= 0:
            self.fail(
                f"{value!r} is not allowed; a number of rupees greater than 0, such as 1500.05", param, ctx
            )
        return amount


RUPEES: Final = _Rupees()
"""The type of an option that is an amount of rupees."""


def wire(amount: Decimal | None) -> WireDecimal | None:
    """An amount as messages have it; None stays None."""
    return None if amount is None else WireDecimal(value=f"{amount:f}")
