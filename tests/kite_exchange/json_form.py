"""JSON as the API writes it: exact amounts as numbers, whole ones without a fraction."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def dumps(data: Any) -> str:
    """The text of an answer."""
    return json.dumps(data, default=_number)


def plain(data: Any) -> Any:
    """The same with numbers as JSON has them."""
    return json.loads(dumps(data))


def _number(value: Any) -> float | int:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value)} has no place in JSON")
