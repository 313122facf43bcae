"""Importing instruments: what a file says is merged into what is known, by id and by token, all or nothing."""

from __future__ import annotations

import gzip
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import DatedFacts, shipped_instruments, shipped_symbol_changes
from alphapanda.instruments.directory import RegisteredDirectory
from alphapanda.instruments.importing import Imported, Wanted, add_instrument, import_file
from alphapanda.instruments.registry import InstrumentRegistry

DAY = date(2026, 11, 30)
KITE = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange"
)
NSE = "SYMBOL,NAME OF COMPANY, SERIES, DATE OF LISTING, PAID UP VALUE, MARKET LOT, ISIN NUMBER, FACE VALUE"
RELIANCE = "738561,2885,RELIANCE,RELIANCE INDUSTRIES,0,,0,0.1,1,EQ,NSE,NSE"
TINY = "25857,101,TINY,TINY TOYS,0,,0,0.01,1,EQ,NSE,NSE"
SENSEX = "265,1,SENSEX,SENSEX,0,,0,0,0,EQ,INDICES,BSE"
NOV = "9000194,35157,TINY26NOVFUT,TINY,0,2026-11-30,0,0.05,700,FUT,NFO-FUT,NFO"
JAN = "9000194,35157,TINY27JANFUT,TINY,0,2027-01-26,0,0.05,700,FUT,NFO-FUT,NFO"
CALL = "9000450,35158,TINY26DEC100CE,TINY,0,2026-12-29,100,0.05,700,CE,NFO-OPT,NFO"
GOLD = "1000199,3907,GOLD27FEBFUT,GOLD,0,2027-02-05,0,1,1,FUT,MCX-FUT,MCX"


@pytest.fixture
def registry(tmp_path: Path) -> InstrumentRegistry:
    return InstrumentRegistry(tmp_path / "home" / "instruments.sqlite")


def imported(
    registry: InstrumentRegistry, *rows: str, day: date = DAY, header: str = KITE, **options
) -> Imported:
    file = registry.file.parents[1] / "dump.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return import_file(registry, shipped_instruments(day), file, day, DatedFacts(), **options)


def directory(registry: InstrumentRegistry) -> RegisteredDirectory:
    return RegisteredDirectory(shipped_instruments(DAY), registry, shipped_symbol_changes())


def test_a_dump_is_known_by_id_token_and_symbol(registry) -> None:
    """Stocks, indices, futures and options of NSE and BSE; other exchanges are left out and named."""
    result = imported(registry, RELIANCE, TINY, SENSEX, NOV, CALL, GOLD)
    assert result.in_one_line == (
        "Kite's instruments dump: 4 added, 1 changed, 0 ended, 0 unchanged, 0 refused; left out: MCX 1"
    )
    known = directory(registry)
    assert known.require_symbol("NSE:RELIANCE", "symbol").tick_size == Decimal("0.1")
    tiny = known.require_symbol("NSE:TINY", "symbol")
    assert known.by_token(25857) is tiny
    assert known.by_id("NSE:TINY") is tiny
    assert tiny.session_segment == "NSE_EQ_CAS", "it has a future, so it has a closing auction"
    sensex = known.require_symbol("BSE:SENSEX", "symbol")
    assert (sensex.tradable, sensex.lot_size) == (False, 1)
    call = known.require_symbol("NFO:TINY26DEC100CE", "symbol")
    assert (call.instrument_id, call.lot_size) == ("NFO:TINY26DEC100CE@2026-12-29", 700)
    assert known.by_symbol("MCX:GOLD27FEBFUT") is None


def test_the_same_dump_again_changes_nothing(registry) -> None:
    """All are unchanged, and there is no further import."""
    imported(registry, RELIANCE, TINY)
    number = registry.state().number
    assert imported(registry, RELIANCE, TINY).merge.unchanged == 2
    assert registry.state().number == number


def test_a_token_that_another_contract_has_now_ends_the_old_one(registry) -> None:
    """The old one keeps its id and is found by its symbol, under a token of its own that no broker gives."""
    imported(registry, TINY, NOV)
    result = imported(registry, TINY, JAN, day=date(2026, 12, 1))
    assert (result.merge.added, result.merge.ended, result.merge.unchanged) == (1, 1, 1)
    known = directory(registry)
    assert known.by_token(9000194).symbol == "NFO:TINY27JANFUT"
    old = known.require_symbol("NFO:TINY26NOVFUT", "symbol")
    assert (old.instrument_id, old.instrument_token % 256) == ("NFO:TINY26NOVFUT@2026-11-30", 254)
    assert old.symbol not in [one.symbol for one in registry.current()]


