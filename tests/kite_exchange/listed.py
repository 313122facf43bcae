"""What is listed: 120,000 instruments in the form of Kite's dump, the shipped ones among them."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

ROWS: Final = 120_000
COLUMNS: Final = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike", "tick_size",
    "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
SEGMENT_OF: Final = {
    "NSE": 1,
    "NFO": 2,
    "CDS": 3,
    "BSE": 4,
    "BFO": 5,
    "BCD": 6,
    "MCX": 7,
    "INDICES": 9,
    "NCO": 12,
}
FREEZE: Final = {
    "NIFTY": 1800, "BANKNIFTY": 600, "FINNIFTY": 1800, "MIDCPNIFTY": 2800, "NIFTYNXT50": 600,
}  # fmt: skip
"""Most units in one order; everything else 100,000."""
FREEZE_ELSEWHERE: Final = 100_000
_STOCKS: Final = (("NSE", 2_600), ("BSE", 6_000))
_INDICES: Final = 140
_SMALL: Final = (("CDS", 1_200), ("BCD", 400), ("MCX", 1_800), ("NCO", 300))
_ODD: Final = ("M&M", "L&T FINANCE, LTD", 'THE "BEST" CO', "O'NEIL & SONS", "ÉCLAIR FOODS", "")
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FIRST: Final = 100_000
_EXPIRED: Final = 20
_WEEKS: Final = 12


class Listed(NamedTuple):
    """A row of the dump, its cells as text where the dump's numbers have fractions.

    Attributes:
        expiry: ISO date; empty if it doesn't expire.
        tick_size: rupees, as text.
    """

    instrument_token: int
    exchange_token: int
    tradingsymbol: str
    name: str
    last_price: str
    expiry: str
    strike: str
    tick_size: str
    lot_size: int
    instrument_type: str
    segment: str
    exchange: str

    @property
    def key(self) -> str:
        """Such as "NSE:INFY"."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def index(self) -> bool:
        """Whether it is an index: prices, no trades."""
        return self.segment == "INDICES"

    @property
    def divisor(self) -> int:
        """Units of a price in one rupee on the ticker."""
        return {3: 10_000_000, 6: 10_000, 12: 10_000}.get(self.instrument_token & 0xFF, 100)

    @property
    def tick(self) -> int:
        """The price step in units of the ticker; 1 for an index."""
        whole, _, fraction = self.tick_size.partition(".")
        places = len(fraction)
        return max(1, int((whole or "0") + fraction) * self.divisor // 10**places)

    @property
    def freeze_quantity(self) -> int:
        """Most units in one order."""
        return FREEZE.get(self.name, FREEZE_ELSEWHERE)


class Listing:
    """The instruments of a day, by token and by key.

    Args:
        day: the dump's day; a later one has newer contracts under the tokens of expired ones.
        rows: how many instruments; not below the shipped ones.
    """

    def __init__(self, day: date, rows: int = ROWS) -> None:
        self.day = day
        self.rows = listed_on(day, rows)
        self.by_token = {row.instrument_token: row for row in self.rows}
        self.by_key = {row.key: row for row in self.rows}

    def csv(self, exchange: str | None = None) -> str:
        """The dump as the API sends it: of one exchange, or of all."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row for row in self.rows if exchange is None or row.exchange == exchange)
        return text.getvalue()


@lru_cache(maxsize=4)
def listed_on(day: date, rows: int) -> tuple[Listed, ...]:
    """The rows of a day's dump, the same for the same day."""
    made = _all(day)
    return tuple(row for row, _ in zip(made, range(rows), strict=False))


def _all(day: date) -> Iterator[Listed]:
    yield from _shipped()
    yield from _expired(day)
    names = [
        "NIFTY",
        "BANKNIFTY",
        "FINNIFTY",
        "MIDCPNIFTY",
        *(row.tradingsymbol for row in _shipped() if not row.index),
    ]
    yield from _near_contracts(day, names[:8])
    yield from _indices()
    stocks = list(_stocks())
    yield from stocks
    yield from _small(day)
    names += [row.tradingsymbol for row in stocks[:220]]
    yield from _contracts(day, names)


@lru_cache(maxsize=1)
def _shipped() -> tuple[Listed, ...]:
    text = resources.files("alphapanda.instruments").joinpath("data/nse_eq.csv").read_text(encoding="utf-8")
    return tuple(_read(row) for row in csv.DictReader(io.StringIO(text)))


def _read(row: dict[str, str]) -> Listed:
    numbers = {name: int(row[name]) for name in ("instrument_token", "exchange_token", "lot_size")}
    return Listed(**{**row, **numbers})


def _row(exchange: str, number: int, symbol: str, name: str, tick: str, **rest: str | int) -> Listed:
    segment = SEGMENT_OF[str(rest.get("segment", exchange)) if rest.get("segment") == "INDICES" else exchange]
    return Listed(
        instrument_token=number * 256 + segment,
        exchange_token=number,
        tradingsymbol=symbol,
        name=name,
        last_price="0",
        expiry=str(rest.get("expiry", "")),
        strike=str(rest.get("strike", "0")),
        tick_size=tick,
        lot_size=int(rest.get("lot_size", 1)),
        instrument_type=str(rest.get("instrument_type", "EQ")),
        segment=str(rest.get("segment", exchange)),
        exchange=exchange,
    )


def _stocks() -> Iterator[Listed]:
    chosen = random.Random(7)
    for exchange, count in _STOCKS:
        for number in range(count):
            symbol = "".join(chosen.choices(_LETTERS, k=chosen.randint(3, 9))) + str(number)
            name = _ODD[number % 1000] if number % 1000 < len(_ODD) else f"{symbol.title()} INDUSTRIES"
            if number % 1000 == 0:
                symbol = f"M&M{number or ''}{exchange[0]}"
            yield _row(exchange, _FIRST + number, symbol, name, "0.01" if number % 2 else "0.05")


def _indices() -> Iterator[Listed]:
    for number in range(1, _INDICES):
        name = f"NIFTY X{number}"
        yield _row("NSE", number, name, name, "0", lot_size=0, segment="INDICES")


def _small(day: date) -> Iterator[Listed]:
    """Currencies and commodities, whose prices have other divisors and lots."""
    what = {
        "CDS": ("USDINR", "0.0025"),
        "BCD": ("EURINR", "0.0025"),
        "MCX": ("GOLDPETAL", "1"),
        "NCO": ("WTICRUDE", "0.01"),
    }
    for exchange, count in _SMALL:
        name, tick = what[exchange]
        for number in range(count):
            expiry = day + timedelta(days=30 * (number % _WEEKS + 1))
            symbol = f"{name}{expiry:%y%b}{number}FUT".upper()
            yield _row(
                exchange, number + 1, symbol, name, tick, expiry=expiry.isoformat(),
                instrument_type="FUT", segment=f"{exchange}-FUT",
            )  # fmt: skip


def _expired(day: date) -> Iterator[Listed]:
    """Contracts that expired yesterday and are still in the morning's dump."""
    expiry = day - timedelta(days=1)
    for number in range(_EXPIRED):
        strike = 20_000 + 100 * number
        symbol = f"NIFTY{expiry:%y%b%d}{strike}CE".upper()
        yield _row(
            "NFO", 90_000 + number, symbol, "NIFTY", "0.05", expiry=expiry.isoformat(), strike=strike,
            lot_size=65, instrument_type="CE", segment="NFO-OPT",
        )  # fmt: skip


def _near_contracts(day: date, names: list[str]) -> Iterator[Listed]:
    for place, name in enumerate(names):
        expiry = _expiry(day, 0)
        yield _row(
            "NFO", 80_000 + place, f"{name}{expiry:%y%b}FUT".upper(), name, "0.10", expiry=expiry.isoformat(),
            lot_size=65 if name == "NIFTY" else 30, instrument_type="FUT", segment="NFO-FUT",
        )  # fmt: skip


def _contracts(day: date, names: list[str]) -> Iterator[Listed]:
    """Options and futures without end. A slot's token stays while its contract is replaced after expiry."""
    number = 0
    while True:
        name = names[number % len(names)]
        series = number // len(names)
        exchange = "BFO" if number % 5 == 0 else "NFO"
        expiry = _expiry(day, series % _WEEKS)
        option = series - _WEEKS
        strike = 0 if option < 0 else 100 * (option // (2 * _WEEKS) + 1)
        kind = "FUT" if option < 0 else ("CE" if option // _WEEKS % 2 else "PE")
        symbol = f"{name}{expiry:%y%b%d}{strike or ''}{kind}".upper()
        yield _row(
            exchange, _FIRST + number, symbol, name, "0.05", expiry=expiry.isoformat(), strike=strike,
            lot_size=65 if name == "NIFTY" else 30, instrument_type=kind,
            segment=f"{exchange}-{'FUT' if kind == 'FUT' else 'OPT'}",
        )  # fmt: skip
        number += 1


def _expiry(day: date, slot: int) -> date:
    """The next Tuesday whose week has this place among the slots: twelve weeks later the slot begins anew."""
    tuesday = day + timedelta(days=(1 - day.weekday()) % 7)
    week = tuesday.toordinal() // 7
    return tuesday + timedelta(days=7 * ((slot - week) % _WEEKS))
