"""A contract note's lines beside what was booked: each paisa of difference is booked once, where it belongs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.commands import contract_note_file
from alphapanda.commands.contract_note_file import read_note
from alphapanda.domain.charge_rates import Sureness
from alphapanda.domain.charges import ChargeLine, Charges, charges_of, merged
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.contract_note import NAMES, DayCharges, corrections, noted_charges

paise = st.integers(0, 100_000).map(lambda amount: Decimal(amount).scaleb(-2))
charged = st.dictionaries(st.sampled_from((*NAMES, "commission")), paise, max_size=9)
noted = st.dictionaries(st.sampled_from(NAMES), paise, min_size=1)


def charges(lines: dict[str, Decimal]) -> Charges:
    return charges_of(ChargeLine(name, amount, Sureness.CITED) for name, amount in lines.items())


def key(number: int) -> PositionKey:
    return PositionKey("zerodha", "default", f"s{number}", "NSE:INFY", Product.MIS)


@given(st.lists(st.tuples(charged, st.integers(1, 10**7)), min_size=1, max_size=5), noted)
def test_rule_18_after_the_corrections_the_books_are_the_note_to_the_paisa(
    booked: list[tuple[dict[str, Decimal], int]], note: dict[str, Decimal]
) -> None:
    """Line by line; and the same note again corrects nothing."""
    before = {key(n): DayCharges(charges(lines), Decimal(worth)) for n, (lines, worth) in enumerate(booked)}
    found = corrections(before, noted_charges(note))
    after = {
        one: DayCharges(merged([day.charges, found.by_key.get(one, Charges())]), day.turnover)
        for one, day in before.items()
    }
    sums = {line.name: line.amount for line in merged(day.charges for day in after.values()).lines}
    assert sums == {name: amount for name, amount in note.items() if amount}
    assert corrections(after, noted_charges(note)).by_key == {}
    assert all(line.amount == round(line.amount, 2) for one in found.by_key.values() for line in one.lines)


def test_a_difference_is_shared_out_by_what_each_has_paid() -> None:
    """Two strategies paid 30 and 10 rupees of a line that the note has 41 of: 75 and 25 paise more; a new line goes by turnover."""
    booked = {
        key(1): DayCharges(charges({"stt": Decimal(30)}), Decimal(100)),
        key(2): DayCharges(charges({"stt": Decimal(10)}), Decimal(300)),
    }
    found = corrections(booked, noted_charges({"stt": Decimal(41), "dp": Decimal("15.34")}))
    assert {one.strategy_id: each.lines for one, each in found.by_key.items()} == {
        "s1": (
            ChargeLine("stt", Decimal("0.75"), Sureness.VERIFIED),
            ChargeLine("dp", Decimal("3.84"), Sureness.VERIFIED),
        ),
        "s2": (
            ChargeLine("stt", Decimal("0.25"), Sureness.VERIFIED),
            ChargeLine("dp", Decimal("11.50"), Sureness.VERIFIED),
        ),
    }
    assert [(line.name, line.booked, line.noted) for line in found.lines] == [
        ("stt", Decimal(40), Decimal(41)),
        ("dp", Decimal(0), Decimal("15.34")),
    ]


@pytest.mark.parametrize("amount", ["-1", "0.001", "NaN"])
def test_a_line_that_cannot_be_is_refused(amount: str) -> None:
    """Negative, finer than a paisa, no number; and a name that no note has."""
    with pytest.raises(InvalidInput, match="whole paise"):
        noted_charges({"stt": Decimal(amount)})
    with pytest.raises(UnknownName, match="stt"):
        noted_charges({"sst": Decimal(1)})


def test_a_note_is_read_from_csv_and_json_with_the_names_that_notes_print(tmp_path: Path) -> None:
    """GST in its parts is one line; thousands may have commas."""
    table = tmp_path / "note.csv"
    table.write_text(
        "name,amount\nBrokerage,20.00\nCGST,1.80\nSGST,1.80\nSTT (Securities transaction tax),1\n"
    )
    with pytest.raises(InvalidInput, match="one of brokerage"):
        read_note(table)
    table.write_text(
        'name,amount\nBrokerage,20.00\nCGST,1.80\nSGST,1.80\nSecurities transaction tax,"1,012"\n'
    )
    assert read_note(table).lines == {
        "brokerage": Decimal("20.00"),
        "gst": Decimal("3.60"),
        "stt": Decimal(1012),
    }
    written = tmp_path / "note.json"
    written.write_text('{"day": "2026-12-01", "charges": {"stamp_duty": 3, "sebi": 0.02}}')
    told = read_note(written)
    assert (told.day, told.lines) == ("2026-12-01", {"stamp_duty": Decimal(3), "sebi": Decimal("0.02")})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("note.csv", "charge,rupees\nstt,1\n", "name,amount"),
        ("note.csv", "name,amount\nstt,much\n", "rupees"),
        ("note.json", "{", "JSON"),
        ("note.json", "[]", '"charges"'),
        ("note.pdf", "", r"\.csv or \.json"),
    ],
)
def test_a_file_that_is_no_note_is_refused_by_name(tmp_path: Path, name: str, text: str, words: str) -> None:
    """In one line, with what is allowed."""
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_note(file)


def test_the_file_knows_the_lines_that_the_service_knows() -> None:
    """The command refuses a wrong name before it asks."""
    assert set(contract_note_file.NAMES) == set(NAMES)