def test_an_expired_contract_in_a_dump_does_not_hold_its_token(registry) -> None:
    """Old and new contract of one token may stand in one file; only the new one has the token."""
    result = imported(registry, NOV, JAN, day=date(2026, 12, 1))
    assert (result.merge.added, len(result.file.refused)) == (2, 0)
    assert directory(registry).by_token(9000194).symbol == "NFO:TINY27JANFUT"
    assert directory(registry).by_symbol("NFO:TINY26NOVFUT") is not None


def test_two_contracts_may_swap_their_tokens(registry) -> None:
    """Both are changed, none has ended."""
    imported(registry, NOV, CALL)
    swapped = imported(registry, NOV.replace("9000194", "9000450"), CALL.replace("9000450", "9000194"))
    assert (swapped.merge.changed, swapped.merge.ended) == (2, 0)
    assert directory(registry).by_token(9000194).symbol == "NFO:TINY26DEC100CE"


def test_a_symbol_comes_back_after_expiry(registry) -> None:
    """Next year's contract of the same symbol is another instrument, and it is the one that the symbol names."""
    weekly = "9000706,35159,TINY26D08100CE,TINY,0,2026-12-08,100,0.05,700,CE,NFO-OPT,NFO"
    imported(registry, weekly)
    again = weekly.replace("2026-12-08", "2036-12-08")
    assert imported(registry, again, day=date(2036, 11, 30)).merge.added == 1
    assert directory(registry).require_symbol("NFO:TINY26D08100CE", "symbol").expiry == date(2036, 12, 8)


def test_rows_that_cannot_be_used_are_refused_by_line(registry) -> None:
    """Line, column, value and what is allowed are named; the other rows are imported if they are nearly all."""
    rows = [TINY.replace("TINY", f"T{n}").replace("25857", str(n * 256 + 1)) for n in range(1, 300)]
    bad = [RELIANCE.replace(",0.1,", ",abc,"), "1,2,3", rows[4]]
    result = imported(registry, *rows, *bad)
    assert [str(each) for each in result.file.refused] == [
        "dump.csv, line 301, column tick_size: 'abc' is not allowed; rupees above 0",
        f"dump.csv, line 302, column all: '1,2,3' is not allowed; 12 cells: {KITE}",
        "dump.csv, line 303, column instrument_token: '1281' is not allowed; each only once in a dump",
    ]
    assert result.merge.added == 299


@pytest.mark.parametrize("lot", ["0", "10000001", "9223372036854775807"])
def test_a_file_of_bad_rows_imports_nothing(registry, lot: str) -> None:
    """More than one in a hundred is an error with the first of them, unless it is allowed."""
    rows = [TINY, RELIANCE.replace(",1,EQ", f",{lot},EQ")]
    with pytest.raises(
        InvalidInput, match=f"1 of 2 can't; the first: dump.csv, line 3, column lot_size: '{lot}'"
    ):
        imported(registry, *rows)
    assert not registry.file.exists()
    assert imported(registry, *rows, allow_refusals=True).merge.added == 1


@pytest.mark.parametrize(
    ("header", "says"), [("a,b,c", "header: 'a,b,c' is not allowed; Kite's instruments dump"), ("", "header")]
)
def test_an_unknown_form_says_which_there_are(registry, header: str, says: str) -> None:
    """The header is named, and the forms that can be read."""
    with pytest.raises(InvalidInput, match=says):
        imported(registry, "1,2,3", header=header)


def test_nses_list_gives_stocks_tokens_of_our_own(registry) -> None:
    """Kite's token takes over when its dump is imported; names with quotes and commas are read as they stand."""
    rows = [
        'TINY,"TINY, ""TOYS"" LTD", EQ,06-OCT-2008,5,1,INE253B01015,5',
        "SMOL,SMOL LTD, BE,06-OCT-2008,5,1,INE253B01016,5",
    ]
    assert imported(registry, *rows, header=NSE).in_one_line.startswith("NSE's list of securities: 2 added")
    tiny = directory(registry).require_symbol("NSE:TINY", "symbol")
    assert (tiny.name, tiny.instrument_token, tiny.tick_size) == ('TINY, "TOYS" LTD', 510, Decimal("0.01"))
    assert directory(registry).by_symbol("NSE:SMOL-BE") is not None
    assert imported(registry, TINY).merge.changed == 1
    assert directory(registry).require_symbol("NSE:TINY", "symbol").instrument_token == 25857


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_packed_files_are_unpacked(registry, tmp_path: Path, suffix: str) -> None:
    """Whatever their names: they are known by their content."""
    file = tmp_path / f"dump{suffix}"
    text = f"{KITE}\n{TINY}\n"
    if suffix == ".gz":
        file.write_bytes(gzip.compress(text.encode()))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("instruments.csv", text)
    assert import_file(registry, (), file, DAY, DatedFacts()).merge.added == 1


