"""Exact decimals of the contract; nothing here is a float."""

from __future__ import annotations

from decimal import Decimal

from google.type.decimal_pb2 import Decimal as ContractDecimal

from panda.common.v1.common_pb2 import Money


def to_decimal(value: ContractDecimal) -> Decimal:
    """Reads a decimal.

    Raises:
        ValueError: it is absent, which means that it isn't known.
    """
    if not value.value:
        raise ValueError("the value is absent: it isn't known")
    return Decimal(value.value)


def to_rupees(amount: Money) -> Decimal:
    """Reads an amount in rupees.

    Raises:
        ValueError: it is absent, or in another currency.
    """
    if not amount.HasField("amount"):
        raise ValueError("the amount is absent: it isn't known")
    if amount.currency_code != "INR":
        raise ValueError(f"the amount is in {amount.currency_code}, not in rupees")
    return to_decimal(amount.amount)
