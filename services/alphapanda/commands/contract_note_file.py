"""Reads a contract note's charges from a CSV or JSON file. Zerodha's notes come as PDF: somebody has to write the lines down."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from alphapanda.domain.errors import InvalidInput

NAMES: Final = ("brokerage", "stt", "exchange_transaction", "ipft", "sebi", "stamp_duty", "gst", "dp")
_AS_PRINTED: Final = {
    "securities_transaction_tax": "stt",
    "exchange_transaction_charges": "exchange_transaction",
    "transaction_charges": "exchange_transaction",
    "sebi_turnover_fees": "sebi",
    "sebi_charges": "sebi",
    "stamp": "stamp_duty",
    "stamp_charges": "stamp_duty",
    "igst": "gst",
    "cgst": "gst",
    "sgst": "gst",
    "utgst": "gst",
    "integrated_gst": "gst",
    "central_gst": "gst",
    "state_gst": "gst",
    "dp_charges": "dp",
    "investor_protection_fund": "ipft",
}
"""Names as notes print them, in small letters with underscores; amounts of the same line are added up."""


@dataclass(frozen=True, slots=True)
class NoteFile:
    """What a file says: the day (empty where it doesn't), and rupees by line."""

    day: str
    lines: dict[str, Decimal]


def read_note(path: Path) -> NoteFile:
    """Reads a file.

    JSON: {"day": "2026-12-01", "charges": {"brokerage": "20.00", "stt": 12}}. CSV: lines of name and amount under the header
    `name,amount`.

    Raises:
        InvalidInput: it can't be read, or names a line that there isn't.
        OSError: it can't be opened.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        return _of_json(text, path)
    if path.suffix.lower() == ".csv":
        rows = csv.DictReader(text.splitlines())
        if not {"name", "amount"} <= {*(rows.fieldnames or ())}:
            raise InvalidInput("FILE", path.name, "a CSV file with the header name,amount")
        return NoteFile("", _added((str(row["name"]), row["amount"]) for row in rows))
    raise InvalidInput("FILE", path.name, "a .csv or .json file")


def _of_json(text: str, path: Path) -> NoteFile:
    try:
        told = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise InvalidInput("FILE", path.name, f"JSON: {error}") from None
    charges = told.get("charges") if isinstance(told, dict) else None
    if not isinstance(charges, dict):
        raise InvalidInput(
            "FILE", path.name, 'JSON as {"day": "YYYY-MM-DD", "charges": {"brokerage": "20.00"}}'
        )
    return NoteFile(str(told.get("day", "")), _added(charges.items()))


def _added(lines: Iterable[tuple[str, object]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for printed, told in lines:
        name = "_".join(printed.lower().replace("(", " ").replace(")", " ").split())
        name = _AS_PRINTED.get(name, name)
        if name not in NAMES:
            raise InvalidInput("line", printed, f"one of {', '.join(NAMES)}")
        try:
            amount = Decimal(str(told).replace(",", "").strip())
        except InvalidOperation:
            raise InvalidInput(name, told, "rupees") from None
        found[name] = found.get(name, Decimal(0)) + amount
    return found
