"""Writes rows of several tables with one statement, so in one round trip."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache

from sqlalchemy import TextClause, text


def rows_of(table: str, parameter: str) -> str:
    """Returns the FROM clause that reads a parameter made by `recordset` as typed rows of a table."""
    return f"json_populate_recordset(NULL::{table}, CAST(:{parameter} AS json))"


def recordset(rows: Sequence[Mapping[str, object]]) -> str:
    """Encodes rows (column: value) for `rows_of`; amounts keep every digit."""
    return json.dumps(rows, default=_as_text, separators=(",", ":"))


def together(parts: Mapping[str, str], last: str) -> Callable[..., TextClause]:
    """Combines writes into one statement (WITH …).

    All parts see the tables as they were before the statement, and no row may be written by two parts. Foreign keys are
    checked at the end.

    Args:
        parts: INSERT, UPDATE or DELETE statements, by name.
        last: the final statement, always included; may read from the parts by name.

    Returns:
        A function from names of parts to the statement; each statement is built once.
    """

    @cache
    def statement(*names: str) -> TextClause:
        chosen = ", ".join(f"{name} AS ({parts[name]})" for name in names)
        return text(f"WITH {chosen} {last}" if chosen else last)

    return statement


def _as_text(value: object) -> str:
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(f"{value!r} has no column")
