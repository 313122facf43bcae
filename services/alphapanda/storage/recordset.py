"""Writes rows of several tables with one statement, so in one round trip."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache

from sqlalchemy import TextClause, text


def rows_of(table: str, parameter: str) -> str:
    """The FROM clause that reads a parameter made by `recordset` as rows of a table, each column in its type."""
    return f"json_populate_recordset(NULL::{table}, CAST(:{parameter} AS json))"


def recordset(rows: Sequence[Mapping[str, object]]) -> str:
    """Encodes rows (column: value) for `rows_of`; amounts keep every digit."""
    return json.dumps(rows, default=_as_text, separators=(",", ":"))


def together(parts: Mapping[str, str], last: str) -> Callable[..., TextClause]:
    """One statement of some of these writes and, after them, of another.

    All of them see the tables as they were before it, and no row may be written by two of them. A foreign key is
    checked when all are done.

    Args:
        parts: INSERT, UPDATE or DELETE statements, by name.
        last: what is always a part, and may read from those by name.

    Returns:
        Names of parts to their statement, which is made once.
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