def test_a_file_of_western_windows_is_read(registry, tmp_path: Path) -> None:
    """Names of older lists aren't UTF-8."""
    file = tmp_path / "EQUITY_L.csv"
    file.write_bytes(f"{NSE}\nCAFE,CAFÉ LTD,EQ,06-OCT-2008,5,1,INE253B01015,5\n".encode("cp1252"))
    assert import_file(registry, (), file, DAY, DatedFacts()).file.instruments[0].name == "CAFÉ LTD"


def added(registry: InstrumentRegistry, symbol: str, **values):
    return add_instrument(registry, shipped_instruments(DAY), Wanted(symbol, **values), DAY, DatedFacts())


def test_one_instrument_can_be_added_and_given_other_values(registry) -> None:
    """It has a token of its own, which it keeps; what isn't named stays."""
    made = added(registry, "NSE:XYZ", lot_size=5)
    assert (made.instrument_token, made.lot_size, made.tick_size) == (510, 5, Decimal("0.01"))
    assert added(registry, "BSE:XYZ").instrument_token == 766
    changed = added(registry, "NSE:XYZ", tick_size=Decimal("0.05"))
    assert (changed.instrument_token, changed.lot_size, changed.tick_size) == (510, 5, Decimal("0.05"))
    future = added(registry, "NFO:XYZ26DECFUT", expiry=date(2026, 12, 29), lot_size=700)
    assert (future.segment, future.instrument_id) == ("NFO-FUT", "NFO:XYZ26DECFUT@2026-12-29")
    assert not added(registry, "BSE:INDEX", index=True).tradable
    old = added(registry, "NFO:XYZ24JANFUT", expiry=date(2024, 1, 25))
    assert old in registry.current(), "an expired contract is added for replays of its time"


@pytest.mark.parametrize(
    ("symbol", "values", "says"),
    [
        ("XYZ", {}, "symbol: 'XYZ' is not allowed; EXCHANGE:SYMBOL in capitals"),
        ("MCX:GOLD", {}, "exchanges: NSE, BSE, NFO, BFO"),
        ("NSE:XYZ", {"lot_size": 0}, "--lot: '0'"),
        ("NSE:XYZ", {"tick_size": Decimal(0)}, "--tick: '0'"),
        ("NSE:XYZ", {"tick_size": Decimal("NaN")}, "--tick: 'NaN'"),
        ("NFO:XYZ26DECFUT", {}, "--expiry: '' is not allowed; the day on which NFO:XYZ26DECFUT expires"),
        ("NFO:XYZ", {}, "a future or option, which ends in FUT, CE, PE"),
        ("NSE:XYZ", {"expiry": DAY}, "NSE has none"),
    ],
)
def test_what_cannot_be_added_says_what_is_allowed(
    registry, symbol: str, values: dict[str, object], says: str
) -> None:
    """Field, value and what is allowed; nothing is stored."""
    with pytest.raises(InvalidInput) as refused:
        added(registry, symbol, **values)
    assert says in str(refused.value)
    assert not registry.file.exists()


def test_an_unknown_symbol_is_told_what_to_do(registry) -> None:
    """Similar names, also among imported ones and without the exchange, the newer symbol, and how to make it known."""
    imported(
        registry,
        *(TINY.replace("TINY", f"TINY{n:04}").replace("25857", str(n * 256 + 1)) for n in range(1, 1500)),
    )
    known = directory(registry)
    assert "did you mean 'NSE:TINY0777'" in str(known.unknown("NSE:TNY0777", "symbol"))
    assert "did you mean 'NSE:INFY'?" in str(known.unknown("infy", "symbol"))
    zomato = str(known.unknown("NSE:ZOMATO", "symbol"))
    assert "it has been 'NSE:ETERNAL' since 2025-04-09" in zomato
    assert "`alphapanda instruments import FILE` or `alphapanda instruments add" in zomato


def test_a_file_that_is_no_registry_is_named(registry) -> None:
    """Instead of a traceback."""
    registry.file.parent.mkdir()
    registry.file.write_text("something else, which is long enough to be looked at" * 20)
    with pytest.raises(InvalidInput, match=r"instruments.file: .*file is not a database"):
        registry.by_id("NSE:INFY")


def test_a_file_that_a_killed_import_began_holds_nothing(registry) -> None:
    """A file without a byte is what a kill before the first commit leaves: nothing is known, and the next import is stored."""
    registry.file.parent.mkdir()
    registry.file.touch()
    assert registry.by_id("NSE:TINY") is None
    assert registry.count() == 0
    imported(registry, TINY)
    assert registry.count() == 1


def test_what_is_imported_later_is_found_at_once(registry) -> None:
    """By a directory that was made before, as a running platform's is."""
    known = directory(registry)
    assert known.by_symbol("NSE:TINY") is None
    imported(registry, TINY)
    assert known.by_symbol("NSE:TINY") is not None
